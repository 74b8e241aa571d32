package memory

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ampoule/libos/telemetry"
)

// fake is a machine with 100 MiB, and connections on it: those that take nothing, and
// others. What one has is garbage when it is ended.
type fake struct {
	live, garbage int // KiB
	stalled, idle int
	collections   int
	hold          int // KiB of one that is stalled
	slow          time.Duration
	anyone        int // others that were ended
}

const all = 100 << 10 // KiB

func (f *fake) machine() Machine {
	return Machine{
		Room: func() (uint64, uint64) { return uint64(max(all-f.live-f.garbage, 0)) << 10, all << 10 },
		Collect: func() {
			f.collections++
			f.garbage = 0
			time.Sleep(f.slow)
		},
	}
}

func (f *fake) Shed(n int, any bool) int {
	ended := min(n, f.stalled)
	f.stalled -= ended
	f.end(ended * f.hold)
	if any {
		more := min(n-ended, f.idle)
		f.idle -= more
		f.anyone += more
		f.end(more * 16)
		ended += more
	}
	return ended
}

func (f *fake) end(n int) { f.live, f.garbage = f.live-n, f.garbage+n }

func guard(f *fake) (*Guard, *bytes.Buffer) {
	var b bytes.Buffer
	return New(f.machine(), f, telemetry.New(&b, time.Now, telemetry.Info)), &b
}

// TestGate fills memory in every order with what is garbage, stalled or in use: Gate never
// lets in what there is no room for, ends nobody while garbage is all that is in the way,
// and others than those who take nothing only when there are none of these.
func TestGate(t *testing.T) {
	for name, c := range map[string]struct {
		f           fake
		pass        bool
		full        bool
		collections int
		ended       int // of the stalled, at least
		anyone      bool
	}{
		"room":                     {f: fake{live: all - all/tight - 1}, pass: true},
		"garbage":                  {f: fake{live: all / 2, garbage: all / 2}, pass: true, collections: 1},
		"scarce":                   {f: fake{live: all - all/tight - 10, garbage: 10, stalled: 200, hold: 80}, pass: true, collections: 2, ended: 40},
		"stalled, large":           {f: fake{live: all - 100, stalled: 400, hold: 80, idle: 1000}, pass: true, collections: 2, ended: 100},
		"stalled, small":           {f: fake{live: all - 100, stalled: 4000, hold: 8}, pass: true, full: true, collections: rounds, ended: 300},
		"stalled who hold less":    {f: fake{live: all - all/last + 10, stalled: 10, hold: 80, idle: 4000}, full: true, pass: true, collections: 3, ended: 10, anyone: true},
		"nobody stalls":            {f: fake{live: all - 10, idle: 4000}, pass: true, full: true, collections: 3, anyone: true},
		"nobody":                   {f: fake{live: all - 10}, full: true, collections: 1},
		"nobody, and some is left": {f: fake{live: all - all/last - 10}, pass: true, full: true, collections: 1},
	} {
		before := c.f.stalled
		g, _ := guard(&c.f)
		if pass := g.Gate(); pass != c.pass || g.Full() != c.full || c.f.collections != c.collections || before-c.f.stalled < c.ended || (c.f.anyone > 0) != c.anyone {
			t.Errorf("%s: let in %v, short %v, after %d collections, %d stalled ones ended, %d others; want %v, %v, %d, %d, %v",
				name, pass, g.Full(), c.f.collections, before-c.f.stalled, c.f.anyone, c.pass, c.full, c.collections, c.ended, c.anyone)
		}
		if free, _ := c.f.machine().Room(); g.Gate() && free < all<<10/last {
			t.Errorf("%s: %d bytes are left, and more is let in", name, free)
		}
	}
}

// TestGateInVain: when nothing helps, collections are far apart, and nothing is let in.
func TestGateInVain(t *testing.T) { synctest.Test(t, gateInVain) }

func gateInVain(t *testing.T) {
	f := &fake{live: all - 10, slow: 20 * time.Millisecond}
	g, _ := guard(f)
	for range 1000 {
		if g.Gate() {
			t.Fatal("without memory there is something let in")
		}
	}
	if f.collections != 1 {
		t.Errorf("%d collections in a moment", f.collections)
	}
	time.Sleep(time.Until(g.vain))
	f.live = all / 2
	f.garbage = all / 2
	if !g.Gate() || g.Full() || f.collections != 2 {
		t.Errorf("with memory: short %v, %d collections", g.Full(), f.collections)
	}
}

// TestLook: memory is short only when a collection has not helped, collections are far
// apart, some connections are ended at a time, and the log has it.
func TestLook(t *testing.T) { synctest.Test(t, look) }

func look(t *testing.T) {
	f := &fake{slow: 50 * time.Millisecond, hold: 80}
	g, log := guard(f)
	const some = all - all/scarce + 1000
	for i, step := range []struct {
		live, garbage int
		stalled       int
		wait          bool // until it may collect again
		full          bool
		collections   int
		ended         int
		say           string
	}{
		{live: some - 2000, collections: 0},
		{live: some - 5000, garbage: 5000, collections: 1},
		{live: some, stalled: 3, collections: 1},
		{live: some, wait: true, full: true, collections: 2, say: "no connections are taken"},
		{live: some, full: true, stalled: 3, collections: 2},
		{live: some, wait: true, full: true, stalled: 300, collections: 3, ended: 83, say: "connections=83 free="},
		{live: some, full: true, stalled: 300, collections: 3},
		{live: some - 5000, wait: true, collections: 3, say: "memory is there again"},
		{live: some - 5000, collections: 3},
	} {
		if step.wait {
			time.Sleep(time.Until(g.looks))
		}
		f.live, f.garbage, f.stalled = step.live, step.garbage, step.stalled
		log.Reset()
		g.Look()
		if g.Full() != step.full || f.collections != step.collections || f.stalled != step.stalled-step.ended {
			t.Errorf("step %d: short %v, %d collections, %d are ended; want %v, %d, %d", i,
				g.Full(), f.collections, step.stalled-f.stalled, step.full, step.collections, step.ended)
		}
		if said := log.String(); (said == "") != (step.say == "") || !strings.Contains(said, step.say) {
			t.Errorf("step %d: the log says %q", i, said)
		}
	}
}

// TestHere: a host has enough, and the pages that an appliance has (guesttest).
func TestHere(t *testing.T) {
	g := New(Here(), &fake{}, nil)
	if g.Tight() || g.Full() || !g.Gate() {
		t.Error("memory of the host is short")
	}
}
