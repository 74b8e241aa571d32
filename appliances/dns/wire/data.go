package wire

// layout is where names stand in the data of a type: behind fixed octets and
// character strings; what follows them is any octets if rest is set.
type layout struct {
	fixed, strings, names int
	rest                  bool
}

// layouts are those of the types in whose data names may be compressed, or are by
// some (RFC 3597 section 4).
func layouts(rrtype uint16) (l layout, ok bool) {
	switch rrtype {
	case 2, 3, 4, 5, 7, 8, 9, 12, 39: // NS, MD, MF, CNAME, MB, MG, MR, PTR, DNAME
		return layout{names: 1}, true
	case 6: // SOA
		return layout{names: 2, rest: true}, true
	case 14, 17: // MINFO, RP
		return layout{names: 2}, true
	case 15, 18, 21, 36: // MX, AFSDB, RT, KX
		return layout{fixed: 2, names: 1}, true
	case 24: // SIG
		return layout{fixed: 18, names: 1, rest: true}, true
	case 26: // PX
		return layout{fixed: 2, names: 2}, true
	case 30: // NXT
		return layout{names: 1, rest: true}, true
	case 33: // SRV
		return layout{fixed: 6, names: 1}, true
	case 35: // NAPTR
		return layout{fixed: 4, strings: 3, names: 1}, true
	}
	return layout{}, false
}

// AppendData appends the data of a record with its names written out. It fails
// when they are malformed, or the data end elsewhere than they should; then dst
// is as it was.
func AppendData(dst, msg []byte, r RR) ([]byte, error) {
	l, ok := layouts(r.Type)
	if !ok {
		return append(dst, msg[r.Data:r.End]...), nil
	}
	start, at := len(dst), r.Data+l.fixed
	for range l.strings {
		if at >= r.End {
			return dst, ErrMessage
		}
		at += 1 + int(msg[at])
	}
	if at > r.End {
		return dst, ErrMessage
	}
	dst = append(dst, msg[r.Data:at]...)
	for range l.names {
		if at >= r.End {
			return dst[:start], ErrMessage
		}
		if dst, at = AppendName(dst, msg, at); at < 0 {
			return dst[:start], ErrMessage
		}
	}
	if at > r.End || at < r.End && !l.rest {
		return dst[:start], ErrMessage
	}
	return append(dst, msg[at:r.End]...), nil
}
