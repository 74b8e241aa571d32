// Package answer turns DNS queries into authoritative answers from compiled
// zones: a pure function from message to message (RFC 1034 section 4.3.2, RFC
// 2181, RFC 2308, RFC 4592, RFC 6672, RFC 6891, RFC 8482, RFC 9471). It knows
// nothing of the network and does not allocate, block or keep state.
//
// Answers are minimal: the authority and additional sections hold what a
// resolver needs to go on (the SOA of a negative answer, the delegation and its
// glue in a referral) and nothing else.
package answer

import (
	"encoding/binary"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"ampoule/appliances/dns/tsig"
	"ampoule/libos/config/zone"
	"ampoule/libos/config/zone/answers"
	"ampoule/libos/format"
)

const (
	// minUDP is what every client takes over UDP (RFC 1035 section 2.3.4).
	minUDP = 512
	// DefaultUDP is the usual limit for answers over UDP: it fits every path's
	// MTU, so that no answer is cut into fragments.
	DefaultUDP = 1232
	// MaxMessage is the longest message over TCP.
	MaxMessage = 65535
)

// Transport says how a query came.
type Transport uint8

const (
	UDP Transport = iota
	TCP
)

// Options are the parts of a Server's configuration. The zero value has all that
// is optional turned off.
type Options struct {
	// UDPSize is the limit in bytes of answers over UDP, from 512 to 4096; 0
	// stands for DefaultUDP.
	UDPSize int
	// NSID, Version and Identity are told to those who ask (RFC 5001, RFC 4892),
	// unless they are empty. They have MaxText bytes at most.
	NSID, Version, Identity string
	// Cookies turns on server cookies (RFC 7873). CookieSecrets are those shared
	// with other servers at the same address, the one in use first; without any
	// the server makes its own from Rand.
	Cookies       bool
	CookieSecrets [][16]byte
	// Keys are those that queries may be signed with (RFC 8945). Who signs well is
	// not limited.
	Keys tsig.Ring
	// Limit is rate limiting.
	Limit Limit
	// Rand is cryptographically secure; cookies and limiting need it.
	Rand io.Reader
	// Now is the clock; nil stands for time.Now.
	Now func() time.Time
}

// Server answers for a set of zones. Any number of goroutines may use it.
type Server struct {
	view    atomic.Pointer[view]
	mu      sync.Mutex    // of those who change view
	udp     int           // limit of an answer over UDP
	opt     [optSize]byte // the OPT record of most answers
	cookies *cookies      // nil: none
	limiter *limiter      // nil: none
	keys    tsig.Ring
	clock   clock

	nsid, version, identity string
}

// New returns a Server for the zones.
func New(zones []zone.Zone, o Options) (*Server, error) {
	if o.UDPSize == 0 {
		o.UDPSize = DefaultUDP
	}
	if o.UDPSize < minUDP || o.UDPSize > 4096 {
		return nil, format.Errorf("answer: UDP size %d, must be from %d to 4096", o.UDPSize, minUDP)
	}
	if max(len(o.NSID), len(o.Version), len(o.Identity)) > MaxText {
		return nil, format.Errorf("answer: a text of more than %d bytes", MaxText)
	}
	s := &Server{udp: o.UDPSize, clock: newClock(o.Now), keys: o.Keys,
		nsid: o.NSID, version: o.Version, identity: o.Identity}
	byOrigin := make(map[string]zone.Zone, len(zones))
	for i, z := range zones {
		if err := add(byOrigin, z); err != nil {
			return nil, format.Errorf("answer: zone %d: %w", i, err)
		}
	}
	s.view.Store(newView(byOrigin))
	s.makeOpt()
	var err error
	if o.Cookies {
		if s.cookies, err = newCookies(o.CookieSecrets, s.clock.moment().seconds, o.Rand); err != nil {
			return nil, err
		}
	}
	s.limiter, err = newLimiter(o.Limit, o.Rand)
	return s, err
}

// Answer writes the answer to msg into buf and returns its length, or 0 when
// there must be none: msg is no query, too short to tell, or its client has had
// enough. buf holds at least 4096 bytes for UDP and MaxMessage for TCP; msg is not
// changed and must not overlap buf.
func (s *Server) Answer(buf, msg []byte, t Transport, from Client) int {
	if len(msg) < headerSize || msg[2]&(flagQR>>8) != 0 {
		return 0
	}
	var q query
	var r answers.Response
	q.parse(msg, &r.Name)
	r.Rcode = q.rcode
	if r.Rcode == noError && q.cookie != nil && s.cookies != nil && badCookie(q.cookie) {
		r.Rcode = formErr
	}
	limit := MaxMessage
	if t == UDP {
		limit = min(q.size, s.udp)
	}
	sig := s.verify(msg, &q, &r)
	opt := reply{s: s, q: &q.edns}
	opt.begin(&from, q.version == 0 && r.Rcode == noError)
	if sig != nil { // there is always room for it and what it signs (RFC 8945 section 5.3)
		limit = max(limit, headerSize+q.question+opt.size+sig.Size()) - sig.Size()
	}
	extended := uint16(noError8914)
	if r.Rcode == noError {
		r.Question(buf[:limit-opt.size], msg[headerSize:headerSize+q.question], q.recordClass())
		r.Type, r.DO = q.qtype, q.do
		extended = s.resolve(&r, &q, sig)
	}
	if s.limiter != nil && t == UDP && !opt.good && sig.Key() == nil {
		switch s.limiter.judge(&from, r.Kind(), s.clock.moment().ticks) {
		case limitDrop:
			return 0
		case limitSlip:
			r.Truncate()
		}
	}
	n := s.finish(&r, &q, &opt, buf, msg, limit, extended)
	return sig.Append(buf, n, s.clock.time())
}

// verify checks the signature of a query, if it has one.
func (s *Server) verify(msg []byte, q *query, r *answers.Response) *tsig.Request {
	if q.tsig == 0 || r.Rcode != noError {
		return nil
	}
	sig, err := s.keys.Verify(msg, q.tsig, s.clock.time())
	if err != nil {
		r.Rcode = formErr
		return nil
	}
	return sig
}

// resolve fills the sections and returns the extended error, if there is one.
func (s *Server) resolve(r *answers.Response, q *query, sig *tsig.Request) uint16 {
	v := s.view.Load()
	switch {
	case q.there && q.version != 0:
		r.Rcode = badVers
		return noError8914
	case sig.Error() != tsig.OK:
		r.Rcode = notAuth
		return noError8914
	case q.qtype == typeAXFR || q.qtype == typeIXFR:
		return v.transfer(r, q)
	case q.class == classCH && s.chaos(r, q):
		return noError8914
	case q.class != classIN && q.class != classANY:
		r.Rcode = refused
		return errorNotSupported
	}
	z, ok := v.find(&r.Name, q.qtype)
	if !ok {
		r.Rcode = refused
		return errorNotAuthoritative
	}
	if z == missing {
		r.Rcode = servFail
		return errorNotReady
	}
	for r.Step(z) {
		if z, ok = v.find(&r.Name, q.qtype); !ok || z == missing {
			break
		}
	}
	r.Finish()
	if q.class != classIN {
		r.Flags &^= flagAA
	}
	return noError8914
}

// transfer refuses a zone transfer: to anyone for a zone that is here, and as
// someone else's business otherwise (RFC 5936 section 2.2.1).
func (v *view) transfer(r *answers.Response, q *query) uint16 {
	r.Rcode = notAuth
	if _, ok := v.zones[string(r.Name.Bytes(0))]; ok && q.class == classIN {
		r.Rcode = refused
		return errorProhibited
	}
	return errorNotAuthoritative
}

// finish writes the header and the OPT record, and returns the length.
func (s *Server) finish(r *answers.Response, q *query, opt *reply, buf, msg []byte, limit int, extended uint16) int {
	n := max(r.Size(), headerSize)
	extra := r.Extra
	if q.there {
		extra++
	}
	be := binary.BigEndian
	copy(buf, msg[:2])
	be.PutUint16(buf[2:], flagQR|r.Flags|q.flags&(opcodeMask|flagRD)|r.Rcode&15)
	questions := uint16(0)
	if r.Size() > headerSize {
		questions = 1
	}
	be.PutUint16(buf[4:], questions)
	be.PutUint16(buf[6:], r.Answer)
	be.PutUint16(buf[8:], r.Auth)
	be.PutUint16(buf[10:], extra)
	return opt.append(buf, n, limit, r, extended)
}
