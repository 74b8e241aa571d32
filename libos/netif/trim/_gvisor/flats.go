package tcp

import (
	"math/bits"
	"time"

	"gvisor.dev/gvisor/pkg/sync"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// Segments are kept with a packet and its memory, in pieces of these sizes and the
// powers of two between them, in bytes: so what is received takes about the memory that
// it is counted for, as with the stack's own chunks.
const (
	smallFlat = 256
	largeFlat = 2048
)

// confirmEvery is how often a connection confirms that its neighbour is reachable.
// It is so for 15 seconds at least.
const confirmEvery = time.Second

// flats are segments that are not in use, with a packet and its memory in one piece:
// made anew, each is four objects from four lists, and cleared.
type flats [4]sync.Pool

// flat is a segment for n bytes, up to largeFlat: with a packet to Refill, and all
// else zero.
func (f *flats) flat(n int) *segment {
	i := bits.Len(uint(n-1) / smallFlat)
	if s, ok := f[i].Get().(*segment); ok {
		return s
	}
	s := newSegment()
	s.flat = uint8(i + 1)
	s.pkt = stack.NewFlat(smallFlat << i)
	return s
}

// recycle is DecRef for a segment that is in no list. One that is not flat's is left to
// the lists that it came from.
func (f *flats) recycle(s *segment) {
	if i := s.flat; i > 0 && s.ReadRefs() == 1 && s.ep == nil && s.pkt.Flat(smallFlat/2<<i) {
		s.qFlags, s.flags, s.xmitCount = 0, 0, 0
		s.acked, s.lost, s.hasNewSACKInfo = false, false, false
		f[i-1].Put(s)
		return
	}
	s.DecRef()
}
