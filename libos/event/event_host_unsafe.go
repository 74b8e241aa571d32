//go:build !ampoule

package event

import (
	"sync/atomic"
	"time"
	"unsafe"
)

// Register makes s known to the poller; it fails when rtabi.MaxSources are
// known already.
func Register(s *Source) error { return nil }

// Unregister undoes Register. No goroutine may be waiting on s.
func Unregister(s *Source) {}

// Ready says whether a call of Wait would return at once. It does not block.
func (s *Source) Ready() bool {
	if atomic.LoadUint32(&s.Woken) != 0 {
		return true
	}
	return s.Counter != nil && load16(s.Counter) != s.Seen
}

// Wait blocks the calling goroutine until s is ready, and takes back a Wake.
// One goroutine at a time may wait on a Source.
func (s *Source) Wait() {
	for !s.Ready() {
		if s.Arm != nil {
			store16(s.Arm, s.Seen)
		}
		if s.Arm32 != nil {
			atomic.StoreUint32(s.Arm32, s.Event)
		}
		time.Sleep(20 * time.Microsecond)
	}
	atomic.StoreUint32(&s.Woken, 0)
}

// Wake makes s ready once, from any goroutine. It does not block and is never
// lost.
func (s *Source) Wake() { atomic.StoreUint32(&s.Woken, 1) }

// load16 and store16 access a word that another party may change. The fake
// peers of the tests are goroutines, so the access is atomic by way of the
// aligned 32-bit word around it.
func load16(p *uint16) uint16 {
	a := uintptr(unsafe.Pointer(p)) & 2
	w := atomic.LoadUint32((*uint32)(unsafe.Add(unsafe.Pointer(p), -int(a))))
	return uint16(w >> (8 * a))
}

func store16(p *uint16, v uint16) {
	a := uintptr(unsafe.Pointer(p)) & 2
	w := (*uint32)(unsafe.Add(unsafe.Pointer(p), -int(a)))
	sh := 8 * a
	for {
		old := atomic.LoadUint32(w)
		if atomic.CompareAndSwapUint32(w, old, old&^(0xffff<<sh)|uint32(v)<<sh) {
			return
		}
	}
}
