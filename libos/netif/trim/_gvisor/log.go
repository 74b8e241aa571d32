// Package log takes what the network stack would write to standard error,
// which an appliance does not have: its log is libos/telemetry, and what goes
// wrong in the stack is in its counters.
package log

import "time"

// Logger is what rate-limited loggers are used as.
type Logger interface {
	Debugf(format string, v ...any)
	Infof(format string, v ...any)
	Warningf(format string, v ...any)
}

type silent struct{}

func (silent) Debugf(string, ...any)   {}
func (silent) Infof(string, ...any)    {}
func (silent) Warningf(string, ...any) {}

// BasicRateLimitedLogger returns a logger.
func BasicRateLimitedLogger(time.Duration) Logger { return silent{} }

// Debugf drops its message, as the others do.
func Debugf(string, ...any)   {}
func Infof(string, ...any)    {}
func Warningf(string, ...any) {}
