package zone

// Hash20 is a hashed owner name (RFC 5155 section 5).
type Hash20 = [hashSize]byte

// Hashed returns the number of NSEC3 records.
func (z Zone) Hashed() int { return int(z.u32(36)) }

// HashedAt returns the node of the i-th NSEC3 record in the order of hashes.
func (z Zone) HashedAt(i int) Node { return Node(z.u32(z.u32(32) + uint32(i)*hashedSize + hashSize)) }

// Covering returns the node of the NSEC3 record that matches hash, or else of
// the one that covers it: the last before it, or the last of all (RFC 5155
// section 1.3). The zone has at least one.
func (z Zone) Covering(hash *Hash20) (n Node, match bool) {
	table, count := z.u32(32), z.u32(36)
	low, high := uint32(0), count // hashes before low are at most hash
	for low < high {
		mid := low + (high-low)/2
		if at := table + mid*hashedSize; string(z[at:at+hashSize]) <= string(hash[:]) {
			low = mid + 1
		} else {
			high = mid
		}
	}
	if low == 0 {
		low = count
	}
	at := table + (low-1)*hashedSize
	return Node(z.u32(at + hashSize)), string(z[at:at+hashSize]) == string(hash[:])
}

// Before returns the last node whose name is not after name in canonical order
// (RFC 4034 section 6.1). name must be at or below the apex.
func (z Zone) Before(name *Name) Node {
	low, high := 1, z.Len() // nodes before low are not after name
	for low < high {
		mid := low + (high-low)/2
		if compare(z.Name(z.At(mid)), name) <= 0 {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return z.At(low - 1)
}

// compare orders a name of a zone and another in canonical order, and does not
// allocate.
func compare(a string, name *Name) int {
	var start [128]uint8
	la := 0
	for at := 0; a[at] != 0; at += 1 + int(a[at]) {
		start[la] = uint8(at)
		la++
	}
	lb := name.Labels()
	for i := 1; i <= la && i <= lb; i++ {
		x := int(start[la-i])
		y := int(name.start[lb-i])
		p, q := a[x+1:x+1+int(a[x])], name.wire[y+1:y+1+int(name.wire[y])]
		if p < string(q) {
			return -1
		}
		if p > string(q) {
			return 1
		}
	}
	return la - lb
}
