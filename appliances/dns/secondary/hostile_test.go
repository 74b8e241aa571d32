package secondary

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"ampoule/appliances/dns/answer"
	"ampoule/appliances/dns/tsig"
	"ampoule/appliances/dns/tsig/algorithm"
	"ampoule/appliances/dns/wire"
	"ampoule/appliances/dns/xfr"
	"ampoule/libos/appliance"
	"ampoule/libos/config/zone"
	"ampoule/libos/telemetry"

	"github.com/miekg/dns"
)

const origin = "\x07example\x03org\x00"

// rrs parses records.
func rrs(t testing.TB, lines ...string) (list []dns.RR) {
	t.Helper()
	for _, l := range lines {
		rr, err := dns.NewRR(l)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, rr)
	}
	return list
}

// message packs an answer that has records.
func message(t testing.TB, qtype uint16, list ...dns.RR) []byte {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion("example.org.", qtype)
	m.Response, m.Authoritative, m.Compress, m.Answer = true, true, true, list
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func soaLine(serial int) string {
	return fmt.Sprintf("example.org. 60 SOA ns.example.org. host.example.org. %d 300 60 3600 60", serial)
}

const (
	ns = "example.org. 60 NS ns.example.org."
	a  = "ns.example.org. 60 A 192.0.2.1"
)

// receive gives messages to a receiver, and compiles what came.
func receive(r *receiver, messages ...[]byte) (zone.Zone, error) {
	for _, m := range messages {
		h, err := wire.ReadHeader(m)
		if err != nil {
			return "", err
		}
		_, at, err := wire.ReadQuestion(m)
		if err != nil {
			return "", err
		}
		if err := r.message(m, at, h.AN); err != nil {
			return "", err
		}
	}
	if !r.done {
		return "", errors.New("not at an end")
	}
	return r.build()
}

// version makes a zone.
func version(t testing.TB, serial int, more ...string) zone.Zone {
	t.Helper()
	list := rrs(t, append(append([]string{soaLine(serial), ns, a}, more...), soaLine(serial))...)
	z, err := receive(newReceiver(origin, "", 1<<20), message(t, typeAXFR, list...))
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// TestZones has transfers of whole zones, right and wrong.
func TestZones(t *testing.T) {
	var many []string
	for i := range 2000 {
		many = append(many, fmt.Sprintf("n%d.example.org. 60 A 192.0.2.1", i))
	}
	for _, tc := range []struct {
		what  string
		lines []string
		want  string // in the error; "" is none
	}{
		{"a zone", []string{soaLine(1), ns, a, soaLine(1)}, ""},
		{"names in other case", []string{soaLine(1), ns, "NS.Example.ORG. 60 A 192.0.2.1", soaLine(1)}, ""},
		{"no SOA first", []string{ns, a, soaLine(1)}, "does not start with an SOA"},
		{"no SOA last", []string{soaLine(1), ns, a}, "not at an end"},
		{"another SOA last", []string{soaLine(1), ns, a, soaLine(2)}, "another SOA"},
		{"records behind the end", []string{soaLine(1), ns, soaLine(1), a}, "behind the end"},
		{"an SOA alone", []string{soaLine(1), soaLine(1)}, "alone"},
		{"no NS", []string{soaLine(1), a, soaLine(1)}, "no NS"},
		{"outside", []string{soaLine(1), ns, "www.example.com. 60 A 192.0.2.1", soaLine(1)}, "outside"},
		{"outside, with the same end", []string{soaLine(1), ns, "www.badexample.org. 60 A 192.0.2.1", soaLine(1)}, "outside"},
		{"above", []string{soaLine(1), ns, "org. 60 NS ns.example.org.", soaLine(1)}, "outside"},
		{"an SOA inside", []string{soaLine(1), ns, strings.Replace(soaLine(1), "example", "x.example", 1), soaLine(1)}, "inside"},
		{"an SOA elsewhere", []string{strings.ReplaceAll(soaLine(1), "example", "x")}, "outside"},
		{"another class", []string{soaLine(1), ns, "ns.example.org. 60 CH A 192.0.2.1", soaLine(1)}, "class 3"},
		{"a type of queries", []string{soaLine(1), ns, "x.example.org. 60 TYPE252 \\# 0", soaLine(1)}, "type 252"},
		{"an OPT record", []string{soaLine(1), ns, "x.example.org. 60 TYPE41 \\# 0", soaLine(1)}, "type 41"},
		{"too large", slices.Concat([]string{soaLine(1), ns}, many, []string{soaLine(1)}), "too large"},
	} {
		_, err := receive(newReceiver(origin, "", 100_000), message(t, typeAXFR, rrs(t, tc.lines...)...))
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.what, err, tc.want)
		}
	}
}

// TestDifferences has transfers of differences, right and wrong.
func TestDifferences(t *testing.T) {
	old := version(t, 5, "x.example.org. 60 A 192.0.2.5", "y.example.org. 60 A 192.0.2.6")
	const x, y, b = "x.example.org. 60 A 192.0.2.5", "y.example.org. 60 A 192.0.2.6", "b.example.org. 60 A 192.0.2.7"
	s := soaLine
	for _, tc := range []struct {
		what  string
		lines []string
		want  string
		names []string // that are there then
	}{
		{"one step", []string{s(6), s(5), x, s(6), b, s(6)}, "", []string{"b", "y"}},
		{"two steps", []string{s(7), s(5), x, s(6), b, s(6), y, s(7), s(7)}, "", []string{"b"}},
		{"there and back", []string{s(7), s(5), x, s(6), b, s(6), b, s(7), x, s(7)}, "", []string{"x", "y"}},
		{"another TTL", []string{s(6), s(5), x, s(6), strings.Replace(x, "60", "90", 1), s(6)}, "", []string{"x", "y"}},
		{"only the SOA", []string{s(6), s(5), s(6), s(6)}, "", []string{"x", "y"}},
		{"past 2^32", []string{s(2147483650), s(5), x, s(1000), s(1000), s(2147483650), s(2147483650)}, "", []string{"y"}},
		{"the whole zone", []string{s(6), ns, a, b, s(6)}, "", []string{"b"}},
		{"from another version", []string{s(6), s(4), x, s(6), b, s(6)}, "ours is 5", nil},
		{"backwards", []string{s(6), s(5), x, s(4), b, s(4)}, "step from", nil},
		{"a gap", []string{s(8), s(5), x, s(6), b, s(7), s(8), s(8)}, "step from", nil},
		{"a record that is not there", []string{s(6), s(5), b, s(6), s(6)}, "not there", nil},
		{"no NS left", []string{s(6), s(5), ns, s(6), s(6)}, "no NS", nil},
		{"behind the end", []string{s(6), s(5), x, s(6), b, s(6), b}, "behind the end", nil},
		{"cut off", []string{s(6), s(5), x, s(6), b}, "not at an end", nil},
	} {
		z, err := receive(newReceiver(origin, old, 1<<20), message(t, typeIXFR, rrs(t, tc.lines...)...))
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.what, err, tc.want)
			continue
		}
		if err != nil {
			continue
		}
		var names []string
		for rec := range xfr.Records(z) {
			if label := string(rec.Owner[1:2]); rec.Owner[0] == 1 {
				names = append(names, label)
			}
		}
		if !slices.Equal(names, tc.names) {
			t.Errorf("%s: %v, want %v", tc.what, names, tc.names)
		}
	}
	r := newReceiver(origin, old, 1<<20)
	if err := r.message(message(t, typeIXFR, rrs(t, s(5))...), 12+13+4, 1); err != nil || !r.same {
		t.Errorf("no difference: %v", err)
	}
}

// wireNet has a primary at the end of every connection.
type wireNet struct {
	appliance.Network
	serve func(net.Conn)
}

func (n *wireNet) DialContext(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		n.serve(far)
	}()
	return near, nil
}

// testItem is a zone whose primary is a function.
func testItem(t testing.TB, c Config, serve func(net.Conn)) *item {
	t.Helper()
	a, err := answer.New(nil, answer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c.Secondaries = []Zone{{Zone: xfr.Zone{Origin: origin}, Primaries: []Primary{{}}}}
	if len(c.Keys) > 0 {
		c.Secondaries[0].Primaries[0].Key = c.Keys[0].Name
	}
	s, err := New(&c, &appliance.Env{Net: &wireNet{serve: serve}, Log: telemetry.New(os.Stderr, time.Now, telemetry.Error)}, a)
	if err != nil {
		t.Fatal(err)
	}
	return s.items[origin]
}

// readQuery reads one message off a connection.
func readQuery(c net.Conn) []byte {
	var n [2]byte
	if _, err := c.Read(n[:]); err != nil {
		return nil
	}
	b := make([]byte, binary.BigEndian.Uint16(n[:]))
	c.Read(b)
	return b
}

// TestHostile has primaries that answer something else.
func TestHostile(t *testing.T) {
	good := message(t, typeAXFR, rrs(t, soaLine(1), ns, a, soaLine(1))...)
	for what, tc := range map[string]struct {
		change func(m []byte) []byte
		want   string
	}{
		"right":            {func(m []byte) []byte { return m }, ""},
		"other identifier": {func(m []byte) []byte { m[0]++; return m }, "not an answer"},
		"a query":          {func(m []byte) []byte { m[2] &= 0x7f; return m }, "not an answer"},
		"other opcode":     {func(m []byte) []byte { m[2] |= 0x20; return m }, "not an answer"},
		"other question":   {func(m []byte) []byte { m[13] = 'x'; return m }, "another question"},
		"truncated":        {func(m []byte) []byte { m[2] |= 2; return m }, "truncated"},
		"refused":          {func(m []byte) []byte { m[3] |= 5; return m }, "REFUSED"},
		"another rcode":    {func(m []byte) []byte { m[3] |= 15; return m }, "code 15"},
		"no records":       {func(m []byte) []byte { m[7] = 0; return m[:12+13+4] }, "without records"},
		"cut off":          {func(m []byte) []byte { return m[:len(m)-1] }, "malformed"},
		"too short":        {func(m []byte) []byte { return m[:11] }, "malformed"},
		"signed": {func(m []byte) []byte {
			m, _ = (&tsig.Key{Name: "\x01k\x00", Algorithm: &algorithm.SHA256}).Sign(m, time.Now())
			return m
		}, "signed answer"},
	} {
		it := testItem(t, Config{Timeout: time.Second}, func(c net.Conn) {
			q := readQuery(c)
			m := bytes.Clone(good)
			copy(m, q[:2])
			m = tc.change(m)
			c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...))
		})
		err := it.fetch(t.Context(), it.conf.Primaries[0])
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", what, err, tc.want)
		}
		if z, _ := it.s.zones.Zone(origin); (z != "") != (tc.want == "") {
			t.Errorf("%s: %d bytes are served", what, len(z))
		}
	}
}

// TestNeverDone has primaries that answer slowly, never, or without end.
func TestNeverDone(t *testing.T) {
	for what, serve := range map[string]func(net.Conn){
		"nothing":     func(c net.Conn) { readQuery(c); time.Sleep(2 * time.Second) },
		"half":        func(c net.Conn) { readQuery(c); c.Write([]byte{1, 0, 0}); time.Sleep(2 * time.Second) },
		"closed":      func(c net.Conn) { readQuery(c) },
		"never reads": func(c net.Conn) { time.Sleep(2 * time.Second) },
		"without end": func(c net.Conn) {
			q := readQuery(c)
			for i := 0; ; i++ {
				m := message(t, typeAXFR, rrs(t, fmt.Sprintf("n%d.example.org. 60 A 192.0.2.1", i))...)
				if i == 0 {
					m = message(t, typeAXFR, rrs(t, soaLine(1))...)
				}
				copy(m, q[:2])
				if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...)); err != nil {
					return
				}
			}
		},
	} {
		it := testItem(t, Config{Timeout: 200 * time.Millisecond, ZoneBytes: 1 << 16}, serve)
		start := time.Now()
		if err := it.fetch(t.Context(), it.conf.Primaries[0]); err == nil || time.Since(start) > 15*time.Second {
			t.Errorf("%s: %v after %v", what, err, time.Since(start))
		} else if what == "without end" && !errors.Is(err, errTooLarge) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestMemory has several zones share a bound.
func TestMemory(t *testing.T) {
	it := testItem(t, Config{AllBytes: 3000, JournalBytes: 500}, nil)
	small, large := version(t, 1), version(t, 2)
	if err := it.replace(small); err != nil {
		t.Fatal(err)
	}
	used := it.s.stats.Bytes.Load()
	if used != int64(len(small)) {
		t.Errorf("%d bytes counted, %d used", used, len(small))
	}
	if err := it.replace(large); err != nil {
		t.Fatal(err)
	}
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprintf("n%d.example.org. 60 A 192.0.2.1", i))
	}
	if err := it.replace(version(t, 3, many...)); !errors.Is(err, errTooLarge) {
		t.Errorf("beyond the bound: %v", err)
	}
	if z, _ := it.s.zones.Zone(origin); xfr.ZoneSOA(z).Serial != 2 {
		t.Errorf("version %d is served, want the last that fitted, 2", xfr.ZoneSOA(z).Serial)
	}
	it.close()
	if n := it.s.stats.Bytes.Load(); n != 0 {
		t.Errorf("%d bytes are left", n)
	}
}
