package tcp

import (
	"time"

	"gvisor.dev/gvisor/pkg/sync"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// Sizes of data, in bytes, for which segments are kept with all that belongs to them:
// small for requests, so that what is received takes about the memory that it is
// counted for, large for what fits a frame.
const (
	smallFlat = 512
	largeFlat = 2048
)

// confirmEvery is how often a connection confirms that its neighbour is reachable.
// It is so for 15 seconds at least.
const confirmEvery = time.Second

// flats are segments that are not in use, with a packet and its memory in one piece:
// made anew, each is four objects from four lists, and cleared.
type flats struct{ small, large sync.Pool }

// flat is a segment for n bytes, up to largeFlat: with a packet to Refill, and all
// else zero.
func (f *flats) flat(n int) *segment {
	list, size := &f.small, smallFlat
	if n > smallFlat {
		list, size = &f.large, largeFlat
	}
	if s, ok := list.Get().(*segment); ok {
		return s
	}
	s := newSegment()
	s.flat = true
	s.pkt = stack.NewFlat(size)
	return s
}

// recycle is DecRef for a segment that is in no list. One that is not flat's is left to
// the lists that it came from.
func (f *flats) recycle(s *segment) {
	if s.flat && s.ReadRefs() == 1 && s.ep == nil {
		switch {
		case s.pkt.Flat(largeFlat):
			s.clean()
			f.large.Put(s)
			return
		case s.pkt.Flat(smallFlat):
			s.clean()
			f.small.Put(s)
			return
		}
	}
	s.DecRef()
}

// clean makes all zero that may have been set in a segment from flat.
func (s *segment) clean() {
	s.qFlags, s.flags, s.xmitCount = 0, 0, 0
	s.acked, s.lost, s.hasNewSACKInfo = false, false, false
}
