package xfr

import (
	"encoding/binary"
	"errors"
	"iter"
	"net/netip"
	"time"

	"ampoule/appliances/dns/tsig"
	"ampoule/appliances/dns/wire"
	"ampoule/libos/config/zone"
)

// Response codes (RFC 1035 section 4.1.1, RFC 2136 section 2.2).
const (
	noError  = 0
	formErr  = 1
	servFail = 2
	refused  = 5
	notAuth  = 9
)

// pageSize is how long the messages of a transfer are, unless one record is
// longer. Compression pointers reach about as far.
const pageSize = 16384

// request is an AXFR or IXFR query, or a NOTIFY.
type request struct {
	wire.Header
	wire.Question
	msg    []byte
	end    int // of the question
	sig    *tsig.Request
	serial uint32 // of an IXFR
	hasSOA bool
	rcode  uint16
}

// parse reads a request of a name server. It returns nil for what is no request of
// one question at all, which the caller knows to answer. What else is wrong ends
// up in rcode.
func parse(msg []byte, keys tsig.Ring, now time.Time) *request {
	r := &request{msg: msg}
	var err error
	if r.Header, err = wire.ReadHeader(msg); err != nil || r.Flags&wire.FlagQR != 0 || r.QD != 1 {
		return nil
	}
	if r.Question, r.end, err = wire.ReadQuestion(msg); err != nil {
		return nil
	}
	at, err := tsig.Locate(msg)
	if err != nil {
		return nil
	}
	if at > 0 {
		if r.sig, err = keys.Verify(msg, at, now); err != nil {
			return nil
		}
		if r.sig.Error() != tsig.OK {
			r.rcode = notAuth
			return r
		}
	}
	at = r.end
	for i := range r.AN + r.NS {
		rr, err := wire.ReadRR(msg, at)
		if err != nil {
			return nil
		}
		data, err := wire.AppendData(nil, msg, rr)
		if s, ok := ReadSOA(string(data)); err == nil && ok && i == 0 && rr.Type == typeSOA {
			r.serial, r.hasSOA = s.Serial, true
		}
		at = rr.End
	}
	return r
}

// header is that of the answer.
func (r *request) header() wire.Header {
	return wire.Header{ID: r.ID, Flags: wire.FlagQR | r.Flags&wire.OpcodeMask | r.rcode, QD: 1}
}

// brief writes an answer without records into buf and returns its length.
func (r *request) brief(buf []byte, now time.Time) int {
	h := r.header()
	if r.rcode == noError {
		h.Flags |= wire.FlagAA
	}
	b := append(h.Append(buf[:0]), r.msg[wire.HeaderSize:r.end]...)
	return r.sig.Append(buf[:cap(buf)], len(b), now)
}

// stream sends the messages of one transfer.
type stream struct {
	req    *request
	origin string
	now    func() time.Time
	send   func([]byte) error
	buf    []byte
	limit  int // bytes of a message, without its signature
	count  uint16
	last   string // owner of the record before, which stands at lastAt
	lastAt int
}

func newStream(req *request, now func() time.Time, send func([]byte) error) *stream {
	s := &stream{req: req, origin: req.Name, now: now, send: send, limit: pageSize - req.sig.Size()}
	s.buf = make([]byte, 0, pageSize)
	s.begin()
	return s
}

// begin starts a message. Each repeats the question, whose name the owners then
// point to (RFC 5936 section 2.2.1 leaves that to the server).
func (s *stream) begin() {
	h := s.req.header()
	h.Flags |= wire.FlagAA
	s.buf = h.Append(s.buf[:0])
	s.buf = append(s.buf, s.origin...)
	be := binary.BigEndian
	s.buf = be.AppendUint16(be.AppendUint16(s.buf, s.req.Type), classIN)
	s.count, s.last, s.lastAt = 0, "", 0
}

// add puts a record into the message, or sends that and begins another.
func (s *stream) add(r record) error {
	size := r.size()
	if s.count > 0 && len(s.buf)+size > s.limit {
		if err := s.flush(); err != nil {
			return err
		}
	}
	if len(s.buf)+size+s.req.sig.Size() > wire.MaxMessage {
		return errors.New("xfr: a record that is too long for a message")
	}
	at := 0
	if r.owner == s.last {
		at = s.lastAt
	}
	s.buf, s.lastAt = appendRecord(s.buf, &r, s.origin, at)
	s.last = r.owner
	s.count++
	return nil
}

func (s *stream) addAll(records iter.Seq[record]) error {
	for r := range records {
		if err := s.add(r); err != nil {
			return err
		}
	}
	return nil
}

// flush sends the message.
func (s *stream) flush() error {
	binary.BigEndian.PutUint16(s.buf[6:], s.count)
	n := len(s.buf)
	if room := n + s.req.sig.Size(); room > cap(s.buf) {
		s.buf = append(make([]byte, 0, room), s.buf...)
	}
	n = s.req.sig.Append(s.buf[:cap(s.buf)], n, s.now())
	if err := s.send(s.buf[:n]); err != nil {
		return err
	}
	s.begin()
	return nil
}

// whole sends a zone as AXFR does (RFC 5936 section 2.2).
func (s *stream) whole(z zone.Zone) error {
	first := soa(z)
	if err := s.add(first); err != nil {
		return err
	}
	if err := s.addAll(all(z)); err != nil {
		return err
	}
	if err := s.add(first); err != nil {
		return err
	}
	return s.flush()
}

// steps sends the differences between versions, the last of which is z's (RFC 1995
// section 4).
func (s *stream) steps(z zone.Zone, deltas []delta) error {
	if err := s.add(soa(z)); err != nil {
		return err
	}
	for i := range deltas {
		d := &deltas[i]
		for _, part := range [...]struct {
			soa     record
			records string
		}{{d.first, d.deleted}, {d.last, d.added}} {
			if err := s.add(part.soa); err != nil {
				return err
			}
			if err := s.addAll(unpack(part.records)); err != nil {
				return err
			}
		}
	}
	if err := s.add(soa(z)); err != nil {
		return err
	}
	return s.flush()
}

// single sends the SOA alone: the client has the newest version, or may ask over
// TCP (RFC 1995 section 2).
func (s *stream) single(z zone.Zone) error {
	if err := s.add(soa(z)); err != nil {
		return err
	}
	return s.flush()
}

// Transfer answers msg, which came from an address, if it asks for a zone: it
// calls send for each message of the answer, and returns true. send must not keep
// what it is given. An error of send ends it. tcp says over what the query came:
// over UDP an IXFR gets the SOA alone, and AXFR is not answered here.
func (s *Server) Transfer(msg []byte, tcp bool, from netip.Addr, send func([]byte) error) (bool, error) {
	if !isTransfer(msg) {
		return false, nil
	}
	req := parse(msg, s.keys, s.now())
	if req == nil || req.Class != classIN || req.Type != typeAXFR && req.Type != typeIXFR || req.Type == typeAXFR && !tcp {
		return false, nil
	}
	if req.Type == typeIXFR && !req.hasSOA && req.rcode == noError {
		return false, nil // malformed: without its SOA record
	}
	z, journal := s.decide(req, from)
	if req.rcode != noError {
		buf := make([]byte, req.end+req.sig.Size())
		return true, send(buf[:req.brief(buf, s.now())])
	}
	out := newStream(req, s.now, send)
	current := ZoneSOA(z).Serial
	if req.Type == typeIXFR {
		if !tcp || current == req.serial || Newer(req.serial, current) {
			return true, out.single(z)
		}
		if deltas := journal.since(req.serial); deltas != nil {
			s.stats.IXFR.Add(1)
			return true, out.steps(z, deltas)
		}
	}
	s.stats.AXFR.Add(1)
	return true, out.whole(z)
}

// refusal logs that a client was refused, but not more than once in a second:
// anyone may ask.
func (s *Server) refusal(origin string, from netip.Addr) {
	now, last := s.now().Unix(), s.refused.Load()
	if now != last && s.refused.CompareAndSwap(last, now) {
		s.log.Info("transfer refused", "zone", presentation(origin), "client", from)
	}
}

// isTransfer tells transfers from other queries without looking at more than the
// question.
func isTransfer(msg []byte) bool {
	if len(msg) < wire.HeaderSize || msg[2]&0xf8 != 0 {
		return false
	}
	at := wire.Skip(msg, wire.HeaderSize)
	return at > 0 && at+2 <= len(msg) && msg[at] == 0 && (msg[at+1] == typeAXFR || msg[at+1] == typeIXFR)
}

// decide says whether the client may have the zone, by the request's rcode, and
// returns what to send.
func (s *Server) decide(req *request, from netip.Addr) (zone.Zone, *Journal) {
	if req.rcode != noError {
		return "", nil
	}
	z, ok := s.zones.Zone(req.Name)
	policy, journal := s.lookup(req.Name)
	switch {
	case !ok:
		req.rcode = notAuth // RFC 5936 section 2.2.1
	case !Permits(policy.Allow, from, req.sig.Key()):
		req.rcode = refused
		s.stats.Refused.Add(1)
		s.refusal(req.Name, from)
	case z == "":
		req.rcode = servFail
	}
	return z, journal
}
