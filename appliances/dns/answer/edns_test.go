package answer

import (
	"encoding/hex"
	"strconv"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// ask answers a question as questions.txt has them and returns the message.
func ask(t testing.TB, s *Server, text string) *dns.Msg {
	t.Helper()
	f := strings.Fields(text)
	q, err := newQuestion(f[0], f[1], f[2:])
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	transport, limit := UDP, DefaultUDP
	if q.tcp {
		transport, limit = TCP, MaxMessage
	}
	buf := make([]byte, MaxMessage)
	n := s.Answer(buf, q.msg, transport, testClient)
	checkMessage(t, q.msg, buf[:n], limit)
	m := new(dns.Msg)
	if err := m.Unpack(buf[:n]); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return m
}

// TestEDNS is a list of what a server must do with EDNS (RFC 6891), in the manner
// of the EDNS compliance tests of DNS flag day: for each query the response code
// and what the OPT record of the answer has.
func TestEDNS(t *testing.T) {
	s := readyServer(t, Options{NSID: "ns1.test", Cookies: true})
	const absent = -1
	for _, c := range []struct {
		query   string
		rcode   int
		version int // of the OPT record, absent if there must be none
		do      bool
		options string // codes
		tc      bool
	}{
		{"www.example.org. A", dns.RcodeSuccess, absent, false, "", false},
		{"www.example.org. A edns=4096", dns.RcodeSuccess, 0, false, "", false},
		{"www.example.org. A edns=4096 do", dns.RcodeSuccess, 0, true, "", false},
		{"www.example.org. A edns=4096 tcp", dns.RcodeSuccess, 0, false, "", false},
		{"www.example.org. A edns=0", dns.RcodeSuccess, 0, false, "", false},
		{"www.example.org. A edns=65535", dns.RcodeSuccess, 0, false, "", false},
		{"www.example.org. A edns=4096 version=1", dns.RcodeBadVers, 0, false, "", false},
		{"www.example.org. A edns=4096 version=255 do", dns.RcodeBadVers, 0, true, "", false},
		{"www.example.org. A edns=4096 version=1 option=3:", dns.RcodeBadVers, 0, false, "", false},
		{"www.example.org. A edns=4096 version=1 option=65001:0102", dns.RcodeBadVers, 0, false, "", false},
		{"www.example.org. A edns=4096 option=65001:", dns.RcodeSuccess, 0, false, "", false},
		{"www.example.org. A edns=4096 option=65001:01020304", dns.RcodeSuccess, 0, false, "", false},
		{"www.example.org. A edns=4096 option=8:00012000c0000200", dns.RcodeSuccess, 0, false, "", false},
		{"www.example.org. A edns=4096 option=3:", dns.RcodeSuccess, 0, false, "3", false},
		{"www.example.org. A edns=4096 option=3: tcp", dns.RcodeSuccess, 0, false, "3", false},
		{"www.example.org. A edns=4096 option=10:0102030405060708", dns.RcodeSuccess, 0, false, "10", false},
		{"www.example.org. A edns=4096 option=10:0102030405060708 tcp", dns.RcodeSuccess, 0, false, "10", false},
		{"www.example.org. A edns=4096 option=10:01020304050607080102030405060708", dns.RcodeSuccess, 0, false, "10", false},
		{"www.example.org. A edns=4096 option=10:01020304050607", dns.RcodeFormatError, 0, false, "", false},
		{"www.example.org. A edns=4096 option=10:010203040506070809", dns.RcodeFormatError, 0, false, "", false},
		{"www.example.org. A edns=4096 option=10:0102030405060708 option=3: option=65001:", dns.RcodeSuccess, 0, false, "3 10", false},
		{"www.example.com. A edns=4096", dns.RcodeRefused, 0, false, "15", false},
		{"www.example.com. A edns=4096 option=3:", dns.RcodeRefused, 0, false, "3 15", false},
		{"example.org. AXFR edns=4096", dns.RcodeRefused, 0, false, "15", false},
		{"large.example.org. TXT edns=512", dns.RcodeSuccess, 0, false, "", true},
		{"large.example.org. TXT edns=512 option=3:", dns.RcodeSuccess, 0, false, "3", true},
		{"large.example.org. TXT edns=512 option=10:0102030405060708 option=3:", dns.RcodeSuccess, 0, false, "3 10", true},
		{"large.example.org. TXT edns=1232", dns.RcodeSuccess, 0, false, "", false},
		{"large.example.org. TXT", dns.RcodeSuccess, absent, false, "", true},
		{"large.example.org. TXT tcp", dns.RcodeSuccess, absent, false, "", false},
	} {
		m := ask(t, s, c.query)
		if m.Rcode != c.rcode || m.Truncated != c.tc {
			t.Errorf("%s: %s, TC %v", c.query, dns.RcodeToString[m.Rcode], m.Truncated)
		}
		o := m.IsEdns0()
		if o == nil || c.version == absent {
			if (o == nil) != (c.version == absent) {
				t.Errorf("%s: OPT record there: %v", c.query, o != nil)
			}
			continue
		}
		if got := optionCodes(o); int(o.Version()) != c.version || o.Do() != c.do || got != c.options || o.UDPSize() != DefaultUDP {
			t.Errorf("%s: version %d, DO %v, size %d, options %q", c.query, o.Version(), o.Do(), o.UDPSize(), got)
		}
	}
}

func optionCodes(o *dns.OPT) string {
	var codes []string
	for _, o := range o.Option {
		codes = append(codes, strconv.Itoa(int(o.Option())))
	}
	return strings.Join(codes, " ")
}

// TestNSID checks the octets (RFC 5001 section 2.3), and that nothing is told
// unless it is configured.
func TestNSID(t *testing.T) {
	const query = "www.example.org. A edns=1232 option=3:"
	o := ask(t, readyServer(t, Options{NSID: "ns1.test"}), query).IsEdns0()
	if n, ok := o.Option[0].(*dns.EDNS0_NSID); !ok || n.Nsid != hex.EncodeToString([]byte("ns1.test")) {
		t.Errorf("%v", o)
	}
	if o := ask(t, readyServer(t, Options{}), query).IsEdns0(); len(o.Option) != 0 {
		t.Errorf("%v", o)
	}
}

// TestExtendedErrors checks codes (RFC 8914 section 4).
func TestExtendedErrors(t *testing.T) {
	s := readyServer(t, Options{})
	for query, want := range map[string]uint16{
		"www.example.com. A edns=1232":         dns.ExtendedErrorCodeNotAuthoritative,
		"example.com. AXFR tcp edns=1232":      dns.ExtendedErrorCodeNotAuthoritative,
		"example.org. AXFR tcp edns=1232":      dns.ExtendedErrorCodeProhibited,
		"example.org. A class=HS edns=1232":    dns.ExtendedErrorCodeNotSupported,
		"version.bind. TXT class=CH edns=1232": dns.ExtendedErrorCodeNotSupported,
	} {
		o := ask(t, s, query).IsEdns0()
		if e, ok := o.Option[0].(*dns.EDNS0_EDE); !ok || e.InfoCode != want {
			t.Errorf("%s: %v", query, o)
		}
	}
}

// TestChaos checks what class CH tells, and that it does so only when it is
// configured.
func TestChaos(t *testing.T) {
	s := readyServer(t, Options{Version: "Ampoule 1", Identity: "ns1.test"})
	silent := readyServer(t, Options{})
	for query, want := range map[string]string{
		"version.bind. TXT":   "Ampoule 1",
		"VERSION.server. TXT": "Ampoule 1",
		"id.server. TXT":      "ns1.test",
		"hostname.bind. ANY":  "ns1.test",
		"hostname.bind. A":    "",
		"authors.bind. TXT":   "",
	} {
		m := ask(t, s, query+" class=CH")
		if want == "" {
			if m.Rcode != dns.RcodeRefused {
				t.Errorf("%s: %v", query, m)
			}
		} else if txt, ok := m.Answer[0].(*dns.TXT); !ok || txt.Txt[0] != want || txt.Hdr.Class != dns.ClassCHAOS || txt.Hdr.Ttl != 0 {
			t.Errorf("%s: %v", query, m)
		}
		if m := ask(t, silent, query+" class=CH"); m.Rcode != dns.RcodeRefused {
			t.Errorf("%s: %v without configuration", query, m)
		}
	}
}
