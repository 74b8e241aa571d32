package netif

import (
	"errors"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"ampoule/libos/config/feature"
	"ampoule/libos/device"
	"ampoule/libos/iopage"
)

// sendBatch is the most frames handed to the device at once.
const sendBatch = 64

// The longest that one packet waits for room in the ring, in steps that double
// from the first. Whoever waits holds up all other senders: that is the
// back-pressure. When the time is over the packet is dropped, and until the
// device has taken a frame again others are dropped without a wait.
const (
	firstPause = 20 * time.Microsecond
	lastPause  = 2560 * time.Microsecond
)

// transmitter puts frames into the device's ring, from any goroutine.
type transmitter struct {
	l *link

	mu      sync.Mutex
	frames  [sendBatch]device.Frame // frames[:n] are built and not yet sent
	n       int
	stalled bool // the last wait was in vain
}

func (t *transmitter) init(l *link) { t.l = l }

// WritePackets implements stack.LinkEndpoint. It copies, so the packets stay
// the caller's. It may block for a few milliseconds while the ring is full.
func (l *link) WritePackets(pkts stack.PacketBufferList) (int, tcpip.Error) {
	t := &l.tx
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, pkt := range pkts.AsSlice() {
		if err := t.add(pkt); err != nil {
			t.flush()
			return i, err
		}
	}
	if !t.flush() {
		return 0, &tcpip.ErrNoBufferSpace{}
	}
	return pkts.Len(), nil
}

// add appends pkt to the batch.
func (t *transmitter) add(pkt *stack.PacketBuffer) tcpip.Error {
	if t.n == len(t.frames) && !t.flush() {
		return &tcpip.ErrNoBufferSpace{}
	}
	size := pkt.Size()
	if size > t.l.info.MTU+ethernetSize && pkt.GSOOptions.Type == stack.GSONone {
		t.l.count.txInvalid.Add(1)
		return &tcpip.ErrMessageTooLong{}
	}
	buf := t.alloc(size)
	if buf == nil {
		t.l.count.txDropped.Add(1)
		return &tcpip.ErrNoBufferSpace{}
	}
	fill(buf, 0, pkt, 0)
	f := device.Frame{Buf: buf}
	if !t.l.offload(&f, pkt) {
		buf.Release()
		t.l.count.txInvalid.Add(1)
		return &tcpip.ErrMessageTooLong{}
	}
	t.frames[t.n] = f
	t.n++
	if feature.Capture {
		t.l.watch(t.frames[t.n-1:t.n], true)
	}
	return nil
}

// alloc gives a chain of pages with windows of n bytes in sum, or nil when
// there is none to be had in time.
func (t *transmitter) alloc(n int) *iopage.Buf {
	if t.l.chains != nil {
		return t.pages(n)
	}
	head := t.page()
	if head == nil {
		return nil
	}
	room := min(t.l.info.HeadRoom, iopage.Size)
	at, last := room, head
	for {
		k := min(n, iopage.Size-at)
		last.SetWindow(at, k)
		if n -= k; n == 0 {
			return head
		}
		next := t.page()
		if next == nil {
			head.Release()
			return nil
		}
		last.SetNext(next)
		at, last = 0, next
	}
}

// page allocates one page.
func (t *transmitter) page() *iopage.Buf { return t.pages(0) }

// pages allocates one page, or those of n bytes, which then have their windows. While
// all are in use it sends what is built and waits for the device to give some back.
func (t *transmitter) pages(n int) (b *iopage.Buf) {
	for pause := firstPause; ; pause *= 2 {
		var err error
		if n > 0 {
			b, err = t.l.chains.AllocChain(n)
		} else {
			b, err = t.l.dev.Alloc()
		}
		if err == nil {
			return b
		}
		if !errors.Is(err, device.ErrAgain) || !t.wait(pause) {
			return nil
		}
	}
}

// wait pauses and says whether it is worth another try.
func (t *transmitter) wait(pause time.Duration) bool {
	if t.stalled || pause > lastPause || t.l.closed.Load() {
		t.stalled = true
		return false
	}
	if t.n > 0 && t.send() > 0 {
		return true
	}
	time.Sleep(pause)
	return true
}

// flush sends the batch, waiting within bounds, and says whether all of it
// went out. The batch is empty afterwards in either case.
func (t *transmitter) flush() bool {
	pause := firstPause
	for t.n > 0 {
		if t.send() > 0 {
			pause = firstPause
			continue
		}
		if !t.wait(pause) {
			break
		}
		pause *= 2
	}
	if t.n == 0 {
		return true
	}
	t.l.count.txDropped.Add(uint64(t.n))
	for i := range t.frames[:t.n] {
		t.frames[i].Buf.Release()
		t.frames[i] = device.Frame{}
	}
	t.n = 0
	return false
}

// send offers the batch to the device once and returns how many it took.
func (t *transmitter) send() int {
	n, err := t.l.dev.Send(t.frames[:t.n])
	if n > 0 {
		t.stalled = false
		t.l.count.txFrames.Add(uint64(n))
		copy(t.frames[:], t.frames[n:t.n])
		clear(t.frames[t.n-n : t.n])
		t.n -= n
		return n
	}
	if err != nil && !errors.Is(err, device.ErrAgain) {
		t.stalled = true
	}
	return 0
}

// fill copies pkt but for its last octets, tail of them, into the windows of the chain,
// from the given byte of the first on. They have room for it.
func fill(buf *iopage.Buf, at int, pkt *stack.PacketBuffer, tail int) {
	views, skip := pkt.AsViewList()
	dst := buf.Bytes()[at:]
	for v := views.Front(); v != nil; v = v.Next() {
		src := v.AsSlice()
		if skip >= len(src) {
			skip -= len(src)
			continue
		}
		src, skip = src[skip:], 0
		if tail > 0 && v.Next() == nil {
			src = src[:len(src)-tail] // which constant took from it
		}
		for len(src) > len(dst) {
			src = src[copy(dst, src):]
			buf = buf.Next()
			dst = buf.Bytes()
		}
		dst = dst[copy(dst, src):]
	}
}
