package netfront

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"ampoule/libos/device"
	"ampoule/libos/iopage"
)

// packet makes a frame of n bytes over IPv4 or IPv6. ext are bytes of IPv6
// extension headers, of 8 each.
func packet(ipv6 bool, proto byte, ext []byte, n int) []byte {
	f := make([]byte, max(n, 14+40+len(ext)*8+20))
	for i := range f {
		f[i] = byte(i*11 + i>>8)
	}
	copy(f, []byte{0, 0x16, 0x3e, 0, 0, 1, 2, 2, 2, 2, 2, 2})
	at := 34
	if ipv6 {
		binary.BigEndian.PutUint16(f[12:], typeIPv6)
		f[14] = 0x60
		next := &f[20]
		at = 54
		for _, x := range ext {
			*next = x
			next = &f[at]
			f[at+1] = 0
			at += 8
		}
		*next = proto
	} else {
		binary.BigEndian.PutUint16(f[12:], typeIPv4)
		f[14], f[20], f[21], f[23] = 0x45, 0x40, 0, proto
	}
	f[at+12] = 0x80 // TCP: 32 bytes of header
	return f[:n]
}

func partial(start, offset uint16) device.Meta {
	return device.Meta{State: device.ChecksumPartial, CsumStart: start, CsumOffset: offset}
}

// gso is the metadata of a large segment.
func gso(kind device.GSOType, start uint16) device.Meta {
	m := partial(start, 16)
	m.GSO, m.HeaderLen, m.SegmentSize = kind, start+32, 1448
	return m
}

// offloads are frames that may have a partial checksum, and what is known of
// them.
var offloads = map[string]struct {
	frame []byte
	m     device.Meta
}{
	"TCP4":                      {packet(false, protoTCP, nil, 100), partial(34, 16)},
	"UDP4":                      {packet(false, protoUDP, nil, 60), partial(34, 6)},
	"TCP6":                      {packet(true, protoTCP, nil, 100), partial(54, 16)},
	"UDP6":                      {packet(true, protoUDP, nil, 62), partial(54, 6)},
	"UDP6 with extensions":      {packet(true, protoUDP, []byte{0, 43, 60}, 300), partial(78, 6)},
	"TCP4 of a page":            {packet(false, protoTCP, nil, 4096), gso(device.GSOTCP4, 34)},
	"TCP4 of a page and a byte": {packet(false, protoTCP, nil, 4097), gso(device.GSOTCP4, 34)},
	"TCP4 of 20000":             {packet(false, protoTCP, nil, 20000), gso(device.GSOTCP4, 34)},
	"TCP6 of 65535":             {packet(true, protoTCP, nil, 65535), gso(device.GSOTCP6, 54)},
	"TCP6 with extensions":      {packet(true, protoTCP, []byte{60, 60}, 9000), gso(device.GSOTCP6, 70)},
}

func TestReceiveOffload(t *testing.T) {
	r := setup{}.open(t)
	for name, c := range offloads {
		r.receives(name, c.frame, c.m)
	}
	r.receives("verified", packet(false, protoTCP, nil, 90), device.Meta{State: device.ChecksumOK})
	r.receives("verified, of no protocol", make([]byte, 60), device.Meta{State: device.ChecksumOK})
	r.receives("plain", packet(false, protoTCP, nil, 90), device.Meta{})
	r.receives("the largest", packet(false, protoTCP, nil, 65535+14), gso(device.GSOTCP4, 34))
	r.whole(0)
}

// receives delivers a frame and checks that it arrives as it is.
func (r *rig) receives(name string, frame []byte, m device.Meta) {
	r.Helper()
	if !r.back.Deliver(frame, m) {
		r.Fatalf("%s: no room", name)
	}
	f := r.recv(name)
	if got := content(f.Buf); !bytes.Equal(got, frame) {
		r.Errorf("%s: %d bytes delivered, %d received, or changed", name, len(frame), len(got))
	}
	if f.Meta != m {
		r.Errorf("%s: metadata %+v, want %+v", name, f.Meta, m)
	}
	f.Buf.Release()
}

func (r *rig) recv(name string) device.Frame {
	r.Helper()
	var f [1]device.Frame
	if n, err := r.dev.Recv(f[:]); n != 1 || err != nil {
		r.Fatalf("%s: Recv = %d, %v (%v)", name, n, err, r.dev.Cause())
	}
	return f[0]
}

func content(b *iopage.Buf) (p []byte) {
	for ; b != nil; b = b.Next() {
		p = append(p, b.Bytes()...)
	}
	return p
}

// whole checks that all pages are there: in the ring, and n elsewhere.
func (r *rig) whole(n int) {
	r.Helper()
	r.dev.tx.mu.Lock()
	r.dev.reap()
	r.dev.tx.mu.Unlock()
	free, _ := r.pool.Free()
	inRing := r.dev.rx.ring.InFlight()
	if !r.dev.rx.live {
		inRing = 0
	}
	if free+inRing+n != r.pool.Len() {
		r.Errorf("%d pages free, %d in the ring, %d elsewhere, of %d", free, inRing, n, r.pool.Len())
	}
}

// chain makes a frame's pages.
func (r *rig) chain(frame []byte) *iopage.Buf {
	r.Helper()
	var head, tail *iopage.Buf
	for len(frame) > 0 {
		b, err := r.dev.Alloc()
		if err != nil {
			r.Fatalf("Alloc: %v", err)
		}
		n := min(len(frame), iopage.Size)
		b.SetWindow(0, n)
		copy(b.Bytes(), frame)
		frame = frame[n:]
		if head == nil {
			head = b
		} else {
			tail.SetNext(b)
		}
		tail = b
	}
	return head
}

func (r *rig) send(frame []byte, m device.Meta) {
	r.Helper()
	if n, err := r.dev.Send([]device.Frame{{Buf: r.chain(frame), Meta: m}}); n != 1 || err != nil {
		r.Fatalf("Send = %d, %v", n, err)
	}
}

func TestSendOffload(t *testing.T) {
	r := setup{}.open(t)
	for name, c := range offloads {
		r.send(c.frame, c.m)
		got, m, ok := r.back.Take()
		if !ok || !bytes.Equal(got, c.frame) {
			t.Errorf("%s: %d bytes sent, %d on the wire, or changed", name, len(c.frame), len(got))
		}
		if m != c.m {
			t.Errorf("%s: metadata %+v, want %+v", name, m, c.m)
		}
	}
	r.whole(0)
}

// TestSendRefuses: what the backend would understand differently, or takes for
// an attack, is refused.
func TestSendRefuses(t *testing.T) {
	tcp := packet(false, protoTCP, nil, 100)
	fragment := packet(false, protoTCP, nil, 100)
	fragment[21] = 1
	more := packet(false, protoTCP, nil, 100)
	more[20] = 0x20
	short := gso(device.GSOTCP4, 34)
	short.SegmentSize = 0
	long := gso(device.GSOTCP4, 34)
	long.HeaderLen = 101
	other := gso(device.GSOTCP6, 34)
	r := setup{}.open(t)
	for name, c := range map[string]struct {
		frame []byte
		m     device.Meta
	}{
		"no protocol":              {make([]byte, 100), partial(34, 16)},
		"ICMP":                     {packet(false, 1, nil, 100), partial(34, 16)},
		"elsewhere":                {tcp, partial(35, 16)},
		"field elsewhere":          {tcp, partial(34, 6)},
		"fragment":                 {fragment, partial(34, 16)},
		"first fragment":           {more, partial(34, 16)},
		"IPv6 fragment":            {packet(true, 44, nil, 100), partial(54, 16)},
		"extensions without end":   {packet(true, 0, bytes.Repeat([]byte{0}, 9), 200), partial(54, 16)},
		"header cut off":           {packet(false, protoTCP, nil, 53), partial(34, 16)},
		"segments of no size":      {tcp, short},
		"headers longer":           {tcp, long},
		"segments of IPv6 in IPv4": {tcp, other},
		"segments of UDP":          {packet(false, protoUDP, nil, 100), gso(device.GSOTCP4, 34)},
		"larger than the protocol": {packet(false, protoTCP, nil, 65536), gso(device.GSOTCP4, 34)},
	} {
		b := r.chain(c.frame)
		n, err := r.dev.Send([]device.Frame{{Buf: b, Meta: c.m}})
		if n != 0 || err == nil || errors.Is(err, device.ErrAgain) || errors.Is(err, device.ErrGone) {
			t.Errorf("%s: Send = %d, %v", name, n, err)
		}
		b.Release()
	}
	// More pages than every backend takes.
	b := r.chain(packet(false, protoTCP, nil, 19*4096)[:19*4096])
	for p := b; p != nil; p = p.Next() {
		p.SetWindow(0, 60)
	}
	if n, err := r.dev.Send([]device.Frame{{Buf: b}}); n != 0 || err == nil {
		t.Errorf("19 pages: Send = %d, %v", n, err)
	}
	b.Release()
	if _, _, ok := r.back.Take(); ok {
		t.Error("something was sent")
	}
	r.whole(0)
}

// FuzzTransport: whatever the bytes, what is found is within them.
func FuzzTransport(f *testing.F) {
	for _, c := range offloads {
		f.Add(c.frame[:min(len(c.frame), 200)])
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) > iopage.Size {
			return
		}
		h, ok := findTransport(p)
		if !ok {
			return
		}
		if int(h.start)+int(h.csumOffset())+2 > len(p) || h.start < 34 {
			t.Fatalf("%+v in %d bytes", h, len(p))
		}
		if h.proto == protoTCP {
			if n := h.headerLen(p); int(n) > len(p) || n != 0 && n < h.start+20 {
				t.Fatalf("headers of %d in %d bytes", n, len(p))
			}
		}
	})
}
