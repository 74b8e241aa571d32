package secondary

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"

	"io"
	"net"
	"time"

	"ampoule/appliances/dns/tsig"
	"ampoule/appliances/dns/wire"
	"ampoule/appliances/dns/xfr"
	"ampoule/libos/config/zone"
	"ampoule/libos/format"
)

const (
	typeSOA  = zone.TypeSOA
	typeIXFR = 251
	typeAXFR = 252
	classIN  = 1
)

var errTooLarge = errors.New("too large")

// rcodeError is an answer that refuses.
type rcodeError uint16

func (e rcodeError) Error() string {
	names := [...]string{1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 9: "NOTAUTH"}
	if int(e) < len(names) && names[e] != "" {
		return "the primary answers " + names[e]
	}
	return format.Sprintf("the primary answers with response code %d", uint16(e))
}

// conn is a connection to a primary.
type conn struct {
	net.Conn
	it  *item
	key *tsig.Key
	end time.Time // of all that may be done on it
	buf []byte
}

// fetch asks one primary for its version and takes it if it is newer.
func (it *item) fetch(ctx context.Context, p Primary) error {
	content := it.current()
	if content != "" {
		err := it.try(ctx, p, content)
		if err == nil || errors.Is(err, errTooLarge) || ctx.Err() != nil {
			return err
		}
		if !errors.Is(err, errDifference) {
			return err
		}
		it.s.log.Info("transfer of the differences failed, the whole zone is fetched",
			"zone", presentation(it.conf.Origin), "primary", p.Addr, "error", err)
	}
	return it.try(ctx, p, "")
}

// errDifference says that an IXFR was of no use.
var errDifference = errors.New("no usable difference")

// try does one exchange: with content it asks for the serial number and then for
// the difference, without for the zone.
func (it *item) try(ctx context.Context, p Primary, content zone.Zone) error {
	s := it.s
	dialing, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	nc, err := s.net.DialContext(dialing, "tcp", p.Addr.String())
	if err != nil {
		return err
	}
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { nc.Close() })()
	c := &conn{Conn: nc, it: it, end: time.Now().Add(60 * s.cfg.Timeout)}
	if p.Key != "" {
		if c.key = s.key(p.Key); c.key == nil {
			return errors.New("the key is not there")
		}
	}
	qtype := uint16(typeAXFR)
	if content != "" {
		serial, err := c.serial()
		if err != nil {
			return err
		}
		if have := xfr.ZoneSOA(content).Serial; !xfr.Newer(serial, have) {
			it.confirmed()
			return nil
		}
		qtype = typeIXFR
	}
	r := newReceiver(it.conf.Origin, content, s.cfg.ZoneBytes)
	if err := c.transfer(qtype, content, r); err != nil {
		if qtype == typeIXFR && !errors.Is(err, errTooLarge) {
			return format.Errorf("%w: %w", errDifference, err)
		}
		return err
	}
	if r.same {
		it.confirmed()
		return nil
	}
	return it.take(r, p)
}

// take compiles what was received and puts it in the place of what is there.
func (it *item) take(r *receiver, p Primary) error {
	start := time.Now()
	fresh, err := r.build()
	if err != nil {
		if r.differences {
			return format.Errorf("%w: %w", errDifference, err)
		}
		return err
	}
	if it.conf.Catalog != nil {
		if err := it.catalog(fresh); err != nil {
			return err
		}
	}
	if err := it.replace(fresh); err != nil {
		return err
	}
	kind, count := "AXFR", &it.s.stats.AXFR
	if r.differences {
		kind, count = "IXFR", &it.s.stats.IXFR
	}
	count.Add(1)
	it.s.log.Info("zone transferred", "zone", presentation(it.conf.Origin), "primary", p.Addr, "type", kind,
		"serial", xfr.ZoneSOA(fresh).Serial, "records", r.count, "bytes", len(fresh), "compiled", time.Since(start))
	if it.conf.Catalog == nil {
		it.s.Changed(it.conf.Origin)
	}
	return nil
}

// ask sends a query; soa goes into the authority section if it is not "".
func (c *conn) ask(qtype uint16, soa string) (id uint16, x *tsig.Exchange, err error) {
	var random [2]byte
	rand.Read(random[:]) // never fails
	h := wire.Header{ID: binary.BigEndian.Uint16(random[:]), QD: 1}
	if soa != "" {
		h.NS = 1
	}
	origin := c.it.conf.Origin
	msg := append(h.Append(make([]byte, 0, 1024)), origin...)
	msg = append(msg, byte(qtype>>8), byte(qtype), 0, classIN)
	if soa != "" {
		msg = append(msg, origin...)
		msg = append(msg, 0, typeSOA, 0, classIN, 0, 0, 0, 0)
		msg = append(binary.BigEndian.AppendUint16(msg, uint16(len(soa))), soa...)
	}
	if c.key != nil {
		msg, x = c.key.Sign(msg, c.it.s.now())
	}
	c.SetDeadline(c.deadline())
	_, err = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...))
	return h.ID, x, err
}

// deadline is that of the next step.
func (c *conn) deadline() time.Time {
	d := time.Now().Add(c.it.s.cfg.Timeout)
	if d.After(c.end) {
		d = c.end
	}
	return d
}

// read reads the next message, checks its signature and its header, and returns
// it with where its question section ends. It is good until the next call.
func (c *conn) read(id, qtype uint16, x *tsig.Exchange) (msg []byte, h wire.Header, at int, err error) {
	var length [2]byte
	c.SetDeadline(c.deadline())
	if _, err = io.ReadFull(c, length[:]); err != nil {
		return nil, h, 0, err
	}
	n := int(binary.BigEndian.Uint16(length[:]))
	if cap(c.buf) < n {
		c.buf = make([]byte, n)
	}
	msg = c.buf[:n]
	if _, err = io.ReadFull(c, msg); err != nil {
		return nil, h, 0, err
	}
	if h, err = wire.ReadHeader(msg); err != nil {
		return nil, h, 0, err
	}
	if h.ID != id || h.Flags&(wire.FlagQR|wire.OpcodeMask) != wire.FlagQR || h.QD > 1 {
		return nil, h, 0, errors.New("not an answer to what was asked")
	}
	// A server that does not know the key can't sign that it refuses.
	rcode := rcodeError(h.Flags & 15)
	if msg, err = x.Verify(msg, c.it.s.now()); err != nil {
		if rcode != 0 {
			err = format.Errorf("%w: %w", rcode, err)
		}
		return nil, h, 0, err
	}
	if rcode != 0 {
		return nil, h, 0, rcode
	}
	if h.Flags&wire.FlagTC != 0 {
		return nil, h, 0, errors.New("a truncated answer over TCP")
	}
	at = wire.HeaderSize
	if h.QD == 1 {
		q, end, err := wire.ReadQuestion(msg)
		if err != nil {
			return nil, h, 0, err
		}
		if q.Name != c.it.conf.Origin || q.Type != qtype || q.Class != classIN {
			return nil, h, 0, errors.New("an answer to another question")
		}
		at = end
	}
	return msg, h, at, nil
}

// serial asks for the primary's SOA record.
func (c *conn) serial() (uint32, error) {
	c.it.s.stats.Checked.Add(1)
	id, x, err := c.ask(typeSOA, "")
	if err != nil {
		return 0, err
	}
	msg, h, at, err := c.read(id, typeSOA, x)
	if err != nil {
		return 0, err
	}
	if h.Flags&wire.FlagAA == 0 {
		return 0, errors.New("the primary is no authority for the zone")
	}
	for range h.AN {
		rr, err := wire.ReadRR(msg, at)
		if err != nil {
			return 0, err
		}
		if rr.Type == typeSOA && rr.Class == classIN {
			data, err := wire.AppendData(nil, msg, rr)
			if soa, ok := xfr.ReadSOA(string(data)); ok && err == nil {
				return soa.Serial, nil
			}
			return 0, wire.ErrMessage
		}
		at = rr.End
	}
	return 0, errors.New("the primary has no SOA record")
}

// transfer asks for the zone or its difference and gives all records to r.
func (c *conn) transfer(qtype uint16, content zone.Zone, r *receiver) error {
	soa := ""
	if content != "" {
		set, _ := content.RRset(content.Apex(), typeSOA)
		soa, _ = set.Next()
	}
	id, x, err := c.ask(qtype, soa)
	if err != nil {
		return err
	}
	for !r.done {
		msg, h, at, err := c.read(id, qtype, x)
		if err != nil {
			return err
		}
		if h.AN == 0 {
			return errors.New("a message without records")
		}
		if err := r.message(msg, at, h.AN); err != nil {
			return err
		}
	}
	if !x.Whole() {
		return errors.New("the last message is not signed")
	}
	return nil
}
