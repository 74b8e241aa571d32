package syslog

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// parsed is a message as RFC 5424 reads it.
type parsed struct {
	pri                 int
	at                  time.Time
	host, app, proc, id string
	data                map[string][][2]string // SD-ID to parameters in order
	elements            []string               // SD-IDs in order
	msg                 string
}

// header is RFC 5424, section 6: HEADER up to STRUCTURED-DATA.
var header = regexp.MustCompile(`^<(0|[1-9][0-9]{0,2})>1 ` +
	`([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{1,6}Z) ` +
	`([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) `)

// sdName is SD-NAME; sdID is a registered one or name@number.
var (
	sdName = regexp.MustCompile(`^[!-~]{1,32}$`)
	sdID   = regexp.MustCompile(`^(meta|origin|timeQuality|[^@]+@[0-9]+(\.[0-9]+)*)$`)
)

// parse reads a message, strictly by the grammar.
func parse(b []byte) (p parsed, err error) {
	s := string(b)
	m := header.FindStringSubmatch(s)
	if m == nil {
		return p, fmt.Errorf("header of %q", s)
	}
	p.pri, _ = strconv.Atoi(m[1])
	if p.pri > 191 {
		return p, fmt.Errorf("PRI %d", p.pri)
	}
	if p.at, err = time.Parse(time.RFC3339Nano, m[2]); err != nil {
		return p, err
	}
	p.host, p.app, p.proc, p.id = m[3], m[4], m[5], m[6]
	rest := s[len(m[0]):]
	p.data = map[string][][2]string{}
	if rest, err = p.structured(rest); err != nil {
		return p, fmt.Errorf("%w in %q", err, s)
	}
	if rest == "" {
		return p, nil
	}
	if rest[0] != ' ' {
		return p, fmt.Errorf("%q behind the structured data", rest)
	}
	p.msg = rest[1:]
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' {
			return p, fmt.Errorf("byte %#x in %q", c, s)
		}
	}
	return p, nil
}

// structured reads STRUCTURED-DATA.
func (p *parsed) structured(s string) (rest string, err error) {
	if after, ok := strings.CutPrefix(s, "-"); ok {
		return after, nil
	}
	for strings.HasPrefix(s, "[") {
		end := strings.IndexAny(s, " ]")
		if end < 0 {
			return "", fmt.Errorf("element without an end")
		}
		id := s[1:end]
		if s = s[end:]; !name1(id) || !sdID.MatchString(id) {
			return "", fmt.Errorf("SD-ID %q", id)
		}
		if _, twice := p.data[id]; twice {
			return "", fmt.Errorf("SD-ID %q twice", id)
		}
		p.elements = append(p.elements, id)
		p.data[id] = nil
		for strings.HasPrefix(s, " ") {
			var pair [2]string
			if pair, s, err = parameter(s[1:]); err != nil {
				return "", err
			}
			p.data[id] = append(p.data[id], pair)
		}
		if !strings.HasPrefix(s, "]") {
			return "", fmt.Errorf("element %q has no end", id)
		}
		s = s[1:]
	}
	if len(p.elements) == 0 {
		return "", fmt.Errorf("no structured data and no hyphen")
	}
	return s, nil
}

func name1(s string) bool { return sdName.MatchString(s) && !strings.ContainsAny(s, `= ]"`) }

// parameter reads PARAM-NAME="PARAM-VALUE".
func parameter(s string) (pair [2]string, rest string, err error) {
	k, s, ok := strings.Cut(s, `="`)
	if !ok || !name1(k) {
		return pair, "", fmt.Errorf("PARAM-NAME %q", k)
	}
	var v []byte
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '"':
			return [2]string{k, string(v)}, s[i+1:], nil
		case ']':
			return pair, "", fmt.Errorf("] not escaped in the value of %q", k)
		case '\\':
			if i+1 == len(s) || !strings.ContainsRune(`"\]`, rune(s[i+1])) {
				return pair, "", fmt.Errorf("a lone backslash in the value of %q", k)
			}
			i++
			v = append(v, s[i])
		default:
			v = append(v, c)
		}
	}
	return pair, "", fmt.Errorf("the value of %q has no end", k)
}
