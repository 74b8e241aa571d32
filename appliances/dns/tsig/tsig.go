// Package tsig signs DNS messages with shared secrets and checks such signatures
// (RFC 8945): of queries and their answers, and of the messages of a transfer.
//
// The algorithms are in a package of their own, for images without keys. Of
// truncated signatures none is taken: a MAC has the full length of its algorithm.
// The package keeps no state: a message can be repeated to us within its time.
package tsig

import (
	"encoding/binary"
	"hash"
	"time"

	"ampoule/appliances/dns/wire"
	"ampoule/libos/config/zone"
)

// Type is that of a TSIG record.
const Type = 250

// Error is what is wrong with a signature (RFC 8945 section 3).
type Error uint16

const (
	OK       Error = 0
	BadSig   Error = 16
	BadKey   Error = 17
	BadTime  Error = 18
	BadTrunc Error = 22
)

func (e Error) Error() string {
	switch e {
	case OK:
		return "no error"
	case BadSig:
		return "BADSIG: the signature is not right"
	case BadKey:
		return "BADKEY: no such key or algorithm"
	case BadTime:
		return "BADTIME: the clocks differ by too much"
	case BadTrunc:
		return "BADTRUNC: the signature is truncated"
	}
	return "an unknown error of TSIG"
}

const (
	classANY  = 255
	fudge     = 300 // seconds that clocks may differ (section 10)
	maxOther  = 6   // octets of other data that we write: a time
	fixedSize = 16  // of the data, beside algorithm, MAC and other data
	maxGap    = 99  // messages without a signature in a row (section 5.3.1)
)

// Algorithm is a way to make a MAC. Package algorithm has them.
type Algorithm struct {
	Name string // wire format, lower case
	Size int    // octets of a MAC
	New  func(secret []byte) hash.Hash
}

// Key is a secret that two servers share.
type Key struct {
	Name      string // wire format, lower case
	Algorithm *Algorithm
	Secret    []byte
}

// Ring is the keys that a server knows.
type Ring []Key

// Find returns the key of a name in wire format and lower case, or nil.
func (r Ring) Find(name string) *Key {
	for i := range r {
		if r[i].Name == name {
			return &r[i]
		}
	}
	return nil
}

// record is a TSIG record in a message.
type record struct {
	at        int // where it starts
	name      string
	algorithm string
	signed    uint64 // seconds since 1970
	fudge     uint16
	mac       []byte // in the message
	id        uint16
	err       Error
	other     []byte // in the message
}

// parse reads the record at msg[at:], which must be the end of msg.
func parse(msg []byte, at int) (record, error) {
	r := record{at: at}
	rr, err := wire.ReadRR(msg, at)
	if err != nil || rr.Type != Type || rr.Class != classANY || rr.TTL != 0 || rr.End != len(msg) {
		return r, wire.ErrMessage
	}
	var ok bool
	if r.name, _, ok = lower(msg, at); !ok {
		return r, wire.ErrMessage
	}
	if r.algorithm, at, ok = lower(msg, rr.Data); !ok || rr.End-at < fixedSize {
		return r, wire.ErrMessage
	}
	be := binary.BigEndian
	r.signed = uint64(be.Uint16(msg[at:]))<<32 | uint64(be.Uint32(msg[at+2:]))
	r.fudge = be.Uint16(msg[at+6:])
	rest := msg[at+8 : rr.End]
	n := 2 + int(be.Uint16(rest))
	if n > len(rest)-6 {
		return r, wire.ErrMessage
	}
	r.mac, rest = rest[2:n], rest[n:]
	r.id, r.err, r.other = be.Uint16(rest), Error(be.Uint16(rest[2:])), rest[6:]
	if int(be.Uint16(rest[4:])) != len(r.other) {
		return r, wire.ErrMessage
	}
	return r, nil
}

// lower returns the name at msg[at:] in lower case and where it ends.
func lower(msg []byte, at int) (string, int, bool) {
	var n zone.Name
	name, end := wire.AppendName(nil, msg, at)
	if end < 0 {
		return "", 0, false
	}
	if _, err := zone.Set(&n, name); err != nil {
		return "", 0, false
	}
	return string(n.Bytes(0)), end, true
}

// Locate returns where the TSIG record of a message starts, or 0 if it has none.
// A message is malformed, too, that has one elsewhere than at its end.
func Locate(msg []byte) (int, error) {
	h, err := wire.ReadHeader(msg)
	if err != nil {
		return 0, err
	}
	at := wire.HeaderSize
	for range h.QD {
		if at = wire.Skip(msg, at); at < 0 || at+4 > len(msg) {
			return 0, wire.ErrMessage
		}
		at += 4
	}
	for i, count := 1, h.AN+h.NS+h.AR; i <= count; i++ {
		rr, err := wire.ReadRR(msg, at)
		if err != nil {
			return 0, err
		}
		if rr.Type == Type {
			if i != count || h.AR == 0 {
				return 0, wire.ErrMessage
			}
			return at, nil
		}
		at = rr.End
	}
	if at != len(msg) {
		return 0, wire.ErrMessage
	}
	return 0, nil
}

// digest is a MAC in the making.
type digest struct{ hash.Hash }

func (k *Key) digest(previous []byte) digest {
	d := digest{k.Algorithm.New(k.Secret)}
	if previous != nil {
		d.u16(uint16(len(previous)))
		d.Write(previous)
	}
	return d
}

func (d digest) u16(v uint16) { d.Write([]byte{byte(v >> 8), byte(v)}) }

// message adds msg[:end], which has one record more than it will have, with its
// first identifier.
func (d digest) message(msg []byte, end int, id uint16) {
	var head [wire.HeaderSize]byte
	copy(head[:], msg)
	be := binary.BigEndian
	be.PutUint16(head[:], id)
	be.PutUint16(head[10:], be.Uint16(head[10:])-1)
	d.Write(head[:])
	d.Write(msg[wire.HeaderSize:end])
}

// timers adds what signs the time alone (section 5.3.1).
func (d digest) timers(r *record) {
	d.u16(uint16(r.signed >> 32))
	d.u16(uint16(r.signed >> 16))
	d.u16(uint16(r.signed))
	d.u16(r.fudge)
}

// variables adds the record itself (section 4.3.3).
func (d digest) variables(r *record) {
	d.Write([]byte(r.name))
	d.Write([]byte{0, classANY, 0, 0, 0, 0})
	d.Write([]byte(r.algorithm))
	d.timers(r)
	d.u16(uint16(r.err))
	d.u16(uint16(len(r.other)))
	d.Write(r.other)
}

// size is the octets of a record with a MAC and other data of at most maxOther.
func (r *record) size(mac int) int {
	return len(r.name) + 10 + len(r.algorithm) + fixedSize + mac + maxOther
}

// append writes the record behind the message.
func (r *record) append(b []byte) []byte {
	be := binary.BigEndian
	b = append(b, r.name...)
	b = append(b, 0, Type, 0, classANY, 0, 0, 0, 0)
	b = be.AppendUint16(b, uint16(len(r.algorithm)+fixedSize+len(r.mac)+len(r.other)))
	b = append(b, r.algorithm...)
	b = be.AppendUint16(b, uint16(r.signed>>32))
	b = be.AppendUint32(b, uint32(r.signed))
	b = be.AppendUint16(b, r.fudge)
	b = append(be.AppendUint16(b, uint16(len(r.mac))), r.mac...)
	b = be.AppendUint16(b, r.id)
	b = be.AppendUint16(b, uint16(r.err))
	return append(be.AppendUint16(b, uint16(len(r.other))), r.other...)
}

// count adds one to the number of additional records of a message.
func count(msg []byte) {
	be := binary.BigEndian
	be.PutUint16(msg[10:], be.Uint16(msg[10:])+1)
}

// near says whether a time is so near to now that its fudge covers it.
func (r *record) near(now time.Time) bool {
	d := now.Unix() - int64(r.signed)
	return max(d, -d) <= int64(r.fudge)
}
