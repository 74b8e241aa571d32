package telemetry

import "time"

// appendTime writes t in UTC as RFC 3339 has it, with milliseconds. Package
// time would do, at the price of 80 KB of time zones.
func appendTime(b []byte, t time.Time) []byte {
	ms := t.UnixMilli()
	day, ms := floor(ms, 24*60*60*1000)
	y, m, d := civil(day)
	b = append(appendDigits(b, y, 4), '-')
	b = append(appendDigits(b, m, 2), '-')
	b = append(appendDigits(b, d, 2), 'T')
	b = append(appendDigits(b, ms/(60*60*1000), 2), ':')
	b = append(appendDigits(b, ms/(60*1000)%60, 2), ':')
	b = append(appendDigits(b, ms/1000%60, 2), '.')
	return append(appendDigits(b, ms%1000, 3), 'Z')
}

// civil is the date of a day, counted from 1970-01-01, in the Gregorian
// calendar. A year is taken to begin in March, so that a leap day is its last:
// then 400 years always have 146,097 days, and the months from March on begin
// at (153m+2)/5.
func civil(day int64) (y, m, d int64) {
	const days400, days100, days4 = 146097, 36524, 1461
	era, n := floor(day+719468, days400) // days since 0000-03-01
	y = (n - n/(days4-1) + n/days100 - n/(days400-1)) / 365
	n -= 365*y + y/4 - y/100
	m = (5*n + 2) / 153 // 0 is March
	d = n - (153*m+2)/5 + 1
	y += 400 * era
	if m < 10 {
		return y, m + 3, d
	}
	return y + 1, m - 9, d
}

// floor divides, rounding down, and gives what remains.
func floor(n, by int64) (int64, int64) {
	q, r := n/by, n%by
	if r < 0 {
		q, r = q-1, r+by
	}
	return q, r
}

// appendDigits writes the last digits of n, which is not negative.
func appendDigits(b []byte, n int64, digits int) []byte {
	from := len(b)
	for range digits {
		b = append(b, '0')
	}
	for i := from + digits - 1; i >= from; i-- {
		b[i] += byte(n % 10)
		n /= 10
	}
	return b
}
