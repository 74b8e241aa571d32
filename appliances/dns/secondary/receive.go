package secondary

import (
	"bytes"
	"encoding/binary"
	"errors"

	"ampoule/appliances/dns/wire"
	"ampoule/appliances/dns/xfr"
	"ampoule/libos/config/zone"
	"ampoule/libos/config/zone/answers"
	"ampoule/libos/format"
)

// readyFactor is how many times the bound of a zone's records the answers made of
// them may take.
const readyFactor = 2

// recordCost is what a record takes of the bound beside its octets.
const recordCost = 48

// What the next record of a transfer may be.
type state int

const (
	atFirst   state = iota // the SOA of the new version
	atSecond               // tells a zone from a difference
	inZone                 // a record of the zone, or the SOA that ends it
	inDeleted              // a record that goes, or the SOA of the version after
	inAdded                // a record that comes, or the SOA of the next step or the end
)

// receiver puts the records of a transfer together: of a whole zone (RFC 5936
// section 2.2) or of differences (RFC 1995 section 4).
type receiver struct {
	origin string
	old    zone.Zone // "": differences make no sense
	limit  int       // on the records, in bytes: see recordCost
	left   int       // of that
	state  state
	count  int

	first   []byte // data of the new version's SOA
	ttl     uint32 // of that
	serial  uint32 // of the new version
	at      uint32 // serial number of the version that the differences lead to so far
	records []zone.Record
	// Differences, all steps taken together; by record without its TTL.
	deleted map[string]struct{}
	added   map[string]zone.Record
	arena   []byte

	done        bool
	same        bool // the primary has nothing newer
	differences bool
}

func newReceiver(origin string, old zone.Zone, limit int) *receiver {
	return &receiver{origin: origin, old: old, limit: limit, left: limit,
		deleted: map[string]struct{}{}, added: map[string]zone.Record{}}
}

// message takes the count records of the answer section that starts at msg[at:].
func (r *receiver) message(msg []byte, at, count int) error {
	for i := range count {
		rr, err := wire.ReadRR(msg, at)
		if err != nil {
			return err
		}
		if r.done {
			return errors.New("records behind the end of the zone")
		}
		rec, err := r.read(msg, rr)
		if err != nil {
			return err
		}
		if err := r.record(rec, i == count-1); err != nil {
			return err
		}
		at = rr.End
	}
	return nil
}

// read takes one record out of its message.
func (r *receiver) read(msg []byte, rr wire.RR) (rec zone.Record, err error) {
	if cap(r.arena)-len(r.arena) < zone.MaxName+wire.MaxMessage/8+rr.End-rr.Data {
		r.arena = make([]byte, 0, 2*wire.MaxMessage)
	}
	start, end := len(r.arena), 0
	if r.arena, end = wire.AppendName(r.arena, msg, rr.Start); end < 0 {
		return rec, wire.ErrMessage
	}
	var owner zone.Name
	if _, err := zone.Set(&owner, r.arena[start:]); err != nil {
		return rec, err
	}
	copy(r.arena[start:], owner.Bytes(0))
	data := len(r.arena)
	if r.arena, err = wire.AppendData(r.arena, msg, rr); err != nil {
		return rec, format.Errorf("data of a record of type %d: %w", rr.Type, err)
	}
	rec = zone.Record{Owner: r.arena[start:data:data], Type: rr.Type, TTL: rr.TTL, Data: r.arena[data:len(r.arena):len(r.arena)]}
	switch {
	case rr.Class != classIN:
		return rec, format.Errorf("a record of class %d", rr.Class)
	case rr.Type == 0 || rr.Type == 41 || rr.Type >= 128 && rr.Type <= 255:
		return rec, format.Errorf("a record of type %d, which no zone has", rr.Type)
	case !owner.Below(r.origin):
		return rec, format.Errorf("a record of %s, which is outside the zone", presentation(string(rec.Owner)))
	case rr.Type == typeSOA && string(rec.Owner) != r.origin:
		return rec, errors.New("an SOA record inside the zone")
	}
	if rec.TTL > 1<<31-1 { // RFC 2181 section 8
		rec.TTL = 0
	}
	return rec, nil
}

// record takes the next record; last says that it is the last of its message.
func (r *receiver) record(rec zone.Record, last bool) error {
	r.count++
	if r.left -= len(rec.Owner) + len(rec.Data) + recordCost; r.left < 0 {
		return r.tooLarge()
	}
	if rec.Type == typeSOA {
		soa, ok := xfr.ReadSOA(string(rec.Data))
		if !ok {
			return wire.ErrMessage
		}
		return r.soa(rec, soa.Serial, last)
	}
	switch r.state {
	case atFirst:
		return errors.New("a transfer that does not start with an SOA record")
	case atSecond, inZone:
		r.state = inZone
		r.records = append(r.records, rec)
	case inDeleted:
		k := key(&rec)
		if _, ok := r.added[k]; ok {
			delete(r.added, k)
		} else {
			r.deleted[k] = struct{}{}
		}
	case inAdded:
		r.added[key(&rec)] = rec // one that was deleted comes back with a TTL of its own
	}
	return nil
}

// tooLarge names the bound, which the configuration may raise.
func (r *receiver) tooLarge() error {
	return format.Errorf("%w: its records take more than %d bytes", errTooLarge, r.limit)
}

// soa takes an SOA record, by which the parts of a transfer are told apart.
func (r *receiver) soa(rec zone.Record, serial uint32, last bool) error {
	switch r.state {
	case atFirst:
		r.first, r.ttl, r.serial = rec.Data, rec.TTL, serial
		r.state = atSecond
		if last && r.old != "" && !xfr.Newer(serial, xfr.ZoneSOA(r.old).Serial) {
			r.done, r.same = true, true
		}
	case atSecond:
		if r.old == "" || serial == r.serial {
			return errors.New("a zone of an SOA record alone")
		}
		if r.at = xfr.ZoneSOA(r.old).Serial; serial != r.at {
			return format.Errorf("a difference to version %d, ours is %d", serial, r.at)
		}
		r.differences, r.state = true, inDeleted
	case inZone:
		if !bytes.Equal(rec.Data[len(rec.Data)-20:], r.first[len(r.first)-20:]) {
			return errors.New("another SOA record at the end than at the start")
		}
		r.done = true
	case inDeleted:
		if !xfr.Newer(serial, r.at) {
			return format.Errorf("a step from version %d to %d", r.at, serial)
		}
		r.at, r.state = serial, inAdded
	case inAdded:
		if serial != r.at {
			return format.Errorf("a step from version %d behind one to %d", serial, r.at)
		}
		if r.state = inDeleted; serial == r.serial {
			r.done = true
		}
	}
	return nil
}

// key is all of a record but its TTL.
func key(rec *zone.Record) string {
	b := make([]byte, 0, len(rec.Owner)+2+len(rec.Data))
	b = binary.BigEndian.AppendUint16(append(b, rec.Owner...), rec.Type)
	return string(append(b, rec.Data...))
}

// build compiles what was received.
func (r *receiver) build() (z zone.Zone, err error) {
	defer func() { // what a primary sends must not cost more than its zone
		if p := recover(); p != nil {
			z, err = "", format.Errorf("the zone can't be compiled: %v", p)
		}
	}()
	if r.differences {
		if err := r.apply(); err != nil {
			return "", err
		}
	}
	r.records = append(r.records, zone.Record{Owner: []byte(r.origin), Type: typeSOA, TTL: r.ttl, Data: r.first})
	if z, err = zone.Compile([]byte(r.origin), r.records); err != nil {
		return "", err
	}
	r.records = nil
	if _, ok := z.RRset(z.Apex(), zone.TypeNS); !ok {
		return "", errors.New("no NS record at the zone's own name")
	}
	return answers.AddWithin(z, readyFactor*r.limit)
}

// apply makes the records of the new version from the old one.
func (r *receiver) apply() error {
	for rec := range xfr.Records(r.old) {
		if rec.Type == typeSOA {
			continue
		}
		k := key(&rec)
		if _, gone := r.deleted[k]; gone {
			delete(r.deleted, k)
			continue
		}
		if _, again := r.added[k]; again {
			continue // with its new TTL
		}
		if r.left -= len(rec.Owner) + len(rec.Data) + recordCost; r.left < 0 {
			return r.tooLarge()
		}
		r.records = append(r.records, rec)
	}
	if len(r.deleted) > 0 {
		return format.Errorf("%d records to delete that are not there", len(r.deleted))
	}
	for _, rec := range r.added {
		r.records = append(r.records, rec)
	}
	return nil
}
