// Package console writes to the machine's console without ever waiting for it.
//
// What the console does not take at once is kept in a bounded buffer and
// offered again later; what does not fit is dropped, oldest lines last kept,
// and the number of bytes lost is written once there is room. A console that
// never drains costs the buffer, nothing else.
package console

import (
	"strconv"
	"sync"
	"time"
)

// Put offers bytes to the console hardware and answers how many it took, from the
// first one on. It must not block or keep p.
type Put func(p []byte) int

// Words makes a Put of hardware that takes up to 8 bytes at a time, the first in
// the low byte.
func Words(put func(bytes uint64, n int) int) Put {
	return func(p []byte) (total int) {
		for len(p) > 0 {
			var w uint64
			k := min(len(p), 8)
			for i, b := range p[:k] {
				w |= uint64(b) << (8 * i)
			}
			took := put(w, k)
			if took <= 0 || took > k {
				break
			}
			p = p[took:]
			total += took
		}
		return total
	}
}

// Size of the buffer in bytes.
const Size = 16 << 10

// retry is how long a console that takes nothing is left alone.
const retry = 2 * time.Millisecond

// Console is an io.Writer. All methods may be called from any goroutine.
type Console struct {
	put Put

	mu       sync.Mutex
	buf      [Size]byte
	head, n  int // first byte and number of bytes buffered
	lost     int // bytes dropped since the last that got through
	draining bool
	dropped  uint64
}

// New makes a console on put.
func New(put Put) *Console { return &Console{put: put} }

// Write takes all of p, or drops what the buffer has no room for. It does not
// block and its error is always nil.
func (c *Console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reportLoss()
	for _, b := range p {
		if c.n == Size {
			c.flush()
		}
		c.add(b)
	}
	c.flush()
	if c.n > 0 && !c.draining {
		c.draining = true
		go c.drain()
	}
	return len(p), nil
}

// Dropped is the number of bytes that were lost since New.
func (c *Console) Dropped() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dropped
}

// add appends a byte. Called with mu held.
func (c *Console) add(b byte) {
	if c.n == Size {
		c.lost++
		c.dropped++
		return
	}
	c.buf[(c.head+c.n)%Size] = b
	c.n++
}

// reportLoss says how much is missing, when there is room for that again.
func (c *Console) reportLoss() {
	if c.lost == 0 || c.n > Size/2 {
		return
	}
	n := c.lost
	c.lost = 0
	for _, b := range []byte("\n[console: " + strconv.Itoa(n) + " bytes lost]\n") {
		c.add(b)
	}
}

// flush offers the buffer to the hardware until it takes no more: all at once,
// where the buffer does not wrap.
func (c *Console) flush() {
	for c.n > 0 {
		p := c.buf[c.head:min(c.head+c.n, Size)]
		took := c.put(p)
		if took <= 0 || took > len(p) {
			return
		}
		c.head = (c.head + took) % Size
		if c.n -= took; c.n == 0 {
			c.head = 0
		}
	}
}

// Sync waits until all that was written is out, for at most limit, and says
// whether it is: for the last words of a VM.
func (c *Console) Sync(limit time.Duration) bool {
	for end := time.Now().Add(limit); ; time.Sleep(retry) {
		c.mu.Lock()
		c.flush()
		left := c.n
		c.mu.Unlock()
		if left == 0 || !time.Now().Before(end) {
			return left == 0
		}
	}
}

// drain flushes until the buffer is empty.
func (c *Console) drain() {
	for {
		time.Sleep(retry)
		c.mu.Lock()
		c.flush()
		c.reportLoss()
		if c.n == 0 {
			c.draining = false
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
	}
}
