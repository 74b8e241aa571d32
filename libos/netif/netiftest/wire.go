package netiftest

import (
	"encoding/binary"
	"math/rand/v2"

	"ampoule/libos/device"
	"ampoule/libos/iopage"
)

// wire is one direction: what happens to a frame between two devices.
type wire struct {
	rng  *rand.Rand
	held []sent // overtaken by the next frame
	tap  func([]byte, device.Meta)
}

type sent struct {
	data []byte
	meta device.Meta
}

func (w *wire) init(o Options) { w.rng = rand.New(rand.NewPCG(o.Seed, 7)) }

// transmit takes f and carries it to the peer.
func (d *Device) transmit(f device.Frame) {
	var data []byte
	for b := f.Buf; b != nil; b = b.Next() {
		data = append(data, b.Bytes()...)
	}
	off, n := f.Buf.Tail()
	data = append(data, d.opts.Constants[off:][:n]...)
	if d.opts.Tailed != nil {
		d.opts.Tailed.Add(int64(n))
	}
	f.Buf.Release()
	d.mu.Lock()
	tap := d.wire.tap
	d.mu.Unlock()
	if tap != nil {
		tap(data, f.Meta)
	}
	for _, s := range d.offload(sent{data, f.Meta}) {
		d.carry(s)
	}
}

// carry rolls the dice for one frame.
func (d *Device) carry(s sent) {
	d.mu.Lock()
	w, o := &d.wire, &d.opts
	if w.rng.Float64() < o.Loss {
		d.mu.Unlock()
		return
	}
	if w.rng.Float64() < o.Reorder {
		w.held = append(w.held, s)
		d.mu.Unlock()
		return
	}
	out := append([]sent{s}, w.held...)
	w.held = nil
	if w.rng.Float64() < o.Repeat {
		out = append(out, s)
	}
	d.mu.Unlock()
	for _, s := range out {
		d.peer.deliver(s.data, s.meta)
	}
}

// deliver puts a frame into d's receive ring, on pages of d's.
func (d *Device) deliver(data []byte, m device.Meta) {
	d.mu.Lock()
	if d.gone || len(d.rx) == d.opts.RxRing {
		d.dropped++
		d.mu.Unlock()
		return
	}
	head := d.page(&data, d.opts.HeadRoom)
	last := head
	for head != nil && len(data) > 0 {
		b := d.page(&data, 0)
		if b == nil {
			head.Release()
			head = nil
			break
		}
		last.SetNext(b)
		last = b
	}
	if head == nil {
		d.dropped++
		d.mu.Unlock()
		return
	}
	d.rx = append(d.rx, device.Frame{Buf: head, Meta: m})
	d.mu.Unlock()
	d.src.Wake()
}

// page moves the start of data to a page of d's.
func (d *Device) page(data *[]byte, at int) *iopage.Buf {
	b, err := d.pool.Get()
	if err != nil {
		return nil
	}
	n := min(len(*data), iopage.Size-at, d.opts.RxPiece)
	b.SetWindow(at, n)
	copy(b.Bytes(), *data)
	*data = (*data)[n:]
	return b
}

// offload does in software what the peer's device doesn't take as it is.
func (d *Device) offload(s sent) []sent {
	o := d.peer.opts.Offload
	if s.meta.State == device.ChecksumNone {
		return []sent{s}
	}
	lro := s.meta.GSO == device.GSOTCP4 && o&device.LRO4 != 0 ||
		s.meta.GSO == device.GSOTCP6 && o&device.LRO6 != 0
	var out []sent
	if s.meta.GSO == device.GSONone || lro && o&device.RxChecksum != 0 {
		out = []sent{s}
	} else {
		out = segment(s)
	}
	if o&device.RxChecksum != 0 {
		return out
	}
	for i := range out {
		complete(&out[i])
	}
	return out
}

// complete finishes a partial checksum.
func complete(s *sent) {
	at := int(s.meta.CsumStart) + int(s.meta.CsumOffset)
	sum := ^Sum(s.data[s.meta.CsumStart:], 0)
	if sum == 0 {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(s.data[at:], sum)
	s.meta = device.Meta{}
}

// Sum is the one's complement sum of RFC 1071, added to start.
func Sum(b []byte, start uint32) uint16 {
	for ; len(b) > 1; b = b[2:] {
		start += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		start += uint32(b[0]) << 8
	}
	for start > 0xffff {
		start = start>>16 + start&0xffff
	}
	return uint16(start)
}

// segment cuts a TCP frame as a device with TSO does. Each piece has a partial
// checksum of its own.
func segment(s sent) []sent {
	tcp, hdr := int(s.meta.CsumStart), int(s.meta.HeaderLen)
	payload := s.data[hdr:]
	var out []sent
	for off := 0; off < len(payload); off += int(s.meta.SegmentSize) {
		part := payload[off:min(off+int(s.meta.SegmentSize), len(payload))]
		b := append(append([]byte(nil), s.data[:hdr]...), part...)
		binary.BigEndian.PutUint32(b[tcp+4:], binary.BigEndian.Uint32(b[tcp+4:])+uint32(off))
		if off+len(part) < len(payload) {
			b[tcp+13] &^= 0x09 // FIN and PSH are the last piece's
		}
		ip := b[14:]
		n := len(b) - tcp
		var pseudo uint16
		if s.meta.GSO == device.GSOTCP4 {
			binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
			binary.BigEndian.PutUint16(ip[4:], binary.BigEndian.Uint16(ip[4:])+uint16(len(out)))
			binary.BigEndian.PutUint16(ip[10:], 0)
			binary.BigEndian.PutUint16(ip[10:], ^Sum(ip[:tcp-14], 0))
			pseudo = Sum(ip[12:20], uint32(6+n))
		} else {
			binary.BigEndian.PutUint16(ip[4:], uint16(len(ip)-40))
			pseudo = Sum(ip[8:40], uint32(6+n))
		}
		binary.BigEndian.PutUint16(b[tcp+16:], pseudo)
		m := s.meta
		m.GSO, m.HeaderLen, m.SegmentSize = device.GSONone, 0, 0
		out = append(out, sent{b, m})
	}
	return out
}
