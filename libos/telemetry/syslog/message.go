package syslog

import (
	"strconv"
	"time"

	"ampoule/libos/telemetry"
)

// message is an event as RFC 5424, section 6 has it. All of it is printable
// ASCII: other bytes of a text, which may come from a peer, are written \xNN.
func (s *Sink) message(t time.Time, level telemetry.Level, msg string, pairs []telemetry.Pair) []byte {
	b := make([]byte, 0, 256)
	b = append(b, '<')
	b = strconv.AppendUint(b, uint64(s.cfg.Facility)*8+severity(level), 10)
	b = append(b, ">1 "...)
	b = t.AppendFormat(b, "2006-01-02T15:04:05.000000Z07:00")
	b = append(append(b, ' '), s.host...)
	b = append(append(b, ' '), s.app...)
	b = append(b, ` - - [meta sequenceId="`...)
	b = strconv.AppendUint(b, uint64(s.seq.Add(1)-1)%(1<<31-1)+1, 10)
	b = append(b, `"]`...)
	b = s.appendPairs(b, pairs, maxMessage-len(" ")-min(len(msg), maxMessage/4))
	b = append(b, ' ')
	return appendASCII(b, msg, false, maxMessage)
}

// severity is the number of a level (RFC 5424, section 6.2.1).
func severity(l telemetry.Level) uint64 {
	switch l {
	case telemetry.Debug:
		return 7
	case telemetry.Info:
		return 6
	case telemetry.Audit:
		return 5
	case telemetry.Warn:
		return 4
	}
	return 3
}

// appendPairs appends the pairs as an element of structured data (RFC 5424,
// section 6.3), as many as fit into limit bytes.
func (s *Sink) appendPairs(b []byte, pairs []telemetry.Pair, limit int) []byte {
	const most = 256 // of a value
	open := false
	for _, p := range pairs {
		before := len(b)
		if !open {
			b = append(append(b, '['), s.enterpriseName...)
		}
		b = append(append(b, ' '), param(p.Key)...)
		b = append(b, `="`...)
		b = appendASCII(b, p.Value, true, len(b)+most)
		b = append(b, '"')
		if len(b)+len("]") > limit {
			b = b[:before]
			break
		}
		open = true
	}
	if open {
		b = append(b, ']')
	}
	return b
}

// appendASCII appends text up to a total of limit bytes, and never a part of
// an escape. In the value of a parameter three characters are escaped (RFC 5424,
// section 6.3.3).
func appendASCII(b []byte, text string, value bool, limit int) []byte {
	const hex = "0123456789abcdef"
	for i := range len(text) {
		var esc [5]byte
		e := esc[:0]
		switch c := text[i]; {
		case c < ' ' || c >= 0x7f:
			if e = append(e, '\\'); value {
				e = append(e, '\\')
			}
			e = append(e, 'x', hex[c>>4], hex[c&15])
		case value && (c == '"' || c == '\\' || c == ']'):
			e = append(e, '\\', c)
		default:
			e = append(e, c)
		}
		if len(b)+len(e) > limit {
			break
		}
		b = append(b, e...)
	}
	return b
}

// name is a field of the header: printable ASCII without blanks, a hyphen when
// there is none (RFC 5424, section 6).
func name(s string, most int) string {
	return clean(s, most, func(c byte) bool { return c > ' ' && c < 0x7f })
}

// param is the name of a parameter (RFC 5424, section 6.3.3).
func param(s string) string {
	return clean(s, 32, func(c byte) bool { return c > ' ' && c < 0x7f && c != '=' && c != ']' && c != '"' })
}

func clean(s string, most int, ok func(byte) bool) string {
	b := []byte(s[:min(len(s), most)])
	for i, c := range b {
		if !ok(c) {
			b[i] = '_'
		}
	}
	if len(b) == 0 {
		return "-"
	}
	return string(b)
}
