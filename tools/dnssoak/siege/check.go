package siege

import (
	"errors"
	"fmt"
	"strings"
)

// Slack of a guest's memory. The heap is looked at after a collection; what comes
// and goes with TCP connections is in it.
const (
	heapSlack = 128 << 10 // bytes, beside a tenth
	sysSlack  = 1 << 20   // bytes
	pageSlack = 64        // a page that was sent comes back when its answer is looked at: with the next frames
	peakSlack = 1 << 20   // bytes of heap that may be in use under load beside what is at rest
)

// Check returns what went wrong, all of it, or nil.
func (r *Report) Check() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(r.Said) > 0 {
		wrong("the guest said: %s", strings.Join(r.Said, "\n"))
	}
	r.memory(wrong)
	r.frames(wrong)
	for _, p := range r.Perf {
		r.perf(p, wrong)
	}
	for i, c := range r.Clients {
		if c.Failed > 0 || c.Wrong > 0 || c.Asked == 0 || c.Answered != c.Asked {
			wrong("client %d asked %d questions: %d right answers, %d wrong, %d failed: %w", i, c.Asked, c.Answered, c.Wrong, c.Failed, c.First)
		}
	}
	if r.Spoofed != nil {
		r.limiting(wrong)
	}
	return errors.Join(errs...)
}

func (r *Report) memory(wrong func(string, ...any)) {
	b, a := r.Before, r.After
	if a.Heap > b.Heap+b.Heap/10+heapSlack {
		wrong("the heap was %d bytes and is %d after the load", b.Heap, a.Heap)
	}
	if r.Worst.Heap > b.Heap+peakSlack {
		wrong("the heap was %d bytes and rose to %d", b.Heap, r.Worst.Heap)
	}
	if a.Sys > b.Sys+sysSlack {
		wrong("the runtime had %d bytes of the system and has %d after the load", b.Sys, a.Sys)
	}
	if a.Pages+pageSlack < b.Pages {
		wrong("%d I/O pages were free, and %d are after the load", b.Pages, a.Pages)
	}
}

// frames compares what the tap device handed over with what the guest counted: the
// guest may lose none. What the device itself dropped the guest never saw.
func (r *Report) frames(wrong func(string, ...any)) {
	rx, fast, tx := r.After.RX-r.Before.RX, r.After.Fast-r.Before.Fast, r.After.TX-r.Before.TX
	if rx != r.Host.ToGuest {
		wrong("the host handed over %d frames, and the guest saw %d", r.Host.ToGuest, rx)
	}
	if fast+tx != r.Host.FromGuest {
		wrong("the guest sent %d frames, and the host saw %d", fast+tx, r.Host.FromGuest)
	}
	if n := r.After.Lost - r.Before.Lost; n != 0 {
		wrong("the guest could not send %d frames", n)
	}
	if r.Spoofed != nil {
		return
	}
	if n := r.After.Shed - r.Before.Shed; n != 0 {
		wrong("without rate limiting the guest dropped %d frames", n)
	}
	asked := uint64(0)
	for _, p := range r.Perf {
		asked += uint64(p.Sent)
	}
	for _, c := range r.Clients {
		asked += uint64(c.udp)
	}
	if fast > asked || fast+r.Host.Dropped < asked {
		wrong("%d queries were sent, %d dropped before the guest, and it answered %d", asked, r.Host.Dropped, fast)
	}
}

// perf compares what dnsperf got with what it should get. A query that the host's
// queues had no room for is missed in one rcode.
func (r *Report) perf(p Perf, wrong func(string, ...any)) {
	missed := int(r.Host.Dropped + r.Host.Overrun)
	if p.Lost > missed || p.Completed+p.Lost != p.Sent || p.Completed == 0 {
		wrong("dnsperf sent %d queries, %d were answered and %d lost, of which the host lost %d at most", p.Sent, p.Completed, p.Lost, missed)
	}
	want, sum := rcodes(questions(), p.Sent), 0
	for code, n := range p.Rcodes {
		if n > want[code] || n < want[code]-p.Lost {
			wrong("%d answers %s, want %d", n, code, want[code])
		}
		sum += n
	}
	if sum != p.Completed {
		wrong("%d answers have an rcode, of %d", sum, p.Completed)
	}
}

// limiting holds rate limiting to its bound: what a network gets is the rate for each
// kind, and half of what is beyond is dropped.
func (r *Report) limiting(wrong func(string, ...any)) {
	f := r.limits()
	if f.limited > 0 && f.shed < 0.9*f.limited/2 {
		wrong("of %.0f frames above the rate the guest dropped %.0f, want half", f.limited, f.shed)
	}
	if f.shed > 1.1*f.aimed/2 {
		wrong("the guest dropped %.0f frames of %.0f that were from busy networks, want half at most", f.shed, f.aimed)
	}
	truncated := 0
	for _, c := range r.Clients {
		if c.cookie && c.Truncated > 3 {
			wrong("%d answers to the client with a cookie were truncated", c.Truncated)
		} else if !c.cookie {
			truncated += c.Truncated
		}
	}
	if truncated == 0 {
		wrong("no client was sent to TCP, so none was limited")
	}
}

// limits are the frames of a flood that reached the guest.
type limits struct {
	aimed, limited, shed float64 // from busy networks; of those above the rate; dropped
}

// limits is what a flood's frames should have come to.
func (r *Report) limits() (l limits) {
	f := r.Spoofed
	l.shed = float64(r.After.Shed - r.Before.Shed)
	l.aimed = float64(f.Aimed)
	// Frames of all kinds are dropped alike by a queue that is full.
	if total := float64(r.Host.ToGuest + r.Host.Dropped); total > 0 {
		l.aimed *= float64(r.Host.ToGuest) / total
	}
	within := float64(f.Networks) * float64(len(questions())) * float64(r.Rate) * (r.Took.Seconds() + 1)
	l.limited = max(0, l.aimed-within)
	return l
}
