//go:build ampoule

package event

import (
	"errors"
	_ "unsafe" // for go:linkname

	"ampoule/libos/rt/rtabi"
)

//go:linkname ampRegister runtime.ampRegister
func ampRegister(s *rtabi.Source) bool

//go:linkname ampUnregister runtime.ampUnregister
func ampUnregister(s *rtabi.Source)

//go:linkname ampWait runtime.ampWait
func ampWait(s *rtabi.Source)

//go:linkname ampWake runtime.ampWake
func ampWake(s *rtabi.Source)

//go:linkname ampReady runtime.ampReady
func ampReady(s *rtabi.Source) bool

// Register makes s known to the poller; it fails when rtabi.MaxSources are
// known already.
func Register(s *Source) error {
	if !ampRegister(&s.Source) {
		return errors.New("event: too many sources")
	}
	return nil
}

// Unregister undoes Register. No goroutine may be waiting on s.
func Unregister(s *Source) { ampUnregister(&s.Source) }

// Ready says whether a call of Wait would return at once. It does not block.
func (s *Source) Ready() bool { return ampReady(&s.Source) }

// Wait blocks the calling goroutine until s is ready, and takes back a Wake.
// One goroutine at a time may wait on a Source. When nothing else can run the
// VM sleeps right here.
func (s *Source) Wait() { ampWait(&s.Source) }

// Wake makes s ready once, from any goroutine. It does not block and is never
// lost.
func (s *Source) Wake() { ampWake(&s.Source) }
