package netpeer

import (
	"encoding/binary"
	"io"
	"slices"
	"sync"
	"testing"
	"time"
)

// end is one end of a wire under test: frames sent in come out of Read, frames
// written are kept.
type end struct {
	in     chan []byte
	closed chan struct{}
	once   sync.Once
	mu     sync.Mutex
	got    []uint32
	times  []time.Time
}

func newEnd() *end { return &end{in: make(chan []byte), closed: make(chan struct{})} }

func (e *end) Read(p []byte) (int, error) {
	select {
	case f := <-e.in:
		return copy(p, f), nil
	case <-e.closed:
		return 0, io.EOF
	}
}

func (e *end) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.got = append(e.got, binary.BigEndian.Uint32(p))
	e.times = append(e.times, time.Now())
	return len(p), nil
}

func (e *end) Close() error {
	e.once.Do(func() { close(e.closed) })
	return nil
}

// frames sends n numbered frames over a wire impaired by i and returns those
// that arrive within settle after the last, and the direction's counts.
func frames(t *testing.T, i Impairment, n int, settle time.Duration) ([]uint32, Stats) {
	t.Helper()
	host, guest := newEnd(), newEnd()
	w := NewWire(guest, host)
	w.Impair(ToGuest, i)
	for k := range n {
		host.in <- binary.BigEndian.AppendUint32(nil, uint32(k))
	}
	time.Sleep(settle)
	s := w.Stats(ToGuest)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if len(host.got) != 0 {
		t.Error("frames came back")
	}
	return guest.got, s
}

func numbers(n int) []uint32 {
	out := make([]uint32, n)
	for i := range out {
		out[i] = uint32(i)
	}
	return out
}

func TestPerfectWire(t *testing.T) {
	got, s := frames(t, Impairment{}, 1000, 50*time.Millisecond)
	if !slices.Equal(got, numbers(1000)) || s != (Stats{Frames: 1000}) {
		t.Errorf("%d frames, %+v", len(got), s)
	}
}

func TestLossDependsOnSeed(t *testing.T) {
	const n = 2000
	a, s := frames(t, Impairment{Loss: 0.1, Seed: 1}, n, 50*time.Millisecond)
	b, _ := frames(t, Impairment{Loss: 0.1, Seed: 1}, n, 50*time.Millisecond)
	c, _ := frames(t, Impairment{Loss: 0.1, Seed: 2}, n, 50*time.Millisecond)
	if !slices.Equal(a, b) {
		t.Error("the same seed lost other frames")
	}
	if slices.Equal(a, c) {
		t.Error("another seed lost the same frames")
	}
	if s.Lost < 140 || s.Lost > 260 || len(a) != n-int(s.Lost) {
		t.Errorf("%d arrived, %+v", len(a), s)
	}
}

func TestLossIsNotMovedByOthers(t *testing.T) {
	a, _ := frames(t, Impairment{Loss: 0.1, Seed: 1}, 1000, 50*time.Millisecond)
	b, _ := frames(t, Impairment{Loss: 0.1, Duplicate: 0.3, Reorder: 0.2, Seed: 1}, 1000, 100*time.Millisecond)
	slices.Sort(b)
	if !slices.Equal(a, slices.Compact(b)) {
		t.Error("duplication or reordering changed which frames are lost")
	}
}

func TestDuplicate(t *testing.T) {
	got, s := frames(t, Impairment{Duplicate: 0.2, Seed: 3}, 1000, 50*time.Millisecond)
	if s.Duplicated < 140 || len(got) != 1000+int(s.Duplicated) {
		t.Errorf("%d arrived, %+v", len(got), s)
	}
}

func TestReorder(t *testing.T) {
	got, s := frames(t, Impairment{Reorder: 0.1, Seed: 4}, 1000, 100*time.Millisecond)
	if s.Reordered < 60 || slices.IsSorted(got) {
		t.Errorf("%+v, sorted: %v", s, slices.IsSorted(got))
	}
	slices.Sort(got)
	if !slices.Equal(got, numbers(1000)) {
		t.Error("reordering lost or repeated a frame")
	}
}

func TestDelayKeepsOrder(t *testing.T) {
	host, guest := newEnd(), newEnd()
	w := NewWire(guest, host)
	w.Impair(ToGuest, Impairment{Delay: 20 * time.Millisecond, Jitter: 5 * time.Millisecond})
	start := time.Now()
	for k := range 100 {
		host.in <- binary.BigEndian.AppendUint32(nil, uint32(k))
	}
	time.Sleep(100 * time.Millisecond)
	w.Close()
	if !slices.Equal(guest.got, numbers(100)) {
		t.Fatalf("%d frames arrived, or in another order", len(guest.got))
	}
	if d := guest.times[0].Sub(start); d < 20*time.Millisecond {
		t.Errorf("the first frame took %v", d)
	}
}

func TestWireIsBounded(t *testing.T) {
	got, s := frames(t, Impairment{Delay: time.Hour}, maxDelayed+10, 50*time.Millisecond)
	if len(got) != 0 || s.Overflow != 10 {
		t.Errorf("%d arrived, %+v", len(got), s)
	}
}

func TestInjectAndWatch(t *testing.T) {
	host, guest := newEnd(), newEnd()
	w := NewWire(guest, host)
	w.Impair(ToGuest, Impairment{Loss: 1})
	var seen []Direction
	w.Watch(func(d Direction, f []byte) { seen = append(seen, d) })
	if err := w.Inject(ToGuest, []byte{0, 0, 0, 7}); err != nil {
		t.Fatal(err)
	}
	guest.in <- []byte{0, 0, 0, 8}
	host.in <- []byte{0, 0, 0, 9}
	w.Close()
	if !slices.Equal(guest.got, []uint32{7}) || !slices.Equal(host.got, []uint32{8}) || len(seen) != 2 {
		t.Errorf("guest got %v, host got %v, seen %v", guest.got, host.got, seen)
	}
}
