package netif

import "ampoule/libos/device"

// Tap is called with the start of a frame, from its Ethernet header on, and its
// whole length. It must neither block nor keep the frame.
type Tap = func(frame []byte, size int, sent bool)

// SetTap has tap called with each frame that is received, ahead of everything else,
// and each that is given to the device; nil ends that. A frame that is received may
// still change while the tap looks at it; the checksums of one that is sent may be
// the device's to complete. An image in which feature.Capture is off has none of
// this.
func (s *Stack) SetTap(tap Tap) {
	if tap == nil {
		s.link.tap.Store(nil)
		return
	}
	s.link.tap.Store(&tap)
}

// watch shows frames to the tap, if there is one.
func (l *link) watch(frames []device.Frame, sent bool) {
	tap := l.tap.Load()
	if tap == nil {
		return
	}
	for i := range frames {
		size := 0
		for b := frames[i].Buf; b != nil; b = b.Next() {
			size += b.Len()
		}
		(*tap)(frames[i].Buf.Bytes(), size, sent)
	}
}
