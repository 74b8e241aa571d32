package siege

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"ampoule/tools/netpeer"
)

// good is a report of 1000 queries by dnsperf and one by a client.
func good() *Report {
	mem := Figures{Heap: 1 << 20, Sys: 8 << 20, Pages: 500, RX: 10, Fast: 8, TX: 1}
	r := &Report{Before: mem, After: mem, Worst: mem, Took: time.Second,
		Host:    netpeer.Counters{ToGuest: 1003, FromGuest: 1002},
		Perf:    []Perf{{Sent: 1000, Completed: 1000, Rcodes: rcodes(questions(), 1000)}},
		Clients: []*Client{{Asked: 1, Answered: 1, udp: 1}},
	}
	r.After.RX, r.After.Fast, r.After.TX = 1013, 1009, 2
	return r
}

// flooded is a report of a flood of 20,000 frames, half of them from 9 networks,
// whose rate for 10 kinds is 1 a second.
func flooded() *Report {
	r := good()
	r.Perf, r.Rate, r.Took = nil, 1, 9*time.Second
	r.Spoofed = &Flood{Sent: 20000, Aimed: 10000, Networks: 9}
	r.Host = netpeer.Counters{ToGuest: 20000, FromGuest: 15450}
	r.After = Figures{Heap: 1 << 20, Sys: 8 << 20, Pages: 500, RX: 20010, Fast: 8 + 15450, TX: 1, Shed: 4550}
	r.Clients = []*Client{{Asked: 5, Answered: 5, Truncated: 2}, {Asked: 5, Answered: 5, cookie: true}}
	return r
}

func TestCheck(t *testing.T) {
	if err := errors.Join(good().Check(), flooded().Check()); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		of     func() *Report
		change func(*Report)
		want   string
	}{
		"heap":                {good, func(r *Report) { r.After.Heap += 300 << 10 }, "heap was"},
		"heap under load":     {good, func(r *Report) { r.Worst.Heap += 2 << 20 }, "rose to"},
		"system":              {good, func(r *Report) { r.After.Sys += 4 << 20 }, "the system"},
		"pages":               {good, func(r *Report) { r.After.Pages -= 100 }, "I/O pages"},
		"panic":               {good, func(r *Report) { r.Said = []string{"panic: x"} }, "panic: x"},
		"frame not seen":      {good, func(r *Report) { r.After.RX-- }, "handed over"},
		"answer not sent":     {good, func(r *Report) { r.Host.FromGuest-- }, "the host saw"},
		"ring full":           {good, func(r *Report) { r.After.Lost++ }, "could not send"},
		"not answered":        {good, func(r *Report) { r.After.Fast--; r.Host.FromGuest-- }, "it answered 1000"},
		"shed":                {good, func(r *Report) { r.After.Shed++ }, "without rate limiting"},
		"lost":                {good, func(r *Report) { r.Perf[0].Lost, r.Perf[0].Completed = 1, 999 }, "1 lost"},
		"rcode":               {good, func(r *Report) { r.Perf[0].Rcodes["NOERROR"]--; r.Perf[0].Rcodes["SERVFAIL"]++ }, "SERVFAIL"},
		"rcodes exchanged":    {good, func(r *Report) { r.Perf[0].Rcodes["NOERROR"]--; r.Perf[0].Rcodes["NXDOMAIN"]++ }, "NXDOMAIN"},
		"no dnsperf":          {good, func(r *Report) { r.Perf[0] = Perf{} }, "dnsperf sent 0"},
		"wrong answer":        {good, func(r *Report) { r.Clients[0].Wrong++ }, "1 wrong"},
		"idle client":         {good, func(r *Report) { r.Clients[0].Asked, r.Clients[0].Answered = 0, 0 }, "asked 0"},
		"client fails":        {flooded, func(r *Report) { r.Clients[0].Answered--; r.Clients[0].Failed++ }, "1 failed"},
		"cookie in vain":      {flooded, func(r *Report) { r.Clients[1].Truncated = 9 }, "with a cookie"},
		"nobody limited":      {flooded, func(r *Report) { r.Clients[0].Truncated = 0 }, "none was limited"},
		"limits too little":   {flooded, func(r *Report) { r.After.Shed = 3000 }, "want half"},
		"limits too much":     {flooded, func(r *Report) { r.After.Shed = 6000 }, "half at most"},
		"loses under a flood": {flooded, func(r *Report) { r.After.RX -= 7 }, "handed over"},
	} {
		r := tc.of()
		tc.change(r)
		if err := r.Check(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCheckHostLoss: what the host's queues had no room for is not the guest's.
func TestCheckHostLoss(t *testing.T) {
	r := good()
	r.Host.Dropped = 3
	r.Host.ToGuest, r.Host.FromGuest = r.Host.ToGuest-3, r.Host.FromGuest-3
	r.After.RX, r.After.Fast = r.After.RX-3, r.After.Fast-3
	r.Perf[0].Lost, r.Perf[0].Completed = 3, 997
	r.Perf[0].Rcodes["NOERROR"] -= 3
	if err := r.Check(); err != nil {
		t.Error(err)
	}
	r.Perf[0].Lost, r.Perf[0].Completed = 4, 996
	if r.Check() == nil {
		t.Error("a loss that is not the host's passed")
	}
}

func TestFigures(t *testing.T) {
	l := newLog()
	l.line("2026 info memory host=x heap=1 sys=2 pages_free=3 pages_low=9 goroutines=8 gc=7 sleeps=6 notifies=5 rx=10 fast=11 shed=12 tx=13 lost=14")
	l.line("2026 info memory host=x heap=5 sys=1 pages_free=2 rx=10 fast=11 shed=12 tx=13 lost=14")
	l.line("info memory heap=1 sys=2 pages_free=3")
	l.line("2026 error something")
	want := Figures{1, 2, 3, 10, 11, 12, 13, 14}
	if len(l.lines) != 2 || l.lines[0] != want || len(l.said()) != 1 {
		t.Errorf("%+v, %q", l.lines, l.said())
	}
	if w := l.worst(0); w.Heap != 5 || w.Sys != 2 || w.Pages != 2 {
		t.Errorf("worst %+v", w)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := l.rest(ctx, time.Second); err == nil {
		t.Error("a silent guest is at rest")
	}
}

func TestPerf(t *testing.T) {
	const out = "  Queries sent:         10\n  Queries completed:    9 (90.00%)\n  Queries lost:         1 (10.00%)\n\n" +
		"  Response codes:       NOERROR 7 (77.78%), NXDOMAIN 2 (22.22%)\n  Queries per second:   45615.123\n"
	p, err := parsePerf(out)
	if err != nil || p.Sent != 10 || p.Completed != 9 || p.Lost != 1 || p.Rate != 45615.123 || p.Rcodes["NOERROR"] != 7 || p.Rcodes["NXDOMAIN"] != 2 {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := parsePerf("nothing"); err == nil {
		t.Error("no error")
	}
}

// TestQuestionCheck: an answer that differs in anything is wrong.
func TestQuestionCheck(t *testing.T) {
	q := &questions()[0]
	answer := func() *dns.Msg {
		m := q.query(7)
		m.Response, m.Authoritative = true, true
		for _, s := range q.answer {
			rr, err := dns.NewRR(s)
			if err != nil {
				t.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		return m
	}
	if err := q.check(7, answer()); err != nil {
		t.Fatal(err)
	}
	if err := q.check(8, answer()); !errors.Is(err, errOther) {
		t.Errorf("another id: %v", err)
	}
	for name, change := range map[string]func(*dns.Msg){
		"query":     func(m *dns.Msg) { m.Response = false },
		"rcode":     func(m *dns.Msg) { m.Rcode = dns.RcodeNameError },
		"AA":        func(m *dns.Msg) { m.Authoritative = false },
		"missing":   func(m *dns.Msg) { m.Answer = m.Answer[1:] },
		"TTL":       func(m *dns.Msg) { m.Answer[0].Header().Ttl-- },
		"address":   func(m *dns.Msg) { m.Answer[0].(*dns.A).A[3]++ },
		"authority": func(m *dns.Msg) { m.Ns = m.Answer[:1] },
		"question":  func(m *dns.Msg) { m.Question[0].Name = "example.org." },
		"type":      func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA },
	} {
		m := answer()
		change(m)
		if err := q.check(7, m); err == nil || errors.Is(err, errOther) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFloodFrames: every frame is one that a host may take, with checksums that
// hold.
func TestFloodFrames(t *testing.T) {
	f, err := newFlooder(func([]byte) error { return nil }, questions())
	if err != nil {
		t.Fatal(err)
	}
	four, six := 0, 0
	for range 20000 {
		b := f.frame()
		var m dns.Msg
		switch binary.BigEndian.Uint16(b[12:]) {
		case 0x0800:
			four++
			src := netip.AddrFrom4([4]byte(b[26:30]))
			if total(0, b[14:34]) != 0xffff || !src.IsGlobalUnicast() || src == netpeer.GuestIPv4 || src == netpeer.HostIPv4.Addr() {
				t.Fatalf("%v: %x", src, b)
			}
			err = m.Unpack(b[42 : 34+int(binary.BigEndian.Uint16(b[38:]))])
		default:
			six++
			n := int(binary.BigEndian.Uint16(b[58:]))
			if total(uint32(n)+17, b[22:54+n]) != 0xffff {
				t.Fatalf("%x", b)
			}
			err = m.Unpack(b[62 : 54+n])
		}
		if err != nil || len(m.Question) != 1 {
			t.Fatal(err)
		}
	}
	if len(f.seen) < 9000 || f.count.Aimed < 9000 || four < 10000 || six < 3000 {
		t.Errorf("%d sources, %d aimed, %d and %d frames", len(f.seen), f.count.Aimed, four, six)
	}
}

// total is the sum of words with the carry brought around (RFC 1071).
func total(s uint32, b []byte) uint32 {
	for i := 0; i < len(b); i += 2 {
		w := uint32(b[i]) << 8
		if i+1 < len(b) {
			w |= uint32(b[i+1])
		}
		s += w
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return s
}
