package siege

import (
	"fmt"
	"strings"
)

// String is the report for people.
func (r *Report) String() string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	seconds := r.Took.Seconds()
	if r.Spoofed == nil {
		say("full rate for %.0f s in %d MiB", seconds, r.RAM)
	} else {
		f := r.Spoofed
		say("a flood for %.0f s in %d MiB: %d frames (%.0f a second) from %d addresses or more, %d of them from %d busy networks",
			seconds, r.RAM, f.Sent, float64(f.Sent)/seconds, f.Sources, f.Aimed, f.Networks)
	}
	for i, p := range r.Perf {
		say("dnsperf over %s: %d queries, %d answered (%.0f a second), %d lost, %v",
			[]string{"IPv4", "IPv6"}[i&1], p.Sent, p.Completed, p.Rate, p.Lost, p.Rcodes)
	}
	for _, c := range r.Clients {
		say("client of %s, cookies %v: %d questions, %d right answers, %d wrong, %d failed; %d sent again, %d truncated and asked over TCP, %d connections again, longest %d ms",
			c.addr, c.cookie, c.Asked, c.Answered, c.Wrong, c.Failed, c.Again, c.Truncated, c.TCPAgain, c.Longest.Milliseconds())
	}
	a, o := r.After, r.Before
	rx, fast, shed, tx := a.RX-o.RX, a.Fast-o.Fast, a.Shed-o.Shed, a.TX-o.TX
	say("host: %d frames to the guest and %d from it, %d dropped before the guest, %d datagrams dropped by sockets",
		r.Host.ToGuest, r.Host.FromGuest, r.Host.Dropped, r.Host.Overrun)
	say("guest: %d frames received, %d answered at once, %d dropped by rate limiting, %d to the stack, which sent %d; %d lost",
		rx, fast, shed, rx-fast-shed, tx, a.Lost-o.Lost)
	if r.Spoofed != nil {
		l := r.limits()
		say("rate limiting: about %.0f frames of busy networks reached the guest, %.0f of them above the rate, and it dropped %.0f", l.aimed, l.limited, l.shed)
	}
	say("memory: heap %d bytes before, %d after, at most %d; system %d, %d; free I/O pages %d, %d, at least %d",
		o.Heap, a.Heap, r.Worst.Heap, o.Sys, a.Sys, o.Pages, a.Pages, r.Worst.Pages)
	return b.String()
}
