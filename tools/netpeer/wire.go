package netpeer

import (
	"container/heap"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"time"
)

// Direction of a frame on the cable.
type Direction int

const (
	ToGuest Direction = iota
	FromGuest
)

// Impairment says what the cable does to the frames of one direction. The zero
// value is a perfect cable. What happens to the n-th frame depends on Seed
// only.
type Impairment struct {
	Loss      float64       // share of frames lost, 0 to 1
	Duplicate float64       // share sent twice
	Reorder   float64       // share held back for ReorderBy
	ReorderBy time.Duration // default 3 ms
	Delay     time.Duration // of every frame
	Jitter    time.Duration // up to so much more, in order
	Seed      uint64
}

// Stats counts the frames of one direction.
type Stats struct {
	Frames, Lost, Duplicated, Reordered uint64
	Overflow                            uint64 // dropped because too many were delayed
}

// maxDelayed bounds the frames that wait on the cable in one direction.
const maxDelayed = 4096

// Wire carries frames between two ends, each a file of which one Read or Write
// is one frame.
type Wire struct {
	ends [2]io.ReadWriteCloser // by the direction that writes to it
	dirs [2]*lane
	wg   sync.WaitGroup

	mu       sync.Mutex
	watchers []func(Direction, []byte)
}

// NewWire connects guest and host until Close, which closes both.
func NewWire(guest, host io.ReadWriteCloser) *Wire {
	w := &Wire{ends: [2]io.ReadWriteCloser{ToGuest: guest, FromGuest: host}}
	for d := range w.dirs {
		w.dirs[d] = newLane(w.ends[d].Write)
	}
	w.wg.Add(2)
	go w.pump(ToGuest, host)
	go w.pump(FromGuest, guest)
	return w
}

// pump reads the frames of one direction until its source is closed.
func (w *Wire) pump(d Direction, from io.Reader) {
	defer w.wg.Done()
	buf := make([]byte, MaxFrame)
	for {
		n, err := from.Read(buf)
		if errors.Is(err, os.ErrClosed) || errors.Is(err, io.EOF) {
			return
		}
		if err != nil || n == 0 {
			// The guest's end goes away with QEMU: nothing comes any more.
			return
		}
		w.show(d, buf[:n])
		w.dirs[d].put(buf[:n])
	}
}

// Impair changes what the cable does from now on.
func (w *Wire) Impair(d Direction, i Impairment) { w.dirs[d].impair(i) }

// Stats returns the counts of a direction since the start.
func (w *Wire) Stats(d Direction) Stats {
	l := w.dirs[d]
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stats
}

// Watch has f called with each frame that enters the cable, before it is
// impaired. f must not block nor keep the frame; calls do not overlap.
func (w *Wire) Watch(f func(d Direction, frame []byte)) {
	w.mu.Lock()
	w.watchers = append(w.watchers, f)
	w.mu.Unlock()
}

func (w *Wire) show(d Direction, frame []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.watchers {
		f(d, frame)
	}
}

// Inject sends a frame past all impairments and watchers. It may block for as
// long as the receiver takes no frames.
func (w *Wire) Inject(d Direction, frame []byte) error {
	_, err := w.ends[d].Write(frame)
	return err
}

// Close ends the cable and waits for its goroutines.
func (w *Wire) Close() error {
	err := errors.Join(w.ends[0].Close(), w.ends[1].Close())
	w.wg.Wait()
	for _, l := range w.dirs {
		l.close()
	}
	return err
}

// lane is one direction: it decides each frame's fate and delivers it when its
// time has come.
type lane struct {
	deliver func([]byte) (int, error)
	mu      sync.Mutex
	imp     Impairment
	rnd     *rand.Rand
	stats   Stats
	queue   delayed
	seq     uint64
	last    time.Time     // due time of the latest frame that was not held back
	kick    chan struct{} // capacity 1: the queue has a new head
	done    chan struct{}
	wg      sync.WaitGroup
}

func newLane(deliver func([]byte) (int, error)) *lane {
	l := &lane{deliver: deliver, kick: make(chan struct{}, 1), done: make(chan struct{})}
	l.impair(Impairment{})
	l.wg.Add(1)
	go l.run()
	return l
}

func (l *lane) impair(i Impairment) {
	if i.ReorderBy == 0 {
		i.ReorderBy = 3 * time.Millisecond
	}
	l.mu.Lock()
	l.imp, l.rnd = i, rand.New(rand.NewPCG(i.Seed, 0x7769_7265))
	l.mu.Unlock()
}

// put sends a copy of frame on its way; it blocks only when the cable is
// perfect and the receiver full.
func (l *lane) put(frame []byte) {
	l.mu.Lock()
	due, copies := l.fate(time.Now())
	if copies == 1 && due.IsZero() && len(l.queue) == 0 {
		l.mu.Unlock()
		l.deliver(frame) // an error means that the receiver is gone
		return
	}
	for range copies {
		if len(l.queue) >= maxDelayed {
			l.stats.Overflow++
			break
		}
		l.seq++
		heap.Push(&l.queue, item{due, l.seq, append([]byte(nil), frame...)})
	}
	l.mu.Unlock()
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// fate draws the same number of random values for each frame, whatever
// happens to it, so that one frame's fate does not change another's. It holds
// mu. A zero due time means at once.
func (l *lane) fate(now time.Time) (due time.Time, copies int) {
	lost, dup, held := l.rnd.Float64() < l.imp.Loss, l.rnd.Float64() < l.imp.Duplicate, l.rnd.Float64() < l.imp.Reorder
	jitter := time.Duration(l.rnd.Float64() * float64(l.imp.Jitter))
	l.stats.Frames++
	switch copies = 1; {
	case lost:
		l.stats.Lost++
		return due, 0
	case dup:
		l.stats.Duplicated++
		copies = 2
	}
	if held {
		l.stats.Reordered++
		return now.Add(l.imp.Delay + jitter + l.imp.ReorderBy), copies
	}
	if l.imp.Delay+l.imp.Jitter == 0 {
		return due, copies
	}
	due = now.Add(l.imp.Delay + jitter)
	if due.Before(l.last) {
		due = l.last
	}
	l.last = due
	return due, copies
}

// run delivers what was queued when it is due.
func (l *lane) run() {
	defer l.wg.Done()
	t := time.NewTimer(time.Hour)
	defer t.Stop()
	for {
		l.mu.Lock()
		wait := time.Hour
		var frame []byte
		if len(l.queue) > 0 {
			if wait = time.Until(l.queue[0].due); wait <= 0 {
				frame = heap.Pop(&l.queue).(item).frame
			}
		}
		l.mu.Unlock()
		if frame != nil {
			l.deliver(frame)
			continue
		}
		t.Reset(wait)
		select {
		case <-t.C:
		case <-l.kick:
		case <-l.done:
			return
		}
	}
}

func (l *lane) close() {
	close(l.done)
	l.wg.Wait()
}

// item is a frame on the cable, delayed a heap of them by due time.
type item struct {
	due   time.Time
	seq   uint64
	frame []byte
}

type delayed []item

func (q delayed) Len() int { return len(q) }
func (q delayed) Less(i, j int) bool {
	if q[i].due.Equal(q[j].due) {
		return q[i].seq < q[j].seq
	}
	return q[i].due.Before(q[j].due)
}
func (q delayed) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *delayed) Push(x any)   { *q = append(*q, x.(item)) }
func (q *delayed) Pop() any {
	old := *q
	x := old[len(old)-1]
	old[len(old)-1] = item{}
	*q = old[:len(old)-1]
	return x
}
