package guesttest

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"ampoule/tools/boottest/vm"
	"ampoule/tools/guesttest/guest"
	"ampoule/tools/load"
	"ampoule/tools/workspace"

	"github.com/miekg/dns"
)

// ednsCase is a query and what a server that keeps to RFC 6891 answers.
type ednsCase struct {
	what  string
	name  string // default example.org., which has an answer of type SOA
	qtype uint16 // default SOA
	tcp   bool
	edns  int // UDP size; below 0: no OPT record
	ver   uint8
	flags uint16 // of the OPT record
	head  uint16 // bits of the header
	opts  string // option codes and data as they are

	rcode   int
	records bool // there must be an answer
	tc      bool
	noOPT   bool // in the answer
	do      bool
	limit   int // bytes; 0: 512 or what edns says, up to 1232
	empty   bool
}

const (
	optNSID    = "\x00\x03\x00\x00"
	optUnknown = "\x00\x64\x00\x02ab"
	optCookie  = "\x00\x0a\x00\x08abcdefgh"
	optSubnet  = "\x00\x08\x00\x07\x00\x01\x18\x00\xc0\x00\x02"
	optExpire  = "\x00\x09\x00\x00"
)

var ednsCases = []ednsCase{
	{what: "plain", edns: -1, records: true, noOPT: true},
	{what: "plain over TCP", edns: -1, tcp: true, records: true, noOPT: true},
	{what: "edns0", edns: 4096, records: true},
	{what: "edns0 over TCP", edns: 4096, tcp: true, records: true},
	{what: "edns0, size 512", edns: 512, records: true},
	{what: "edns0, size 0", edns: 0, records: true},
	{what: "edns1", edns: 4096, ver: 1, rcode: dns.RcodeBadVers, empty: true},
	{what: "edns1 over TCP", edns: 4096, ver: 1, tcp: true, rcode: dns.RcodeBadVers, empty: true},
	{what: "edns255", edns: 4096, ver: 255, rcode: dns.RcodeBadVers, empty: true},
	{what: "unknown option", edns: 4096, opts: optUnknown, records: true},
	{what: "unknown option, edns1", edns: 4096, ver: 1, opts: optUnknown, rcode: dns.RcodeBadVers, empty: true},
	{what: "broken option, edns1", edns: 4096, ver: 1, opts: "\x00\x03\x00\x09", rcode: dns.RcodeBadVers, empty: true},
	{what: "broken option", edns: 4096, opts: "\x00\x03\x00\x09", rcode: dns.RcodeFormatError, empty: true},
	{what: "unknown flag", edns: 4096, flags: 0x40, records: true},
	{what: "all unknown flags", edns: 4096, flags: 0x7fff, records: true},
	{what: "unknown flag, edns1", edns: 4096, ver: 1, flags: 0x40, rcode: dns.RcodeBadVers, empty: true},
	{what: "DO", edns: 4096, flags: 0x8000, do: true, records: true},
	{what: "DO and unknown flags", edns: 4096, flags: 0xffff, do: true, records: true},
	{what: "DO, edns1", edns: 4096, ver: 1, flags: 0x8000, do: true, rcode: dns.RcodeBadVers, empty: true},
	{what: "DO, signed zone", name: "nsec.example.", edns: 4096, flags: 0x8000, do: true, records: true},
	{what: "list of options", edns: 4096, opts: optNSID + optSubnet + optExpire + optCookie + optUnknown, records: true},
	{what: "list of options and DO", edns: 4096, flags: 0x8000, do: true, opts: optNSID + optSubnet + optExpire + optCookie, records: true},
	{what: "truncation at 512 without EDNS", name: "large.example.org.", qtype: dns.TypeTXT, edns: -1, tc: true, noOPT: true},
	{what: "truncation at 512", name: "large.example.org.", qtype: dns.TypeTXT, edns: 512, tc: true},
	{what: "a size below 512 is 512", name: "large.example.org.", qtype: dns.TypeTXT, edns: 1, tc: true},
	{what: "no more than 1232", name: "huge.example.org.", qtype: dns.TypeA, edns: 4096, tc: true},
	{what: "no more than 1232, size 65535", name: "huge.example.org.", qtype: dns.TypeA, edns: 65535, tc: true},
	{what: "more than 512", name: "large.example.org.", qtype: dns.TypeA, edns: 1232, records: true},
	{what: "all of it over TCP", name: "huge.example.org.", qtype: dns.TypeA, edns: 512, tcp: true, records: true, limit: 65535},
	{what: "all of it over TCP without EDNS", name: "huge.example.org.", qtype: dns.TypeA, edns: -1, tcp: true, records: true, limit: 65535, noOPT: true},
	{what: "header bits Z, RA, AD, CD, TC, AA", edns: 4096, head: 1<<6 | 1<<7 | 1<<5 | 1<<4 | 1<<9 | 1<<10, records: true},
	{what: "unknown operation", edns: 4096, head: 15 << 11, rcode: dns.RcodeNotImplemented, empty: true},
	{what: "unknown operation without EDNS", edns: -1, head: 15 << 11, rcode: dns.RcodeNotImplemented, empty: true, noOPT: true},
	{what: "unknown type", qtype: 1000, edns: 4096},
	{what: "unknown type and option, DO", qtype: 1000, edns: 4096, flags: 0x8000, do: true, opts: optUnknown},
	{what: "no such name, unknown option", name: "nothing.example.org.", edns: 4096, opts: optUnknown, rcode: dns.RcodeNameError},
	{what: "no such zone, unknown flag", name: "example.com.", edns: 4096, flags: 0x40, rcode: dns.RcodeRefused, empty: true},
}

// message is the query in wire format.
func (c ednsCase) message(id uint16) []byte {
	be := binary.BigEndian
	m := be.AppendUint16(nil, id)
	m = be.AppendUint16(m, c.head)
	m = append(m, 0, 1, 0, 0, 0, 0, 0, 0)
	name := make([]byte, 255)
	n, err := dns.PackDomainName(c.name, name, 0, nil, false)
	if err != nil {
		panic(err) // a name from above
	}
	m = append(m, name[:n]...)
	m = be.AppendUint16(m, c.qtype)
	m = append(m, 0, 1)
	if c.edns < 0 {
		return m
	}
	m[11] = 1
	m = append(m, 0, 0, 41)
	m = be.AppendUint16(m, uint16(c.edns))
	m = append(m, 0, c.ver)
	m = be.AppendUint16(m, c.flags)
	m = be.AppendUint16(m, uint16(len(c.opts)))
	return append(m, c.opts...)
}

// check says what is wrong with an answer.
func (c ednsCase) check(query, b []byte) error {
	var m dns.Msg
	if err := m.Unpack(b); err != nil {
		return err
	}
	limit := c.limit
	if limit == 0 {
		limit = min(max(512, c.edns), 1232)
	}
	opt := m.IsEdns0()
	rcode := m.Rcode
	switch {
	case m.Id != binary.BigEndian.Uint16(query) || !m.Response:
		return fmt.Errorf("not the response to this query")
	case rcode != c.rcode:
		return fmt.Errorf("rcode %s, want %s", dns.RcodeToString[rcode], dns.RcodeToString[c.rcode])
	case m.Truncated != c.tc:
		return fmt.Errorf("TC %v, want %v", m.Truncated, c.tc)
	case len(b) > limit:
		return fmt.Errorf("%d bytes, the limit is %d", len(b), limit)
	case c.records && len(m.Answer) == 0 || c.empty && len(m.Answer)+len(m.Ns) > 0:
		return fmt.Errorf("%d and %d records", len(m.Answer), len(m.Ns))
	case m.Zero || m.RecursionAvailable || m.AuthenticatedData || m.CheckingDisabled:
		return fmt.Errorf("a bit of the query is in the header: %04x", b[2:4])
	case (opt == nil) != c.noOPT:
		return fmt.Errorf("OPT record: %v, want %v", opt != nil, !c.noOPT)
	case opt == nil:
		return nil
	case opt.Version() != 0 || opt.Do() != c.do || opt.Hdr.Ttl&0x7fff != 0 || opt.UDPSize() != 1232:
		return fmt.Errorf("OPT record %v", opt)
	}
	for _, o := range opt.Option {
		if o.Option() != dns.EDNS0EDE {
			return fmt.Errorf("option %d in the answer: it is turned off, or not known", o.Option())
		}
	}
	return nil
}

// TestEDNS asks a booted image what the well-known lists of EDNS compliance ask.
func TestEDNS(t *testing.T) {
	root, err := workspace.Root()
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("[network]\nipv4 = \"%s/24\"\n\n[dns]\n", vm.GuestIPv4)
	for _, origin := range []string{"example.org.", "nsec.example."} {
		config += fmt.Sprintf("\n[[dns.zones]]\norigin = %q\nfile = %q\n", origin, filepath.Join(root, "testdata/dns/zones", origin+"zone"))
	}
	g := guest.Boot(t, vm.Config{Image: images.Configured(t, "dns", "edns", config, "v1"), Machine: vm.MicroVM, CPU: guest.CPU("v1"), RAM: 32, RNG: true,
		Net: vm.Net{Kind: vm.NetUser, Forwards: []vm.Forward{{Proto: "udp", Port: 53}, {Proto: "tcp", Port: 53}}}})
	var d net.Dialer
	guest.Up(t, g, d.DialContext, g.Addr("udp", 53), load.DNS("www.example.org"))
	for i, c := range ednsCases {
		t.Run(c.what, func(t *testing.T) {
			if c.name == "" {
				c.name = "example.org."
			}
			if c.qtype == 0 {
				c.qtype = dns.TypeSOA
			}
			network := "udp"
			if c.tcp {
				network = "tcp"
			}
			query := c.message(uint16(i + 1))
			b, err := askOnce(network, g.Addr(network, 53), query)
			if err == nil {
				err = c.check(query, b)
			}
			if err != nil {
				t.Errorf("%x is answered by %x: %v", query, b, err)
			}
		})
	}
}

// askOnce sends a message and returns the answer.
func askOnce(network, addr string, query []byte) ([]byte, error) {
	c, err := net.Dial(network, addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	b := make([]byte, 65535)
	if network == "udp" {
		if _, err := c.Write(query); err != nil {
			return nil, err
		}
		n, err := c.Read(b)
		return b[:n], err
	}
	if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(c, b[:2]); err != nil {
		return nil, err
	}
	b = b[:binary.BigEndian.Uint16(b)]
	_, err = io.ReadFull(c, b)
	return b, err
}
