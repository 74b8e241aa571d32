package answer

import (
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ampoule/libos/config/zone"

	"github.com/miekg/dns"
)

var update = flag.Bool("update", false, "record NSD's answers anew (needs the program nsd)")

const testdata = "../../../testdata/dns/"

// origins are the zones of testdata/dns/zones.
var origins = []string{"example.org.", "example.net.", "child.example.net.", "test.", "nsec.example.", "nsec3.example.", "optout.example."}

// zoneFile returns the path of the file for origin.
func zoneFile(origin string) string {
	return filepath.Join(testdata, "zones", origin+"zone")
}

// loadZone reads a zone file with the reader that tools/configc uses, but
// without its checks.
func loadZone(t testing.TB, origin string) (zone.Zone, []dns.RR) {
	t.Helper()
	f, err := os.Open(zoneFile(origin))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zp := dns.NewZoneParser(f, origin, zoneFile(origin))
	zp.SetIncludeAllowed(true)
	var records []zone.Record
	var rrs []dns.RR
	for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
		rrs = append(rrs, rr)
		records = append(records, wire(t, rr))
	}
	if err := zp.Err(); err != nil {
		t.Fatal(err)
	}
	z, err := zone.Compile(packName(t, origin), records)
	if err != nil {
		t.Fatal(err)
	}
	return z, rrs
}

func wire(t testing.TB, rr dns.RR) zone.Record {
	t.Helper()
	b := make([]byte, dns.Len(rr)+16)
	n, err := dns.PackRR(rr, b, 0, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	owner := packName(t, rr.Header().Name)
	return zone.Record{
		Owner: owner,
		Type:  rr.Header().Rrtype,
		TTL:   rr.Header().Ttl,
		Data:  b[len(owner)+10 : n],
	}
}

func packName(t testing.TB, name string) []byte {
	t.Helper()
	var b [zone.MaxName]byte
	n, err := dns.PackDomainName(name, b[:], 0, nil, false)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return slices.Clone(b[:n])
}

// testServer answers for the zones of testdata.
func testServer(t testing.TB) *Server {
	t.Helper()
	var zones []zone.Zone
	for _, o := range origins {
		z, _ := loadZone(t, o)
		zones = append(zones, z)
	}
	s, err := New(zones, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// question is one line of questions.txt for one type.
type question struct {
	text string // the line with this type alone
	msg  []byte
	tcp  bool
}

func readQuestions(t testing.TB) []question {
	t.Helper()
	b, err := os.ReadFile(testdata + "questions.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []question
	for _, line := range strings.Split(string(b), "\n") {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "#" || strings.HasPrefix(line, "#") {
			continue
		}
		for _, rrtype := range strings.Split(f[1], ",") {
			q, err := newQuestion(f[0], rrtype, f[2:])
			if err != nil {
				t.Fatalf("questions.txt: %q: %v", line, err)
			}
			all = append(all, q)
		}
	}
	return all
}

func newQuestion(name, rrtype string, options []string) (question, error) {
	q := question{text: strings.Join(append([]string{name, rrtype}, options...), " ")}
	m := new(dns.Msg)
	m.Id = 0x1234
	qtype, ok := dns.StringToType[rrtype]
	if !ok {
		n, err := strconv.ParseUint(strings.TrimPrefix(rrtype, "TYPE"), 10, 16)
		if err != nil {
			return q, fmt.Errorf("type %s: %w", rrtype, err)
		}
		qtype = uint16(n)
	}
	m.Question = []dns.Question{{Name: name, Qtype: qtype, Qclass: dns.ClassINET}}
	flags := uint16(0)
	for _, o := range options {
		key, value, _ := strings.Cut(o, "=")
		if key == "raw" {
			msg, err := hex.DecodeString(value)
			q.msg = msg
			return q, err
		}
		if key == "tcp" {
			q.tcp = true
			continue
		}
		f, err := option(m, key, value)
		if err != nil {
			return q, err
		}
		flags |= f
	}
	msg, err := m.Pack()
	if err != nil {
		return q, err
	}
	binary.BigEndian.PutUint16(msg[2:], flags)
	q.msg = msg
	return q, nil
}

// option puts one option of a question into the message, or returns the header
// bits that it stands for.
func option(m *dns.Msg, key, value string) (flags uint16, err error) {
	n, _ := strconv.Atoi(value)
	switch key {
	case "rd":
		return flagRD, nil
	case "cd":
		return 1 << 4, nil
	case "ad":
		return 1 << 5, nil
	case "z":
		return 1 << 6, nil
	case "aa":
		return flagAA, nil
	case "tc":
		return flagTC, nil
	case "opcode":
		return uint16(n) << 11, nil
	case "do":
		m.IsEdns0().SetDo()
	case "edns":
		m.Extra = []dns.RR{&dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT, Class: uint16(n)}}}
	case "version":
		m.IsEdns0().SetVersion(uint8(n))
	case "option":
		code, data, _ := strings.Cut(value, ":")
		c, _ := strconv.Atoi(code)
		d, err := hex.DecodeString(data)
		opt := m.IsEdns0()
		opt.Option = append(opt.Option, &dns.EDNS0_LOCAL{Code: uint16(c), Data: d})
		return 0, err
	case "class":
		m.Question[0].Qclass = dns.StringToClass[value]
	case "id":
		m.Id = uint16(n)
	default:
		return 0, fmt.Errorf("option %q is not known", key)
	}
	return 0, nil
}

// describe writes an answer as golden files have it: code and flags, then the
// records of each section in a fixed order and in lower case.
func describe(msg []byte) string {
	if len(msg) == 0 {
		return "\tno answer\n"
	}
	var m dns.Msg
	if err := m.Unpack(msg); err != nil {
		return fmt.Sprintf("\tnot a message: %v\n", err)
	}
	var b strings.Builder
	opt := m.IsEdns0()
	rcode := m.Rcode // with its upper bits from the OPT record
	flags := binary.BigEndian.Uint16(msg[2:])
	name := dns.RcodeToString[rcode]
	if rcode == badVers {
		name = "BADVERS" // shares its number with TSIG's BADSIG
	}
	b.WriteString("\t" + name)
	for i, f := range []string{"cd", "ad", "z", "ra", "rd", "tc", "aa"} {
		if flags&(1<<(4+i)) != 0 {
			b.WriteString(" " + f)
		}
	}
	if m.Opcode != 0 {
		fmt.Fprintf(&b, " opcode=%d", m.Opcode)
	}
	if len(m.Question) != 1 {
		fmt.Fprintf(&b, " questions=%d", len(m.Question))
	}
	if opt != nil {
		fmt.Fprintf(&b, " edns=%d", opt.UDPSize())
		if opt.Do() {
			b.WriteString(" do")
		}
		if opt.Version() != 0 || len(opt.Option) > 0 {
			fmt.Fprintf(&b, " version=%d options=%d", opt.Version(), len(opt.Option))
		}
	}
	b.WriteByte('\n')
	section(&b, "an", m.Answer)
	section(&b, "au", m.Ns)
	section(&b, "ad", m.Extra)
	return b.String()
}

func section(b *strings.Builder, title string, rrs []dns.RR) {
	var lines []string
	for _, rr := range rrs {
		if rr.Header().Rrtype == dns.TypeOPT {
			continue
		}
		text := strings.Join(strings.Fields(rr.String()), " ")
		switch rr.Header().Rrtype {
		case dns.TypeTXT, dns.TypeHINFO, dns.TypeNAPTR, dns.TypeCAA:
			rr.Header().Name = strings.ToLower(rr.Header().Name)
			text = strings.Join(strings.Fields(rr.String()), " ")
		default:
			text = strings.ToLower(text)
		}
		lines = append(lines, "\t"+title+" "+text+"\n")
	}
	slices.Sort(lines)
	b.WriteString(strings.Join(lines, ""))
}

// readGolden reads blocks: a question at the start of a line, then indented
// lines. Lines that start with # are handed to the caller with the next block.
func readGolden(t testing.TB, file string) (answers, notes map[string]string) {
	t.Helper()
	b, err := os.ReadFile(testdata + file)
	if err != nil {
		t.Fatal(err)
	}
	answers, notes = map[string]string{}, map[string]string{}
	var name, note string
	for _, line := range strings.SplitAfter(string(b), "\n") {
		switch {
		case strings.TrimSpace(line) == "":
			note = ""
		case line[0] == '#':
			note += line
		case line[0] == '\t':
			answers[name] += line
		default:
			name = strings.TrimSpace(line)
			if _, ok := answers[name]; ok {
				t.Errorf("%s: %q is there twice", file, name)
			}
			answers[name], notes[name] = "", note
		}
	}
	return answers, notes
}

// TestGolden compares every answer with NSD's, and those in ours.golden with
// what is written there.
func TestGolden(t *testing.T) {
	questions := readQuestions(t)
	if *update {
		recordNSD(t, questions)
	}
	nsd, _ := readGolden(t, "nsd.golden")
	ours, notes := readGolden(t, "ours.golden")
	s := testServer(t)
	buf := make([]byte, MaxMessage)
	for _, q := range questions {
		transport := UDP
		if q.tcp {
			transport = TCP
		}
		got := describe(buf[:s.Answer(buf, q.msg, transport, Client{})])
		want, ok := nsd[q.text]
		if !ok {
			t.Errorf("%s: no answer recorded; run with -update", q.text)
			continue
		}
		if w, ok := ours[q.text]; ok {
			if w == want {
				t.Errorf("%s: stands in ours.golden, but NSD says the same", q.text)
			}
			if !strings.Contains(notes[q.text], "RFC ") {
				t.Errorf("%s: ours.golden names no RFC for it", q.text)
			}
			want = w
			delete(ours, q.text)
		}
		if got != want {
			t.Errorf("%s\ngot\n%swant\n%s", q.text, got, want)
		}
	}
	for text := range ours {
		t.Errorf("ours.golden: %s: no such question", text)
	}
	if len(questions) < 300 {
		t.Errorf("%d questions, want at least 300", len(questions))
	}
}
