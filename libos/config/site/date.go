package site

import "time"

// months and days as HTTP abbreviates them (RFC 9110, section 5.6.7).
const (
	months = "JanFebMarAprMayJunJulAugSepOctNovDec"
	days   = "SunMonTueWedThuFriSat"
)

// AppendDate appends a time as an HTTP date, IMF-fixdate. unix counts seconds since
// 1970, in the years up to 9999.
func AppendDate(b []byte, unix int64) []byte {
	at := time.Unix(unix, 0).UTC()
	year, month, day := at.Date()
	hour, minute, second := at.Clock()
	b = append(b, days[at.Weekday()*3:][:3]...)
	b = append(two(append(b, ", "...), day), ' ')
	b = append(append(b, months[(month-1)*3:][:3]...), ' ')
	b = append(two(two(b, year/100), year%100), ' ')
	b = append(two(append(two(append(two(b, hour), ':'), minute), ':'), second), " GMT"...)
	return b
}

func two(b []byte, n int) []byte { return append(b, byte('0'+n/10%10), byte('0'+n%10)) }

// ParseDate reads an HTTP date in any of its three forms (RFC 9110, section 5.6.7)
// and returns seconds since 1970. The day of the week must be one, but is not held
// against the date. A year of two digits is the one within 1970 to 2069: a date in
// a condition is never from further away.
func ParseDate(b []byte) (unix int64, ok bool) {
	s := scanner{rest: b}
	var year, month, day, clock int
	comma := indexByte(b, ',')
	switch {
	case comma == 3: // Sun, 06 Nov 1994 08:49:37 GMT
		s.weekday(false)
		s.text(", ")
		day = s.number(2)
		s.text(" ")
		month = s.month()
		s.text(" ")
		year = s.number(4)
		s.text(" ")
		clock = s.clock()
		s.text(" GMT")
	case comma > 3: // Sunday, 06-Nov-94 08:49:37 GMT
		s.weekday(true)
		s.text(", ")
		day = s.number(2)
		s.text("-")
		month = s.month()
		s.text("-")
		if year = 1900 + s.number(2); year < 1970 {
			year += 100
		}
		s.text(" ")
		clock = s.clock()
		s.text(" GMT")
	default: // Sun Nov  6 08:49:37 1994
		s.weekday(false)
		s.text(" ")
		month = s.month()
		s.text(" ")
		if len(s.rest) > 0 && s.rest[0] == ' ' {
			s.text(" ")
			day = s.number(1)
		} else {
			day = s.number(2)
		}
		s.text(" ")
		clock = s.clock()
		s.text(" ")
		year = s.number(4)
	}
	if s.bad || len(s.rest) > 0 {
		return 0, false
	}
	at := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	if at.Day() != day || int(at.Month()) != month {
		return 0, false
	}
	return at.Unix() + int64(clock), true
}

// scanner reads a date from its start; bad says that it is none.
type scanner struct {
	rest []byte
	bad  bool
}

func (s *scanner) text(want string) {
	if len(s.rest) < len(want) || string(s.rest[:len(want)]) != want {
		s.bad, s.rest = true, nil
		return
	}
	s.rest = s.rest[len(want):]
}

// word reads one of the abbreviations of three letters in a list, and returns its
// place from 1.
func (s *scanner) word(list string) int {
	for i := 0; i < len(list) && len(s.rest) >= 3; i += 3 {
		if string(s.rest[:3]) == list[i:i+3] {
			s.rest = s.rest[3:]
			return i/3 + 1
		}
	}
	s.bad = true
	return 1
}

func (s *scanner) month() int { return s.word(months) }

// weekday reads a day of the week, abbreviated or in full.
func (s *scanner) weekday(full bool) {
	day := s.word(days)
	if !full {
		return
	}
	switch day {
	case 3:
		s.text("s")
	case 4:
		s.text("nes")
	case 5:
		s.text("rs")
	case 7:
		s.text("ur")
	}
	s.text("day")
}

// number reads so many digits.
func (s *scanner) number(digits int) (n int) {
	if len(s.rest) < digits {
		s.bad = true
		return 0
	}
	for _, c := range s.rest[:digits] {
		if c < '0' || c > '9' {
			s.bad = true
		}
		n = n*10 + int(c-'0')
	}
	s.rest = s.rest[digits:]
	return n
}

// clock reads a time of day, and returns its second. There may be a leap second.
func (s *scanner) clock() int {
	hour := s.number(2)
	s.text(":")
	minute := s.number(2)
	s.text(":")
	second := s.number(2)
	if hour > 23 || minute > 59 || second > 60 {
		s.bad = true
	}
	return hour*3600 + minute*60 + second
}
