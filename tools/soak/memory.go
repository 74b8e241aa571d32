package main

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"sync"
	"time"
)

// sample is one memory line of the guest.
type sample struct {
	at        time.Time
	heap      uint64 // bytes
	sys       uint64 // bytes that the Go runtime has ever taken
	pagesFree uint64 // I/O pages
}

// memory collects the guest's memory lines:
//
//	... memory host=echo heap=1234567 sys=2345678 pages_free=500 ...
type memory struct {
	mu      sync.Mutex
	samples []sample
}

func newMemory() *memory { return &memory{} }

var memoryLine = regexp.MustCompile(`\bmemory (?:\S+ )*?heap=(\d+) (?:\S+ )*?sys=(\d+) (?:\S+ )*?pages_free=(\d+)`)

// line takes a console line.
func (m *memory) line(s string) {
	f := memoryLine.FindStringSubmatch(s)
	if f == nil {
		return
	}
	var n [3]uint64
	for i := range n {
		v, err := strconv.ParseUint(f[i+1], 10, 64)
		if err != nil {
			return
		}
		n[i] = v
	}
	m.mu.Lock()
	m.samples = append(m.samples, sample{time.Now(), n[0], n[1], n[2]})
	m.mu.Unlock()
}

// best is the lowest memory use seen since a moment: of the heap, garbage that
// no collection has met yet comes and goes, so the lowest is what is held.
func (m *memory) best(since time.Time) (sample, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var b sample
	for _, s := range m.samples {
		if s.at.Before(since) {
			continue
		}
		if b.at.IsZero() {
			b = s
		}
		b.heap, b.sys, b.pagesFree = min(b.heap, s.heap), min(b.sys, s.sys), max(b.pagesFree, s.pagesFree)
	}
	if b.at.IsZero() {
		return b, errors.New("the guest logged no memory line: is stats= on its command line understood?")
	}
	return b, nil
}

// peak is the highest memory use of all.
func (m *memory) peak() sample {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := sample{pagesFree: ^uint64(0)}
	for _, s := range m.samples {
		p.heap, p.sys, p.pagesFree = max(p.heap, s.heap), max(p.sys, s.sys), min(p.pagesFree, s.pagesFree)
	}
	return p
}

// slack is how far memory may be from where it was. The live heap of an
// appliance is well under a megabyte, so a tenth of it is less than what Go's
// maps and pools keep after a busier moment than any before: it may also be
// heapSlack bytes off, which is 1.6% of the guest's 32 MiB.
const (
	slack     = 0.10
	heapSlack = 512 << 10
)

// back says what is wrong when end is not within slack of start. sys is not
// compared: the Go runtime takes RAM in steps of 4 MiB and keeps it.
func back(start, end sample) error {
	var errs []error
	if end.heap > start.heap+max(uint64(float64(start.heap)*slack), heapSlack) {
		errs = append(errs, fmt.Errorf("heap was %d bytes and is %d after the load", start.heap, end.heap))
	}
	if float64(end.pagesFree) < float64(start.pagesFree)*(1-slack) {
		errs = append(errs, fmt.Errorf("%d I/O pages were free, and %d are after the load", start.pagesFree, end.pagesFree))
	}
	return errors.Join(errs...)
}
