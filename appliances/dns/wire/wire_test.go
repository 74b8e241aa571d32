package wire

import (
	"bytes"
	"testing"

	"github.com/miekg/dns"
)

// TestNames has names that are malformed, and pointers that lead nowhere good.
func TestNames(t *testing.T) {
	long := bytes.Repeat(append([]byte{63}, bytes.Repeat([]byte("a"), 63)...), 4)
	for what, tc := range map[string]struct {
		msg  string
		at   int
		name string
		end  int
	}{
		"plain":             {"\x03wWw\x00rest", 0, "\x03wWw\x00", 5},
		"a pointer":         {"\x03www\x00\x01a\xc0\x00", 5, "\x01a\x03www\x00", 9},
		"two pointers":      {"\x01a\x00\x01b\xc0\x00\x01c\xc0\x03", 7, "\x01c\x01b\x01a\x00", 11},
		"to itself":         {"\xc0\x00", 0, "", -1},
		"forwards":          {"\xc0\x02\x00", 0, "", -1},
		"into its own name": {"\x01a\xc0\x00", 0, "", -1},
		"a loop of two":     {"\xc0\x02\xc0\x00", 2, "", -1},
		"half a pointer":    {"\x01a\xc0", 0, "", -1},
		"cut off":           {"\x03ww", 0, "", -1},
		"no root":           {"\x03www", 0, "", -1},
		"another label":     {"\x40a\x00", 0, "", -1},
		"beyond the end":    {"\x00", 1, "", -1},
		"too long":          {string(long) + "\x00", 0, "", -1},
	} {
		name, end := AppendName([]byte("x"), []byte(tc.msg), tc.at)
		if string(name) != "x"+tc.name || end != tc.end {
			t.Errorf("%s: %q ends at %d", what, name, end)
		}
	}
}

// TestData has each type with names in its data, compressed by miekg/dns where it
// does so, and cut off at each place.
func TestData(t *testing.T) {
	for _, line := range []string{"a.example. NS ns.a.example.", "a.example. CNAME b.a.example.", "a.example. PTR b.a.example.",
		"a.example. SOA ns.a.example. host.a.example. 1 2 3 4 5", "a.example. MX 10 mx.a.example.", "a.example. MINFO r.a.example. e.a.example.",
		"a.example. RP r.a.example. t.a.example.", "a.example. SRV 1 2 3 s.a.example.", "a.example. DNAME d.a.example.",
		"a.example. AFSDB 1 x.a.example.", "a.example. RT 1 x.a.example.", "a.example. KX 1 x.a.example.", "a.example. PX 1 x.a.example. y.a.example.",
		`a.example. NAPTR 1 2 "u" "sip" "!^!!" r.a.example.`, "a.example. A 192.0.2.1", `a.example. TXT "text" "more"`} {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		m := new(dns.Msg)
		m.SetQuestion("a.example.", dns.TypeANY)
		m.Compress, m.Answer = true, []dns.RR{rr}
		msg, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		_, at, err := ReadQuestion(msg)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ReadRR(msg, at)
		if err != nil {
			t.Fatal(err)
		}
		data, err := AppendData([]byte("x"), msg, got)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		want := make([]byte, 512)
		n, _ := dns.PackRR(rr, want, 0, nil, false)
		if want := want[n-len(data)+1 : n]; !bytes.Equal(data[1:], want) {
			t.Errorf("%s: %q, want %q", line, data[1:], want)
		}
		if _, ok := layouts(got.Type); !ok {
			continue
		}
		for end := got.Data; end < got.End; end++ {
			cut := got
			cut.End = end
			if got.Type == dns.TypeSOA && end >= got.End-20 {
				continue // what follows the names is not looked into
			}
			if b, err := AppendData([]byte("x"), msg, cut); err == nil || string(b) != "x" {
				t.Errorf("%s: taken when cut to %d octets", line, end-got.Data)
			}
		}
		longer := got
		longer.End++
		if _, err := AppendData(nil, append(msg, 0), longer); err == nil && got.Type != dns.TypeSOA {
			t.Errorf("%s: taken with an octet more", line)
		}
	}
}

// FuzzRead reads any bytes as a message.
func FuzzRead(f *testing.F) {
	m := new(dns.Msg)
	m.SetQuestion("a.example.", dns.TypeANY)
	rr, _ := dns.NewRR("a.example. SOA ns.a.example. host.a.example. 1 2 3 4 5")
	m.Compress, m.Answer = true, []dns.RR{rr}
	b, _ := m.Pack()
	f.Add(b)
	f.Fuzz(func(t *testing.T, msg []byte) {
		_, at, err := ReadQuestion(msg)
		if err != nil {
			return
		}
		for {
			rr, err := ReadRR(msg, at)
			if err != nil {
				return
			}
			if rr.End <= at {
				t.Fatal("a record without length")
			}
			name, _ := AppendName(nil, msg, at)
			if len(name) > 255 {
				t.Fatal("a name that is too long")
			}
			AppendData(nil, msg, rr)
			at = rr.End
		}
	})
}
