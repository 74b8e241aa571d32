// Package telemetry is what an appliance tells its operator. So far that is a
// log: one line per event, key=value pairs after the message, on the console,
// and a Sink for those who want the events elsewhere too (package syslog).
//
// It is small on purpose (log/slog would add 800 KiB to an image) and knows no
// configuration of its own.
package telemetry

import (
	"io"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"ampoule/libos/format"
)

// Level says how much an event matters. The zero Level is Info.
type Level int32

const (
	Debug Level = iota - 1
	Info
	Warn
	Error
	Audit // who changed what: above all that a configuration can leave out
)

// String is the level's name in a log line.
func (l Level) String() string {
	switch l {
	case Debug:
		return "debug"
	case Info:
		return "info"
	case Warn:
		return "warn"
	case Error:
		return "error"
	case Audit:
		return "audit"
	}
	return "level" + strconv.Itoa(int(l))
}

// maxLine bounds a line in bytes; what goes beyond is cut off. Values come
// from peers too.
const maxLine = 1024

// Logger writes log lines. The zero Logger and a nil one write nothing. Its
// methods may be called from any goroutine; they block only as long as the
// writer does, which sees one Write per line.
type Logger struct {
	core  *core
	attrs string // " key=value" pairs that go into each line
	pairs []Pair // the same for a Sink
}

// Sink takes the events as they are, beside the writer.
type Sink interface {
	// Event takes one event. It must not block, log, or keep pairs. Any
	// goroutine may call it. Text is as it was given: it may hold anything.
	Event(t time.Time, level Level, msg string, pairs []Pair)
}

// Pair is a key with its value.
type Pair struct{ Key, Value string }

type core struct {
	mu   sync.Mutex
	w    io.Writer
	now  func() time.Time
	min  atomic.Int32
	also atomic.Pointer[also]
	buf  []byte
}

type also struct {
	sink Sink
	min  Level
}

// New makes a logger that writes events of level min and above to w. The time
// comes from now.
func New(w io.Writer, now func() time.Time, min Level) *Logger {
	l := &Logger{core: &core{w: w, now: now}}
	l.core.min.Store(int32(min))
	return l
}

// SetLevel sets the lowest level that is written, for l and all loggers that
// share its writer.
func (l *Logger) SetLevel(min Level) {
	if l != nil && l.core != nil {
		l.core.min.Store(int32(min))
	}
}

// Level is the lowest level that is written.
func (l *Logger) Level() Level {
	if l == nil || l.core == nil {
		return Info
	}
	return Level(l.core.min.Load())
}

// ParseLevel is the level of a name, as String has it; not Audit, which is no bound.
func ParseLevel(name string) (Level, bool) {
	for l := Debug; l <= Error; l++ {
		if l.String() == name {
			return l, true
		}
	}
	return Info, false
}

// Also gives events of level min and above to sink as well, those of l and of all
// loggers that share its writer. There is one Sink at a time.
func (l *Logger) Also(sink Sink, min Level) { l.core.also.Store(&also{sink, min}) }

// With is a logger that adds the pairs to each line.
func (l *Logger) With(pairs ...any) *Logger {
	if l == nil || l.core == nil {
		return l
	}
	return &Logger{
		core: l.core, attrs: l.attrs + string(appendPairs(nil, pairs)),
		pairs: textPairs(slices.Clip(l.pairs), pairs),
	}
}

// Debug logs msg with key, value pairs. A value is written as fmt's %v does.
func (l *Logger) Debug(msg string, pairs ...any) { l.log(Debug, msg, pairs) }

// Info logs msg with key, value pairs.
func (l *Logger) Info(msg string, pairs ...any) { l.log(Info, msg, pairs) }

// Warn logs msg with key, value pairs.
func (l *Logger) Warn(msg string, pairs ...any) { l.log(Warn, msg, pairs) }

// Error logs msg with key, value pairs.
func (l *Logger) Error(msg string, pairs ...any) { l.log(Error, msg, pairs) }

// Audit logs msg with key, value pairs, whatever the level.
func (l *Logger) Audit(msg string, pairs ...any) { l.log(Audit, msg, pairs) }

func (l *Logger) log(level Level, msg string, pairs []any) {
	if l == nil || l.core == nil {
		return
	}
	c := l.core
	also, here := c.also.Load(), level >= Level(c.min.Load())
	there := also != nil && level >= also.min
	if !here && !there {
		return
	}
	t := c.now().UTC()
	if there {
		also.sink.Event(t, level, msg, textPairs(slices.Clip(l.pairs), pairs))
	}
	if here {
		c.write(t, level, msg, l.attrs, pairs)
	}
}

// write writes one line.
func (c *core) write(t time.Time, level Level, msg, attrs string, pairs []any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := appendTime(c.buf[:0], t)
	b = append(append(b, ' '), level.String()...)
	b = appendText(append(b, ' '), msg, false)
	b = append(b, attrs...)
	b = appendPairs(b, pairs)
	if len(b) > maxLine {
		b = append(b[:maxLine-3], "..."...)
	}
	b = append(b, '\n')
	c.buf = b[:0]
	c.w.Write(b)
}

func appendPairs(b []byte, pairs []any) []byte {
	for i := 0; i < len(pairs); i += 2 {
		key, ok := pairs[i].(string)
		if !ok || i+1 == len(pairs) {
			b = append(b, " !badkey="...)
			b = appendValue(b, pairs[i])
			continue
		}
		b = append(append(append(b, ' '), key...), '=')
		b = appendValue(b, pairs[i+1])
	}
	return b
}

// textPairs appends pairs with their values as text.
func textPairs(to []Pair, pairs []any) []Pair {
	for i := 0; i < len(pairs); i += 2 {
		key, ok := pairs[i].(string)
		if !ok || i+1 == len(pairs) {
			to = append(to, Pair{"!badkey", text(pairs[i])})
			continue
		}
		to = append(to, Pair{key, text(pairs[i+1])})
	}
	return to
}

// text is a value as fmt's %v writes it.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case error:
		return v.Error()
	case format.Stringer:
		return v.String()
	}
	return format.Sprint(v)
}

func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case int:
		return strconv.AppendInt(b, int64(v), 10)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case uint64:
		return strconv.AppendUint(b, v, 10)
	case bool:
		return strconv.AppendBool(b, v)
	}
	return appendText(b, text(v), true)
}

// appendText writes s, quoted when a reader of the line could be misled by it:
// a value with a blank, an equals sign or nothing in it, and any text with
// control characters or quotes, so that no peer can forge a line.
func appendText(b []byte, s string, value bool) []byte {
	quote := value && s == ""
	for i := 0; i < len(s) && !quote; i++ {
		c := s[i]
		quote = c < ' ' || c >= 0x7f || c == '"' || value && (c == ' ' || c == '=')
	}
	if quote {
		return strconv.AppendQuoteToASCII(b, s)
	}
	return append(b, s...)
}
