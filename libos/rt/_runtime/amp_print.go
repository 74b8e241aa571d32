package runtime

// ampFormatFloat writes v with seven digits, such as +1.500000e+003, to b, which
// has 14 bytes at least. It is for panics and println, allocates nothing, and
// gives the part of b that it wrote.
//
//go:nosplit
func ampFormatFloat(b []byte, v float64) []byte {
	const largest = 0x1p1023 * (1 + (1 - 0x1p-52))
	switch {
	case v != v:
		return b[:copy(b, "NaN")]
	case v > largest:
		return b[:copy(b, "+Inf")]
	case v < -largest:
		return b[:copy(b, "-Inf")]
	}
	b = b[:copy(b, "+0.000000e+000")]
	if v < 0 {
		b[0], v = '-', -v
	}
	exp := 0
	for ; v >= 10; exp++ {
		v /= 10
	}
	for ; v != 0 && v < 1; exp-- {
		v *= 10
	}
	n := uint64(v*1e6 + 0.5)
	if n >= 1e7 { // rounded up to ten
		n /= 10
		exp++
	}
	for i := 8; i > 0; i-- {
		if i != 2 { // the point
			b[i] = byte('0' + n%10)
			n /= 10
		}
	}
	if exp < 0 {
		b[10], exp = '-', -exp
	}
	b[11], b[12], b[13] = byte('0'+exp/100), byte('0'+exp/10%10), byte('0'+exp%10)
	return b
}
