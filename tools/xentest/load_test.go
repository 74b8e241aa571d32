package xen

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"ampoule/tools/xenrig/dom0"
	"ampoule/tools/xenrig/rig"
)

// dnsperf is the load's client. It runs in dom0, the guest's neighbour.
var dnsperf = dom0.Options{Packages: []string{"dnsperf"}, Programs: []string{"/usr/bin/dnsperf"}}

// mix is what is asked, each as often as the others, and what comes of it.
var mix = []struct{ question, rcode string }{
	{"www.example.org A", "NOERROR"},
	{"example.org MX", "NOERROR"},
	{"host7.example.org A", "NOERROR"},
	{"a.b.apps.example.org AAAA", "NOERROR"},
	{"lab.example.org NS", "NOERROR"},
	{"mail.example.org TXT", "NOERROR"},
	{"107.2.0.192.in-addr.arpa PTR", "NOERROR"},
	{"nothing.example.org A", "NXDOMAIN"},
	{"7.2.0.192.in-addr.arpa PTR", "NXDOMAIN"},
	{"example.net A", "REFUSED"},
}

// load is 100,000 queries at full rate: none lost by the guest, none answered
// otherwise than it should be, memory as before. It prints what a query costs in
// hypercalls.
func load(h *host) {
	rounds := 10000
	if testing.Short() {
		rounds = 500
	}
	var questions strings.Builder
	want := map[string]int{}
	for _, m := range mix {
		fmt.Fprintln(&questions, m.question)
		want[m.rcode] += rounds
	}
	h.must("queries", h.Put(h.t.Context(), "/run/queries", strings.NewReader(questions.String())))
	// A first round, as buffers and tables grow to their size.
	h.dnsperf(100)
	before := h.stats()
	perf := h.dnsperf(rounds)
	after := h.stats()

	n := rounds * len(mix)
	h.t.Logf("%d queries, %d answered, %.0f a second; dom0 gave the guest %d frames and got %d", n, perf.completed, perf.rate, perf.toGuest, perf.fromGuest)
	for rcode, n := range want {
		if perf.rcodes[rcode] != n {
			h.t.Errorf("%d answers %s, want %d", perf.rcodes[rcode], rcode, n)
		}
	}
	if perf.lost != 0 {
		h.t.Errorf("%d queries lost; dom0 gave the guest %d frames and got %d", perf.lost, perf.toGuest, perf.fromGuest)
	}
	sleeps, notifies := float64(after.sleeps-before.sleeps)/float64(n), float64(after.notifies-before.notifies)/float64(n)
	h.t.Attr("queries", fmt.Sprint(n))
	h.t.Attr("sleeps-per-query", fmt.Sprintf("%.3f (goal 0.2)", sleeps))
	h.t.Attr("notifications-per-query", fmt.Sprintf("%.3f (goal 0.2)", notifies))
	if sleeps > 1 || notifies > 1 {
		h.t.Error("a saturated guest makes more than a hypercall of each kind per query")
	}
	h.t.Logf("memory before: heap %d, system %d, free I/O pages %d; after: %d, %d, %d",
		before.heap, before.sys, before.pages, after.heap, after.sys, after.pages)
	// A page that was sent comes back when its answer is looked at, which is with
	// the next frames: up to a ring of them may be out.
	const ring = 64
	if after.heap > before.heap+before.heap/10+128<<10 || after.sys > before.sys+1<<20 || after.pages < before.pages-ring {
		h.t.Errorf("memory grew: %+v, then %+v", before, after)
	}
	res, err := h.Load(h.t.Context(), rig.Load{Addr: dnsAddr, Service: "dns:www.example.org", Requests: 2000, Clients: 16})
	h.must("content", err)
	if res.Failed != 0 || res.Answered != 2000 {
		h.t.Errorf("of answers compared with what they should be, %d were right and %d not: %s", res.Answered, res.Failed, res.First)
	}
}

// result is what dnsperf and the guest's vif counted.
type result struct {
	completed, lost    int
	rate               float64
	rcodes             map[string]int
	toGuest, fromGuest int // frames
}

var (
	completed = regexp.MustCompile(`Queries completed: +(\d+)`)
	lost      = regexp.MustCompile(`Queries lost: +(\d+)`)
	rate      = regexp.MustCompile(`Queries per second: +([0-9.]+)`)
	codes     = regexp.MustCompile(`Response codes: +(.*)`)
	code      = regexp.MustCompile(`([A-Z]+) (\d+) \(`)
)

// dnsperf asks the questions in /run/queries, all of them so many times, with
// the usual 100 under way at once.
func (h *host) dnsperf(rounds int) result {
	h.t.Helper()
	s, err := h.State(h.t.Context(), "dns")
	h.must("state", err)
	frames := func() (to, from int) {
		out, err := h.Run(h.t.Context(), 20*time.Second, fmt.Sprintf("cd /sys/class/net/vif%d.0/statistics && cat tx_packets rx_packets", s.ID))
		h.must("vif", err)
		if _, err := fmt.Sscan(out, &to, &from); err != nil {
			h.t.Fatalf("counters of the vif %q: %v", out, err)
		}
		return to, from
	}
	to, from := frames()
	out, err := h.Run(h.t.Context(), 10*time.Minute, fmt.Sprintf("dnsperf -s %s -d /run/queries -n %d -t 10 -q 100 2>&1", dnsHost, rounds))
	if err != nil {
		h.t.Fatalf("dnsperf: %v\n%s", h.Explain(err), out)
	}
	number := func(re *regexp.Regexp) float64 {
		m := re.FindStringSubmatch(out)
		if m == nil {
			h.t.Fatalf("dnsperf prints no %v:\n%s", re, out)
		}
		f, _ := strconv.ParseFloat(m[1], 64)
		return f
	}
	r := result{completed: int(number(completed)), lost: int(number(lost)), rate: number(rate), rcodes: map[string]int{}}
	if m := codes.FindStringSubmatch(out); m != nil {
		for _, c := range code.FindAllStringSubmatch(m[1], -1) {
			r.rcodes[c[1]], _ = strconv.Atoi(c[2])
		}
	}
	toNow, fromNow := frames()
	r.toGuest, r.fromGuest = toNow-to, fromNow-from
	return r
}

// figures are what the guest says of itself.
type figures struct{ heap, sys, pages, sleeps, notifies int }

var (
	statsLine = regexp.MustCompile(` memory .*notifies=\d+`)
	statsKey  = regexp.MustCompile(`(heap|sys|pages_free|sleeps|notifies)=(\d+)`)
)

// stats waits for the guest's next line of figures. It says one every second.
func (h *host) stats() figures {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), 30*time.Second)
	defer cancel()
	lines := func() []string {
		log, err := h.GuestLog(ctx, "dns")
		h.must("console", err)
		return statsLine.FindAllString(log, -1)
	}
	// Two more: the next may have been on its way already.
	all := lines()
	for n := len(all); len(all) < n+2; all = lines() {
		time.Sleep(100 * time.Millisecond)
	}
	var f figures
	into := map[string]*int{"heap": &f.heap, "sys": &f.sys, "pages_free": &f.pages, "sleeps": &f.sleeps, "notifies": &f.notifies}
	for _, m := range statsKey.FindAllStringSubmatch(all[len(all)-1], -1) {
		*into[m[1]], _ = strconv.Atoi(m[2])
	}
	return f
}
