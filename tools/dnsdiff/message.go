package dnsdiff

import (
	"cmp"
	"encoding/binary"
	"errors"
	"slices"
	"strings"

	"ampoule/libos/config/zone"
)

// Header bits of the two octets after the identifier (RFC 1035 section 4.1.1).
const (
	flagQR = 1 << 15
	flagAA = 1 << 10
	flagTC = 1 << 9
	flagRD = 1 << 8
)

// Response codes.
const (
	noError  = 0
	formErr  = 1
	servFail = 2
	nxDomain = 3
	notImp   = 4
	refused  = 5
	yxDomain = 6
	notAuth  = 9
	badVers  = 16
)

// Sections of a message.
const (
	answerSection = iota
	authority
	additional
)

// Record is a record with names in lower case and not compressed.
type Record struct {
	Owner       string
	Type, Class uint16
	TTL         uint32
	Data        string
}

// Message is an answer in the form in which two of them are compared. Records are
// sorted. The OPT record is not among them.
type Message struct {
	None     bool   // there was no answer
	Flags    uint16 // without the response code
	Rcode    int    // with its upper bits
	Question string // the section as it is
	Sections [3][]Record
	EDNS     bool
	Size     uint16 // that the server takes
	Version  uint8
	DO       bool
	Z        uint16   // other flags of the OPT record
	Options  []uint16 // codes, without extended errors (RFC 8914), which differ by design
}

var errMessage = errors.New("dnsdiff: malformed answer")

// Parse reads an answer; nil is none.
func Parse(b []byte) (*Message, error) {
	if b == nil {
		return &Message{None: true}, nil
	}
	if len(b) < 12 {
		return nil, errMessage
	}
	be := binary.BigEndian
	flags := be.Uint16(b[2:])
	m := &Message{Flags: flags &^ 15, Rcode: int(flags & 15)}
	at := 12
	for range be.Uint16(b[4:]) {
		_, next, err := name(b, at)
		if err != nil || next+4 > len(b) {
			return nil, errMessage
		}
		at = next + 4
	}
	m.Question = string(b[12:at])
	for s := range m.Sections {
		for range be.Uint16(b[6+2*s:]) {
			var err error
			if at, err = m.record(b, at, s); err != nil {
				return nil, err
			}
		}
		slices.SortFunc(m.Sections[s], Record.compare)
	}
	if at != len(b) {
		return nil, errMessage
	}
	return m, nil
}

// record takes one record of section s and returns where it ends.
func (m *Message) record(b []byte, at, s int) (int, error) {
	be := binary.BigEndian
	owner, at, err := name(b, at)
	if err != nil || at+10 > len(b) {
		return 0, errMessage
	}
	r := Record{Owner: owner, Type: be.Uint16(b[at:]), Class: be.Uint16(b[at+2:]), TTL: be.Uint32(b[at+4:])}
	start, end := at+10, at+10+int(be.Uint16(b[at+8:]))
	if end > len(b) {
		return 0, errMessage
	}
	if r.Type == typeOPT {
		if m.EDNS || s != additional || owner != "\x00" {
			return 0, errMessage
		}
		m.EDNS, m.Size, m.Version = true, r.Class, uint8(r.TTL>>16)
		m.Rcode |= int(r.TTL>>24) << 4
		m.DO, m.Z = r.TTL&0x8000 != 0, uint16(r.TTL)&0x7fff
		for start+4 <= end {
			if code := be.Uint16(b[start:]); code != 15 {
				m.Options = append(m.Options, code)
			}
			start += 4 + int(be.Uint16(b[start+2:]))
		}
		if start != end {
			return 0, errMessage
		}
		return end, nil
	}
	if r.Data, err = rdata(b, start, end, r.Type); err != nil {
		return 0, err
	}
	m.Sections[s] = append(m.Sections[s], r)
	return end, nil
}

// layout says how many octets stand before the names in the data of a type, and how
// many names there are. Names in other types can't be told from other data.
func layout(rrtype uint16) (fixed, names int) {
	switch rrtype {
	case typeNS, 3, 4, typeCNAME, 7, 8, 9, 12, typeDNAME, typeNSEC, 30:
		return 0, 1
	case typeSOA, 14, 17: // MINFO, RP
		return 0, 2
	case typeMX, 18, 21, 36, 64, 65, 107: // AFSDB, RT, KX, SVCB, HTTPS, LP
		return 2, 1
	case 26: // PX
		return 2, 2
	case typeSRV:
		return 6, 1
	case 24, typeRRSIG: // SIG
		return 18, 1
	}
	return 0, 0
}

// rdata is the data b[at:end] of a record with its names in full.
func rdata(b []byte, at, end int, rrtype uint16) (string, error) {
	fixed, names := layout(rrtype)
	if at+fixed > end || names == 0 || at == end {
		return string(b[at:end]), nil
	}
	data := string(b[at : at+fixed])
	at += fixed
	for range names {
		n, next, err := name(b, at)
		if err != nil || next > end {
			return "", errMessage
		}
		data, at = data+n, next
	}
	return data + string(b[at:end]), nil
}

// name reads a name that may be compressed, and returns where it ends.
func name(b []byte, at int) (n string, end int, err error) {
	var s strings.Builder
	for jumps := 0; at < len(b) && jumps < 128; {
		l := int(b[at])
		switch {
		case l >= 0xc0:
			if at+2 > len(b) {
				return "", 0, errMessage
			}
			if end == 0 {
				end = at + 2
			}
			at = int(binary.BigEndian.Uint16(b[at:]) & 0x3fff)
			jumps++
		case l > 63 || at+1+l > len(b) || s.Len()+1+l > 255:
			return "", 0, errMessage
		case l == 0:
			s.WriteByte(0)
			if end == 0 {
				end = at + 1
			}
			return s.String(), end, nil
		default:
			s.WriteByte(byte(l))
			for _, c := range b[at+1 : at+1+l] {
				s.WriteByte(zone.Lower(c))
			}
			at += 1 + l
		}
	}
	return "", 0, errMessage
}

func (r Record) compare(o Record) int {
	return cmp.Or(strings.Compare(r.Owner, o.Owner), cmp.Compare(r.Type, o.Type), cmp.Compare(r.Class, o.Class),
		cmp.Compare(r.TTL, o.TTL), strings.Compare(r.Data, o.Data))
}

// clone is a copy that may be changed.
func (m *Message) clone() *Message {
	n := *m
	for i, s := range m.Sections {
		n.Sections[i] = slices.Clone(s)
	}
	n.Options = slices.Clone(m.Options)
	return &n
}

// equal says whether two answers say the same.
func (m *Message) equal(o *Message) bool {
	if m.None || o.None {
		return m.None == o.None
	}
	for s := range m.Sections {
		if !slices.Equal(m.Sections[s], o.Sections[s]) {
			return false
		}
	}
	return m.Flags == o.Flags && m.Rcode == o.Rcode && m.Question == o.Question && m.EDNS == o.EDNS && m.Size == o.Size &&
		m.Version == o.Version && m.DO == o.DO && m.Z == o.Z && slices.Equal(m.Options, o.Options)
}
