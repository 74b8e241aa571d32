package zone

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// wire makes a name in wire format of one with dots; labels hold no dots here.
func wire(name string) []byte {
	b := []byte{}
	for _, l := range strings.Split(strings.TrimSuffix(name, "."), ".") {
		if l != "" {
			b = append(append(b, byte(len(l))), l...)
		}
	}
	return append(b, 0)
}

func rr(owner string, rrtype uint16, ttl uint32, data string) Record {
	return Record{Owner: wire(owner), Type: rrtype, TTL: ttl, Data: []byte(data)}
}

const soaData = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

var soa = rr("example.", TypeSOA, 60, soaData)

func mustCompile(t testing.TB, records ...Record) Zone {
	t.Helper()
	z, err := Compile(wire("example."), append([]Record{soa}, records...))
	if err != nil {
		t.Fatal(err)
	}
	if err := z.Check(); err != nil {
		t.Fatal(err)
	}
	return z
}

func name(t testing.TB, s string) *Name {
	t.Helper()
	var n Name
	if _, err := Set(&n, wire(s)); err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return &n
}

func TestSet(t *testing.T) {
	long := strings.Repeat(strings.Repeat("a", 63)+".", 3)
	for _, c := range []struct {
		wire string
		size int // -1: refused
	}{
		{"\x00", 1},
		{"\x03WWW\x00rest", 5},
		{"", -1},
		{"\x03WWW", -1},
		{"\x03WW", -1},
		{"\x40" + strings.Repeat("a", 64) + "\x00", -1},
		{"\xc0\x0c", -1},
		{"\x03www\xc0\x0c", -1},
		{string(wire(long + strings.Repeat("b", 61))), 255},
		{string(wire(long + strings.Repeat("b", 62))), -1},
		{strings.Repeat("\x01a", 127) + "\x00", 255},
		{strings.Repeat("\x01a", 128) + "\x00", -1},
	} {
		var n Name
		size, err := Set(&n, c.wire)
		if c.size < 0 {
			if err == nil {
				t.Errorf("%.20q: taken", c.wire)
			}
			continue
		}
		if err != nil || size != c.size || string(n.Bytes(0)) != strings.ToLower(c.wire[:size]) {
			t.Errorf("%.20q: %d, %v, %q", c.wire, size, err, n.Bytes(0))
		}
	}
}

// TestSuffixes checks that the hash of a suffix is the same whatever stands
// before it, which is what a search for a closest encloser rests on.
func TestSuffixes(t *testing.T) {
	n := name(t, "A.Bc.example.org.")
	if n.Labels() != 4 {
		t.Fatalf("%d labels", n.Labels())
	}
	rest := []string{"a.bc.example.org.", "bc.example.org.", "example.org.", "org.", "."}
	for i, s := range rest {
		m := name(t, s)
		if n.Hash(i) != m.Hash(0) || !bytes.Equal(n.Bytes(i), m.Bytes(0)) || n.Size(i) != m.Size(0) {
			t.Errorf("suffix %d is not %s", i, s)
		}
		if !n.Below(string(wire(s))) {
			t.Errorf("not below %s", s)
		}
	}
	for _, s := range []string{"x.a.bc.example.org.", "c.example.org.", "xample.org.", "com."} {
		if n.Below(string(wire(s))) {
			t.Errorf("below %s", s)
		}
	}
}

// TestOrder is the example of RFC 4034 section 6.1.
func TestOrder(t *testing.T) {
	want := []string{"example.", "a.example.", "yljkjljk.a.example.", "Z.a.example.",
		"zABC.a.EXAMPLE.", "z.example.", "\x01.z.example.", "*.z.example.", "\xc8.z.example."}
	records := []Record{}
	for _, n := range want[1:] {
		records = append(records, rr(n, 1, 60, "addr"))
	}
	rand.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
	z := mustCompile(t, records...)
	if z.Len() != len(want) {
		t.Fatalf("%d nodes, want %d", z.Len(), len(want))
	}
	for i, n := range want {
		if got := z.Name(z.At(i)); got != strings.ToLower(string(wire(n))) && n[0] < 0x80 {
			t.Errorf("%d: %q, want %q", i, got, n)
		}
		if z.Position(z.At(i)) != i {
			t.Errorf("%d: position %d", i, z.Position(z.At(i)))
		}
	}
}

func TestFind(t *testing.T) {
	z := mustCompile(t,
		rr("example.", TypeNS, 60, "\x02ns\x00"),
		rr("a.b.example.", 1, 60, "addr"),
		rr("*.w.example.", 1, 60, "addr"),
		rr("sub.example.", TypeNS, 60, "\x02ns\x00"),
		rr("deep.ns.sub.example.", 1, 60, "addr"),
		rr("alias.example.", TypeCNAME, 60, "\x06target\x00"),
		rr("moved.example.", TypeDNAME, 60, "\x06target\x00"),
	)
	for _, c := range []struct{ name, node, wild, cut string }{
		{"example.", "example.", "", ""},
		{"EXAMPLE.", "example.", "", ""},
		{"b.example.", "b.example.", "", ""},
		{"a.b.example.", "a.b.example.", "", ""},
		{"x.a.b.example.", "a.b.example.", "", ""},
		{"x.y.z.example.", "example.", "", ""},
		{"x.w.example.", "w.example.", "*.w.example.", ""},
		{"*.w.example.", "*.w.example.", "", ""},
		{"sub.example.", "sub.example.", "", "sub.example."},
		{"deep.ns.sub.example.", "deep.ns.sub.example.", "", "sub.example."},
		{"x.ns.sub.example.", "ns.sub.example.", "", "sub.example."},
	} {
		q := name(t, c.name)
		n, depth := z.Find(q)
		node, wild, cut := "", "", ""
		for s, at := range map[*string]Node{&node: n, &wild: z.Wild(n), &cut: z.Cut(n)} {
			if at != None {
				*s = z.Name(at)
			}
		}
		want := [3]string{string(wire(c.node)), "", ""}
		if c.wild != "" {
			want[1] = string(wire(c.wild))
		}
		if c.cut != "" {
			want[2] = string(wire(c.cut))
		}
		if got := [3]string{node, wild, cut}; got != want {
			t.Errorf("%s: got %q, want %q", c.name, got, want)
		}
		if string(q.Bytes(depth)) != node {
			t.Errorf("%s: depth %d", c.name, depth)
		}
		if (z.Lookup(q) != None) != (depth == 0) {
			t.Errorf("%s: Lookup and Find differ", c.name)
		}
	}
	if n := z.Lookup(name(t, "alias.example.")); z.Flags(n) != HasCNAME {
		t.Errorf("flags of an alias: %x", z.Flags(n))
	}
	if n := z.Lookup(name(t, "moved.example.")); z.Flags(n) != HasDNAME {
		t.Errorf("flags of a DNAME: %x", z.Flags(n))
	}
	if z.Lookup(name(t, "example.org.")) != None {
		t.Error("a name outside the zone is there")
	}
}

func TestRRsets(t *testing.T) {
	z := mustCompile(t, rr("example.", 16, 60, "b"), rr("example.", 1, 300, "2"), rr("Example.", 1, 200, "1"),
		rr("example.", 1, 300, "2"), rr("example.", 16, 60, ""))
	var got []string
	for it := z.RRsets(z.Apex()); ; {
		set, ok := it.Next()
		if !ok {
			break
		}
		s := fmt.Sprintf("%d %d %d", set.Type, set.Count, set.TTL)
		for data, ok := set.Next(); ok; data, ok = set.Next() {
			s += fmt.Sprintf(" %q", data)
		}
		got = append(got, s)
	}
	want := []string{`1 2 200 "1" "2"`, `6 1 60 ` + strconv.Quote(soaData), `16 2 60 "" "b"`}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, ok := z.RRset(z.Apex(), 28); ok {
		t.Error("a set that is not there is found")
	}
}

func TestCompileRefuses(t *testing.T) {
	for what, records := range map[string][]Record{
		"no SOA":                 {rr("example.", 1, 60, "addr")},
		"two SOAs":               {soa, rr("example.", TypeSOA, 60, "\x01x\x00\x00"+strings.Repeat("\x00", 20))},
		"SOA below":              {rr("a.example.", TypeSOA, 60, soaData)},
		"outside":                {soa, rr("example.org.", 1, 60, "addr")},
		"above":                  {soa, rr(".", 1, 60, "addr")},
		"sibling":                {soa, rr("xexample.", 1, 60, "addr")},
		"malformed owner":        {soa, {Owner: []byte("\x03ww"), Type: 1}},
		"owner with more":        {soa, {Owner: []byte("\x00\x00"), Type: 1}},
		"an alias to nothing":    {soa, rr("a.example.", TypeCNAME, 60, "")},
		"a name and more":        {soa, rr("a.example.", TypeNS, 60, "\x00\x00")},
		"an SOA cut off":         {rr("example.", TypeSOA, 60, soaData[:21])},
		"a preference alone":     {soa, rr("a.example.", 15, 60, "\x00\x01")},
		"a signature cut off":    {soa, rr("a.example.", TypeRRSIG, 60, "\x00\x01")},
		"too many iterations":    {soa, rr("a.example.", TypeNSEC3, 60, "\x01\x00\xff\xff\x00\x14"+strings.Repeat("x", 20))},
		"a hash of another size": {soa, rr("a.example.", TypeNSEC3, 60, "\x01\x00\x00\x00\x00\x13"+strings.Repeat("x", 20))},
		"long data":              {soa, rr("example.", 16, 60, strings.Repeat("x", 65536))},
	} {
		if z, err := Compile(wire("example."), records); err == nil {
			t.Errorf("%s: compiled to %d bytes", what, len(z))
		}
	}
	for _, z := range []Zone{"", "AZ\x00\x03" + Zone(make([]byte, 40)), Zone(make([]byte, 40))} {
		if z.Check() == nil {
			t.Errorf("%q passes for a zone", z)
		}
	}
}

// TestLarge finds each of many names, and none that is not there.
func TestLarge(t *testing.T) {
	const count = 20000
	var records []Record
	for i := range count {
		records = append(records, rr(fmt.Sprintf("n%d.example.", i), 1, 60, "addr"))
	}
	z := mustCompile(t, records...)
	for i := range count {
		if n := z.Lookup(name(t, fmt.Sprintf("N%d.Example.", i))); n == None {
			t.Fatalf("n%d is not there", i)
		}
		if n := z.Lookup(name(t, fmt.Sprintf("m%d.example.", i))); n != None {
			t.Fatalf("m%d is there", i)
		}
	}
}

// FuzzSet checks Set against its own output: what is taken is a name of the
// documented limits and in lower case, and is taken again as it is.
func FuzzSet(f *testing.F) {
	for _, s := range []string{"\x00", "\x03wWw\x07example\x03org\x00", "\x3f", "\xc0\x0c", strings.Repeat("\x01a", 127) + "\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var n, m Name
		size, err := Set(&n, b)
		if err != nil {
			return
		}
		if size < 1 || size > MaxName || size != n.Size(0) || n.Labels() > 127 {
			t.Fatalf("size %d, %d labels", size, n.Labels())
		}
		again, err := Set(&m, string(n.Bytes(0)))
		if err != nil || again != size || m.Hash(0) != n.Hash(0) || !bytes.Equal(m.Bytes(0), n.Bytes(0)) {
			t.Fatalf("%q is not taken again: %v", n.Bytes(0), err)
		}
	})
}

func BenchmarkFind(b *testing.B) {
	var records []Record
	for i := range 1000 {
		records = append(records, rr(fmt.Sprintf("host%d.example.", i), 1, 60, "addr"))
	}
	z := mustCompile(b, records...)
	q := wire("host500.example.")
	b.ReportAllocs()
	for b.Loop() {
		var n Name
		if _, err := Set(&n, q); err != nil {
			b.Fatal(err)
		}
		if _, depth := z.Find(&n); depth != 0 {
			b.Fatal("not there")
		}
	}
}
