package load

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
)

// DNSQuery is a question for A records (RFC 1035). Its answer must be authoritative,
// without an error and with at least one record.
type DNSQuery struct {
	Name  string
	Names func(n uint32) string // instead of Name, of the n-th request
	// Negative says that there is no such name: the answer must say so.
	Negative bool
	EDNS     bool // with an OPT record (RFC 6891)
	Padding  bool // and in it padding (RFC 7830)
	Cookie   Cookie
}

// Cookie is what a query says of cookies (RFC 7873).
type Cookie int

const (
	NoCookie     Cookie = iota
	ClientCookie        // the client's alone
	ServerCookie        // that with the server's, once there was an answer with it
)

// Lengths of a header and of cookies, and codes of options.
const (
	dnsHeader                   = 12
	clientCookie, fullCookie    = 8, 24
	optionCookie, optionPadding = 10, 12
)

// Service asks.
func (d DNSQuery) Service() Service {
	if d.Names == nil {
		d.Names = func(uint32) string { return d.Name }
	}
	_, bad := encodeQuestion(d.Names(0))
	var cookie atomic.Pointer[[]byte] // the server's last
	first := []byte("ampoule!")
	cookie.Store(&first)
	return Service{
		Name: "dns", Port: 53,
		Request: func(n uint32) []byte { return d.request(n, *cookie.Load()) },
		Check: func(request, answer []byte) error {
			if bad != nil {
				return bad
			}
			if err := d.check(request, answer); err != nil {
				return err
			}
			if c := answer[len(answer)-min(fullCookie, len(answer)):]; d.Cookie == ServerCookie && string(c[:clientCookie]) == string(first) {
				cookie.Store(&c)
			}
			return nil
		},
		Stream:     func(m []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...) },
		ReadStream: readDNS,
	}
}

// request makes the n-th query.
func (d DNSQuery) request(n uint32, cookie []byte) []byte {
	question, _ := encodeQuestion(d.Names(n)) // Check tells what is wrong with it
	be := binary.BigEndian
	b := be.AppendUint16(nil, uint16(n))
	b = append(b, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)
	b = append(b, question...)
	if !d.EDNS {
		return b
	}
	b[dnsHeader-1] = 1
	var options []byte
	if d.Cookie != NoCookie {
		options = append(be.AppendUint16(be.AppendUint16(nil, optionCookie), uint16(len(cookie))), cookie...)
	}
	if d.Padding {
		options = append(options, 0, optionPadding, 0, 4, 0, 0, 0, 0)
	}
	b = append(b, 0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0)
	return append(be.AppendUint16(b, uint16(len(options))), options...)
}

// check says what is wrong with an answer.
func (d DNSQuery) check(request, answer []byte) error {
	const qr, aa, rcode, nxdomain = 0x8000, 0x0400, 0x000f, 3
	be := binary.BigEndian
	question := len(request)
	if d.EDNS {
		question = dnsHeader + bytes.IndexByte(request[dnsHeader:], 0) + 1 + 4
	}
	if len(answer) < question {
		return fmt.Errorf("an answer of %d bytes", len(answer))
	}
	if string(request[:2]) != string(answer[:2]) {
		return errOther
	}
	want := uint16(0)
	if d.Negative {
		want = nxdomain
	}
	flags := be.Uint16(answer[2:])
	switch {
	case flags&qr == 0 || flags&rcode != want || flags&aa == 0:
		return fmt.Errorf("answer with flags %#04x", flags)
	case be.Uint16(answer[6:]) == 0 && !d.Negative:
		return errors.New("an answer without records")
	case !bytes.EqualFold(request[dnsHeader:question], answer[dnsHeader:question]):
		return errors.New("an answer to another question")
	}
	return nil
}
