package relay

import "time"

// SetDeadline does nothing, like the two below: crypto/tls sets one to write its last
// alert, and each would cost a timer.
func (r *Raw) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (r *Raw) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (r *Raw) SetWriteDeadline(time.Time) error { return nil }
