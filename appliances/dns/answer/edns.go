package answer

import (
	"encoding/binary"

	"ampoule/libos/config/zone/answers"
)

// EDNS options (IANA's registry) that are understood. Others are ignored (RFC
// 6891 section 6.1.2).
const (
	optionNSID   = 3  // RFC 5001
	optionCookie = 10 // RFC 7873
	optionError  = 15 // RFC 8914
)

// Codes of extended errors (RFC 8914 section 5.2).
const (
	errorNotReady         = 14
	errorProhibited       = 18
	errorNotAuthoritative = 20
	errorNotSupported     = 21
	noError8914           = 0xffff
)

// edns is what the OPT record of a query asks.
type edns struct {
	there   bool
	version uint8
	do      bool // DNSSEC OK (RFC 3225)
	size    int  // UDP payload that the client takes
	nsid    bool
	cookie  []byte // data of the COOKIE option, nil if there is none
}

// parse reads an OPT record's fixed part, which starts with its type, and its
// options. False: it is malformed.
func (e *edns) parse(b, options []byte) bool {
	be := binary.BigEndian
	for len(options) > 0 && b[5] == 0 { // those of another version mean nothing
		if len(options) < 4 {
			return false
		}
		code, n := be.Uint16(options), 4+int(be.Uint16(options[2:]))
		if n > len(options) {
			return false
		}
		switch {
		case code == optionNSID:
			e.nsid = true
		case code == optionCookie && e.cookie == nil: // RFC 7873 section 5.2
			e.cookie = options[4:n]
		}
		options = options[n:]
	}
	e.there = true
	e.size = max(int(be.Uint16(b[2:])), minUDP)
	e.version = b[5]
	e.do = b[6]&0x80 != 0
	return true
}

// badCookie says that a cookie has a length that there is not (RFC 7873 section
// 5.2.2).
func badCookie(c []byte) bool {
	return len(c) != clientCookie && (len(c) < 2*clientCookie || len(c) > maxCookie)
}

// reply is what the OPT record of an answer says.
type reply struct {
	s      *Server
	q      *edns
	cookie cookie
	size   int // bytes of all of it, without an extended error
	baked  bool
	good   bool // the client's cookie
}

// begin decides what will be in the OPT record, and how much room it takes.
func (o *reply) begin(from *Client, version0 bool) {
	if !o.q.there {
		return
	}
	o.size = optSize
	if !version0 {
		return
	}
	if o.q.nsid && o.s.nsid != "" {
		o.size += 4 + len(o.s.nsid)
	}
	if o.q.cookie != nil && o.s.cookies != nil && *from != (Client{}) {
		var sent [maxCookie]byte
		n := copy(sent[:], o.q.cookie)
		o.cookie.load(sent[:])
		o.good = o.s.cookies.answer(&o.cookie, n == fullCookie, from, o.s.clock.moment().seconds)
		o.baked = true
		o.size += 4 + fullCookie
	}
}

// append writes the record behind the n bytes of the message and returns where
// that ends. An extended error is left out when it does not fit.
func (o *reply) append(buf []byte, n, limit int, r *answers.Response, extended uint16) int {
	if !o.q.there {
		return n
	}
	be := binary.BigEndian
	opt := buf[n : n+optSize]
	copy(opt, o.s.opt[:])
	opt[5] = uint8(r.Rcode >> 4)
	if o.q.do {
		opt[7] = 0x80
	}
	data := buf[n+optSize : n+optSize : limit]
	if r.Rcode != badVers {
		if o.q.nsid && o.s.nsid != "" {
			data = be.AppendUint16(be.AppendUint16(data, optionNSID), uint16(len(o.s.nsid)))
			data = append(data, o.s.nsid...)
		}
		if o.baked {
			data = be.AppendUint16(be.AppendUint16(data, optionCookie), fullCookie)
			data = data[:len(data)+fullCookie]
			o.cookie.put((*[fullCookie]byte)(data[len(data)-fullCookie:]))
		}
		if extended != noError8914 && cap(data)-len(data) >= 6 {
			data = be.AppendUint16(be.AppendUint16(data, optionError), 2)
			data = be.AppendUint16(data, extended)
		}
	}
	be.PutUint16(opt[9:], uint16(len(data)))
	return n + optSize + len(data)
}

// makeOpt makes the OPT record of answers to queries without options.
func (s *Server) makeOpt() {
	s.opt = [optSize]byte{}
	binary.BigEndian.PutUint16(s.opt[1:], typeOPT)
	binary.BigEndian.PutUint16(s.opt[3:], uint16(s.udp))
}
