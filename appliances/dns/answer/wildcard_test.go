package answer

import (
	"strings"
	"testing"

	"ampoule/libos/config/zone"
	"ampoule/libos/config/zone/answers"

	"github.com/miekg/dns"
)

// rfc4592 is the zone of RFC 4592 section 2.2.1.
const rfc4592 = `
$ORIGIN example.
$TTL 3600
example.                 3600 IN  SOA   ns.example.com. host.example. 1 2 3 4 5
example.                 3600     NS    ns.example.com.
example.                 3600     NS    ns.example.net.
*.example.               3600     TXT   "this is a wildcard"
*.example.               3600     MX    10 host1.example.
sub.*.example.           3600     TXT   "this is not a wildcard"
host1.example.           3600     A     192.0.2.1
_ssh._tcp.host1.example. 3600     SRV   0 0 22 host1.example.
_ssh._tcp.host2.example. 3600     SRV   0 0 22 host2.example.
subdel.example.          3600     NS    ns.example.com.
subdel.example.          3600     NS    ns.example.net.
`

// parseZone compiles the text of a zone, with ready answers.
func parseZone(t testing.TB, origin, text string) zone.Zone {
	t.Helper()
	zp := dns.NewZoneParser(strings.NewReader(text), origin, "")
	var records []zone.Record
	for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
		records = append(records, wire(t, rr))
	}
	if err := zp.Err(); err != nil {
		t.Fatal(err)
	}
	z, err := zone.Compile(packName(t, origin), records)
	if err != nil {
		t.Fatal(err)
	}
	if z, err = answers.Add(z); err != nil {
		t.Fatal(err)
	}
	return z
}

// TestWildcards are the examples of RFC 4592 section 2.2.1, those of section 2.2.2
// and 2.2.3 about what is there, and each with the ready answer.
func TestWildcards(t *testing.T) {
	s, err := New([]zone.Zone{parseZone(t, "example.", rfc4592)}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	const negative = "\tau example. 5 in soa ns.example.com. host.example. 1 2 3 4 5\n"
	const referral = "\tNOERROR\n\tau subdel.example. 3600 in ns ns.example.com.\n\tau subdel.example. 3600 in ns ns.example.net.\n"
	for query, want := range map[string]string{
		// Synthesised from the wildcard.
		"host3.example. MX":    "\tNOERROR aa\n\tan host3.example. 3600 in mx 10 host1.example.\n",
		"host3.example. A":     "\tNOERROR aa\n" + negative,
		"foo.bar.example. TXT": "\tNOERROR aa\n\tan foo.bar.example. 3600 IN TXT \"this is a wildcard\"\n",
		"FOO.bar.EXAMPLE. TXT": "\tNOERROR aa\n\tan foo.bar.example. 3600 IN TXT \"this is a wildcard\"\n",
		// Not synthesised: the name or what lies between is there.
		"host1.example. MX":               "\tNOERROR aa\n" + negative,
		"sub.*.example. MX":               "\tNOERROR aa\n" + negative,
		"_telnet._tcp.host1.example. SRV": "\tNXDOMAIN aa\n" + negative,
		"host.subdel.example. A":          referral,
		"ghost.*.example. MX":             "\tNXDOMAIN aa\n" + negative,
		// Section 2.2.2 and 2.2.3: empty non-terminals are there.
		"_tcp.host1.example. A":   "\tNOERROR aa\n" + negative,
		"_tcp.host2.example. TXT": "\tNOERROR aa\n" + negative,
		"host2.example. TXT":      "\tNOERROR aa\n" + negative,
		"_udp.host2.example. TXT": "\tNXDOMAIN aa\n" + negative,
		// The wildcard asked for by name, and below (section 2.3).
		"*.example. TXT":     "\tNOERROR aa\n\tan *.example. 3600 IN TXT \"this is a wildcard\"\n",
		"*.example. A":       "\tNOERROR aa\n" + negative,
		"*.*.example. TXT":   "\tNXDOMAIN aa\n" + negative,
		"sub.*.example. TXT": "\tNOERROR aa\n\tan sub.*.example. 3600 IN TXT \"this is not a wildcard\"\n",
	} {
		f := strings.Fields(query)
		q, err := newQuestion(f[0], f[1], nil)
		if err != nil {
			t.Fatal(err)
		}
		slow, quick := make([]byte, MaxMessage), make([]byte, 1400)
		if got := describe(slow[:s.Answer(slow, q.msg, UDP, Client{})]); got != want {
			t.Errorf("%s\ngot\n%swant\n%s", query, got, want)
		}
		if !compareQuick(t, s, q.msg, slow, quick) {
			t.Errorf("%s: no ready answer", query)
		}
	}
}

// TestWildcardSpecials are the types of RFC 4592 section 4 at a wildcard.
func TestWildcardSpecials(t *testing.T) {
	s, err := New([]zone.Zone{parseZone(t, "example.", rfc4592+`
*.ns.example.     NS    ns.example.com.
*.cname.example.  CNAME host1.example.
*.loop.example.   CNAME a.loop.example.
*.dname.example.  DNAME host1.example.
*.ds.example.     DS    1 13 2 00
`)}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	slow, quick := make([]byte, MaxMessage), make([]byte, 1400)
	for query, want := range map[string]string{
		"x.cname.example. A":     "\tNOERROR aa\n\tan host1.example. 3600 in a 192.0.2.1\n\tan x.cname.example. 3600 in cname host1.example.\n",
		"x.cname.example. CNAME": "\tNOERROR aa\n\tan x.cname.example. 3600 in cname host1.example.\n",
		"x.loop.example. A":      "\tNOERROR aa\n\tan a.loop.example. 3600 in cname a.loop.example.\n\tan x.loop.example. 3600 in cname a.loop.example.\n",
		"a.loop.example. A":      "\tNOERROR aa\n\tan a.loop.example. 3600 in cname a.loop.example.\n",
		"x.ds.example. DS":       "\tNOERROR aa\n\tan x.ds.example. 3600 in ds 1 13 2 00\n",
	} {
		f := strings.Fields(query)
		q, err := newQuestion(f[0], f[1], nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := describe(slow[:s.Answer(slow, q.msg, UDP, Client{})]); got != want {
			t.Errorf("%s\ngot\n%swant\n%s", query, got, want)
		}
		compareQuick(t, s, q.msg, slow, quick)
	}
	for _, query := range []string{"x.ns.example. NS", "x.ns.example. A", "*.ns.example. NS", "x.dname.example. A", "*.dname.example. DNAME"} {
		f := strings.Fields(query)
		q, err := newQuestion(f[0], f[1], nil)
		if err != nil {
			t.Fatal(err)
		}
		compareQuick(t, s, q.msg, slow, quick)
	}
}
