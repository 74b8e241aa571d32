package zone

// wellFormed says whether the data of a record are such as an answer relies on:
// those of the types whose names are compressed or followed, and of those that
// prove what is not there. It is no full check of any type.
func wellFormed(rrtype uint16, data []byte) bool {
	switch rrtype {
	case TypeNS, TypeCNAME, TypeDNAME, 3, 4, 7, 8, 9, 12: // MD, MF, MB, MG, MR, PTR
		return names(data, 1, 0)
	case TypeSOA:
		return names(data, 2, 20)
	case 14: // MINFO
		return names(data, 2, 0)
	case 15: // MX
		return len(data) > 2 && names(data[2:], 1, 0)
	case TypeRRSIG:
		return len(data) > 18
	case TypeNSEC3:
		// Hash algorithm, flags, iterations, salt and hash with their lengths (RFC
		// 5155 section 3.2). Iterations are bounded, since each costs a hash with
		// every question (RFC 9276 section 3.2).
		return len(data) > 5 && data[0] == 1 && int(data[2])<<8|int(data[3]) <= MaxIterations &&
			len(data) > 5+int(data[4]) && data[5+int(data[4])] == hashSize &&
			len(data) >= 6+int(data[4])+hashSize
	}
	return true
}

// MaxIterations is the most times that an NSEC3 hash may be repeated.
const MaxIterations = 150

// names says whether data are so many names and rest octets.
func names(data []byte, count, rest int) bool {
	var n Name
	for range count {
		size, err := Set(&n, data)
		if err != nil {
			return false
		}
		data = data[size:]
	}
	return len(data) == rest
}
