package dnsdiff

// ourSize is the size of datagrams that the appliance takes and announces.
const ourSize = 1232

// proper says whether our answer has the form that any of ours has, whatever it says:
// header, question and OPT record follow from the query (RFC 1035 section 4.1.1, RFC
// 6891 section 6.1.1), and an error has no records.
func (c *Case) proper() bool {
	const opcode, clear = 15 << 11, 1<<4 | 1<<5 | 1<<6 | 1<<7 // CD, AD, Z, RA
	m, q := c.Ours, &c.Query
	switch {
	case m.None:
		return true
	case m.Flags&flagQR == 0 || (m.Flags^q.Flags)&(opcode|flagRD) != 0:
		return false
	case m.Question != "" && !(q.Whole && m.Question == string(c.Msg[12:q.End])):
		return false
	case m.EDNS && (m.Size != ourSize || m.Version != 0 || m.Z != 0):
		return false
	}
	if there, do := broughtOPT(c.Msg); m.EDNS != there || m.DO != do {
		return false
	}
	switch m.Rcode {
	case formErr, notImp, refused, notAuth, badVers:
		for _, s := range m.Sections {
			if len(s) > 0 {
				return false
			}
		}
		if m.Flags&(flagAA|flagTC|clear) != 0 {
			return false
		}
	}
	return true
}

// broughtOPT says whether a message, broken or not, has an OPT record in its additional
// section where that can be read, and whether that one has DO. One with options that
// are cut off has not, unless its version is not known: then they mean nothing.
func broughtOPT(msg []byte) (there, do bool) {
	at := 12
	if len(msg) < at {
		return false, false
	}
	next := func() bool { // to the end of a name
		for at < len(msg) {
			switch l := int(msg[at]); {
			case l == 0:
				at++
				return true
			case l >= 0xc0:
				at += 2
				return true
			case l > 63:
				return false
			default:
				at += 1 + l
			}
		}
		return false
	}
	for range be16(msg[4:]) {
		if !next() || at+4 > len(msg) {
			return false, false
		}
		at += 4
	}
	before := int(be16(msg[6:])) + int(be16(msg[8:]))
	for i := range before + int(be16(msg[10:])) {
		owner := at
		if !next() || at+10 > len(msg) || at+10+int(be16(msg[at+8:])) > len(msg) {
			return false, false
		}
		data := msg[at+10 : at+10+int(be16(msg[at+8:]))]
		if i >= before && msg[owner] == 0 && be16(msg[at:]) == typeOPT {
			do, known := msg[at+6]&0x80 != 0, msg[at+5] == 0
			for len(data) >= 4 && len(data) >= 4+int(be16(data[2:])) {
				data = data[4+int(be16(data[2:])):]
			}
			return true, do && (len(data) == 0 || !known)
		}
		at += 10 + len(data)
	}
	return false, false
}
