package answers

import (
	"encoding/binary"

	"ampoule/libos/config/zone"
)

// maxTargets bounds the names that later ones may point to. A name that is not
// remembered costs bytes, never correctness.
const maxTargets = 48

// maxPointer is the farthest place a compression pointer reaches (RFC 1035
// section 4.1.4).
const maxPointer = 1<<14 - 1

// writer puts records into a message. When something does not fit it sets full
// and writes nothing more until full is cleared.
type writer struct {
	buf     []byte // its length is the limit, less what the OPT record needs
	n       int
	class   uint16
	full    bool
	targets [maxTargets]target
	known   int
	log     *[]uint16 // places of compression pointers, if Add wants them
}

// target is a name in the message, or a suffix of one.
type target struct {
	at   uint16
	size uint8 // octets when not compressed
}

func (w *writer) remember(at, size int) {
	if w.known < maxTargets && at <= maxPointer {
		w.targets[w.known] = target{uint16(at), uint8(size)}
		w.known++
	}
}

// owner is the name of a set: a place in the message if at is not 0, else name.
type owner struct {
	at   int
	name string
}

// rrset appends a whole set, and returns how many records that were and where
// the data of the last one starts. On overflow nothing is written and count is
// 0 (RFC 2181 section 9).
func (w *writer) rrset(o owner, set zone.RRset, ttl uint32) (count uint16, data int) {
	mark, known := w.n, w.known
	for rdata, ok := set.Next(); ok; rdata, ok = set.Next() {
		data = w.record(o, set.Type, ttl)
		if w.rdata(set.Type, rdata); w.full {
			w.n, w.known = mark, known
			return 0, 0
		}
		binary.BigEndian.PutUint16(w.buf[data-2:], uint16(w.n-data))
		count++
	}
	return count, data
}

// whole appends one record with data that holds no name to compress, or nothing
// if it does not fit.
func (w *writer) whole(o owner, rrtype uint16, ttl uint32, rdata string) bool {
	mark, known := w.n, w.known
	data := w.record(o, rrtype, ttl)
	if w.bytes(rdata); w.full {
		w.n, w.known = mark, known
		return false
	}
	binary.BigEndian.PutUint16(w.buf[data-2:], uint16(len(rdata)))
	return true
}

// pointer appends a compression pointer to a place in the message.
func (w *writer) pointer(at int) {
	if b := w.room(2); b != nil {
		binary.BigEndian.PutUint16(b, 0xc000|uint16(at))
		if w.log != nil {
			*w.log = append(*w.log, uint16(w.n-2))
		}
	}
}

// record appends a record up to its data, whose length is left to fill in, and
// returns where the data starts.
func (w *writer) record(o owner, rrtype uint16, ttl uint32) int {
	if o.at == 0 {
		w.name(o.name)
	} else {
		w.pointer(o.at)
	}
	if b := w.room(10); b != nil {
		binary.BigEndian.PutUint16(b, rrtype)
		binary.BigEndian.PutUint16(b[2:], w.class)
		binary.BigEndian.PutUint32(b[4:], ttl)
	}
	return w.n
}

// rdata appends record data. Names are compressed in the types of RFC 1035
// only (RFC 3597 section 4).
func (w *writer) rdata(rrtype uint16, rdata string) {
	fixed, names := 0, 0
	switch rrtype {
	case typeNS, 3, 4, typeCNAME, 7, 8, 9, 12: // MD, MF, MB, MG, MR, PTR
		names = 1
	case typeSOA, typeMINFO:
		names = 2
	case typeMX:
		fixed, names = 2, 1
	case typeDNAME: // written in full, but others may point to it
		if w.bytes(rdata); !w.full {
			w.rememberAll(rdata[:len(rdata)-1], len(rdata))
		}
		return
	}
	w.bytes(rdata[:fixed])
	rdata = rdata[fixed:]
	for range names {
		size := nameSize(rdata)
		w.name(rdata[:size])
		rdata = rdata[size:]
	}
	w.bytes(rdata)
}

// name appends a name in wire format, compressed.
func (w *writer) name(name string) {
	for at := 0; name[at] != 0; at += 1 + int(name[at]) {
		suffix := name[at:]
		if p := w.find(suffix); p > 0 {
			w.bytes(name[:at])
			w.pointer(p)
			w.rememberAll(name[:at], len(name))
			return
		}
	}
	w.bytes(name)
	w.rememberAll(name[:len(name)-1], len(name))
}

// rememberAll remembers the labels just written: the last bytes of the message
// but for a pointer or the root. size is that of the whole name.
func (w *writer) rememberAll(labels string, size int) {
	if w.full {
		return
	}
	start := w.n - len(labels) - 1
	if len(labels)+1 < size {
		start-- // a pointer takes two octets
	}
	for at := 0; at < len(labels); at += 1 + int(labels[at]) {
		w.remember(start+at, size-at)
	}
}

// find returns the place of name in the message, or 0. Case does not matter
// (RFC 4343).
func (w *writer) find(name string) int {
	for _, t := range w.targets[:w.known] {
		if int(t.size) == len(name) && w.equal(int(t.at), name) {
			return int(t.at)
		}
	}
	return 0
}

// equal compares name with the one at offset at, which this writer wrote.
func (w *writer) equal(at int, name string) bool {
	for {
		for w.buf[at] >= 0xc0 {
			at = int(binary.BigEndian.Uint16(w.buf[at:]) & maxPointer)
		}
		l := int(w.buf[at])
		if l != int(name[0]) {
			return false
		}
		if l == 0 {
			return true
		}
		for i := 1; i <= l; i++ {
			if zone.Lower(w.buf[at+i]) != zone.Lower(name[i]) {
				return false
			}
		}
		at, name = at+1+l, name[1+l:]
	}
}

func (w *writer) bytes(s string) {
	if b := w.room(len(s)); b != nil {
		copy(b, s)
	}
}

// room returns the next n bytes of the message, or nil when they do not fit.
func (w *writer) room(n int) []byte {
	if w.full || n > len(w.buf)-w.n {
		w.full = true
		return nil
	}
	w.n += n
	return w.buf[w.n-n : w.n]
}

// nameSize returns the octets of the valid name at the start of s.
func nameSize(s string) int {
	at := 0
	for s[at] != 0 {
		at += 1 + int(s[at])
	}
	return at + 1
}
