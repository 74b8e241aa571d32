package answer

import (
	"encoding/binary"

	"ampoule/libos/config/zone"
)

// Header bits (RFC 1035 section 4.1.1) of the two octets after the identifier.
const (
	flagQR     = 1 << 15
	flagAA     = 1 << 10
	flagTC     = 1 << 9
	flagRD     = 1 << 8
	opcodeMask = 15 << 11
)

// Response codes (RFC 1035 section 4.1.1, RFC 2136 section 2.2, RFC 6891
// section 9).
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

// Record types and classes that the answerer itself looks at.
const (
	typeA     = 1
	typeNS    = zone.TypeNS
	typeMD    = 3
	typeMF    = 4
	typeCNAME = zone.TypeCNAME
	typeSOA   = zone.TypeSOA
	typeMINFO = 14
	typeMX    = 15
	typeTXT   = 16
	typeAAAA  = 28
	typeDNAME = zone.TypeDNAME
	typeOPT   = 41
	typeDS    = 43
	typeTSIG  = 250
	typeIXFR  = 251
	typeAXFR  = 252
	typeANY   = 255

	classIN  = 1
	classCH  = 3
	classANY = 255
)

const (
	headerSize = 12
	optSize    = 11 // an OPT record without options (RFC 6891 section 6.1.2)
)

// query is what a message asks.
type query struct {
	flags    uint16
	question int // bytes of the question section; 0 when it is malformed
	qtype    uint16
	class    uint16
	edns
	tsig  int    // where the TSIG record starts, 0 if there is none
	rcode uint16 // what is wrong with it, or noError
}

// parse reads a message of at least headerSize bytes, its name into name. Whatever is wrong ends
// up in q.rcode; the fields read until then hold.
func (q *query) parse(msg []byte, name *zone.Name) {
	q.flags = binary.BigEndian.Uint16(msg[2:])
	q.size = minUDP
	be := binary.BigEndian
	qd, an, ns, ar := be.Uint16(msg[4:]), be.Uint16(msg[6:]), be.Uint16(msg[8:]), be.Uint16(msg[10:])
	if q.flags&opcodeMask != 0 {
		q.rcode = notImp
		q.seekOPT(msg)
		return
	}
	q.rcode = formErr
	if q.query(msg, name, qd, an, ns, ar) {
		q.rcode = noError
	} else if !q.there {
		q.seekOPT(msg)
	}
}

// query reads a message with those counts as a query. False: it is none.
func (q *query) query(msg []byte, name *zone.Name, qd, an, ns, ar uint16) bool {
	// RFC 9619: exactly one question. IXFR alone brings a record in the
	// authority section (RFC 1995 section 3); it is not for us anyway.
	if qd != 1 || an != 0 || ns > 1 || q.flags&15 != 0 {
		return false
	}
	be := binary.BigEndian
	n, err := zone.Set(name, msg[headerSize:])
	if err != nil || headerSize+n+4 > len(msg) {
		return false
	}
	at := headerSize + n
	q.qtype, q.class = be.Uint16(msg[at:]), be.Uint16(msg[at+2:])
	at += 4
	q.question = at - headerSize
	if ns == 1 && q.qtype != typeIXFR {
		return false
	}
	return q.additional(msg, at, int(ns)+int(ar), int(ns)) == len(msg)
}

// seekOPT looks for an OPT record in a message that is no query, or a broken one: who
// sends one gets one, whatever the answer is (RFC 6891 section 7).
func (q *query) seekOPT(msg []byte) {
	be := binary.BigEndian
	at := headerSize
	for range be.Uint16(msg[4:]) {
		if at = skipName(msg, at); at < 0 || at+4 > len(msg) {
			return
		}
		at += 4
	}
	others := int(be.Uint16(msg[6:])) + int(be.Uint16(msg[8:]))
	for i := range others + int(be.Uint16(msg[10:])) {
		start := at
		if at = skipName(msg, at); at < 0 || at+10 > len(msg) {
			return
		}
		end := at + 10 + int(be.Uint16(msg[at+8:]))
		if end > len(msg) {
			return
		}
		if i >= others && msg[start] == 0 && be.Uint16(msg[at:]) == typeOPT {
			if !q.edns.parse(msg[at:at+10], msg[at+10:end]) {
				q.edns = edns{there: true, size: minUDP}
			}
			return
		}
		at = end
	}
}

// additional walks over count records, of which the first skip are not of the
// additional section, and returns where they end, or -1.
func (q *query) additional(msg []byte, at, count, skip int) int {
	for i := range count {
		start := at
		if at = skipName(msg, at); at < 0 || at+10 > len(msg) {
			return -1
		}
		rrtype := binary.BigEndian.Uint16(msg[at:])
		end := at + 10 + int(binary.BigEndian.Uint16(msg[at+8:]))
		if end > len(msg) {
			return -1
		}
		switch {
		case i < skip:
		case rrtype == typeOPT:
			// RFC 6891 section 6.1.1: one, and owned by the root.
			if q.there || msg[start] != 0 || !q.edns.parse(msg[at:at+10], msg[at+10:end]) {
				return -1
			}
		case rrtype == typeTSIG:
			if i != count-1 { // RFC 8945 section 5.1
				return -1
			}
			q.tsig = start
		default:
			return -1
		}
		at = end
	}
	return at
}

// recordClass is the class of the records of an answer.
func (q *query) recordClass() uint16 {
	if q.class == classANY {
		return classIN
	}
	return q.class
}

// skipName returns where the name at msg[at:] ends, or -1. It does not follow
// compression pointers.
func skipName(msg []byte, at int) int {
	for at < len(msg) {
		switch l := int(msg[at]); {
		case l == 0:
			return at + 1
		case l >= 0xc0:
			return at + 2
		case l > zone.MaxLabel:
			return -1
		default:
			at += 1 + l
		}
	}
	return -1
}
