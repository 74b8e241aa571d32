package netif

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"ampoule/libos/config/feature"
	"ampoule/libos/device"
	"ampoule/libos/iopage"
)

// WriteSegment sends a TCP segment that the stack's TCP gives it without going
// through the layers between: h is its header but for length and checksum,
// remote the neighbour that it goes to. It writes all headers straight into an
// I/O page and copies the data behind them, but for what the device can read where it
// lies (see constant). It says false for what it leaves to
// the layers. It may block like WritePackets. Only the trimmed stack calls it
// (package trim).
func (l *link) WriteSegment(r *stack.Route, remote tcpip.LinkAddress, p stack.NetworkHeaderParams, h header.TCPFields, options []byte, data *stack.PacketBuffer, gso stack.GSO) (tcpip.Error, bool) {
	s := segment{at: ethernetSize + ipv4Size, size: tcpSize + len(options)}
	if r.NetProto() == header.IPv6ProtocolNumber {
		s.at = ethernetSize + ipv6Size
	}
	if data != nil {
		s.payload = data.Size()
	}
	frame := s.at + s.size + s.payload
	tooLong := frame > l.info.MTU+ethernetSize && gso.Type == stack.GSONone || frame > maxFrame
	if tooLong || s.at == ethernetSize+ipv4Size && !p.DF || len(remote) != 6 {
		return nil, false
	}
	t := &l.tx
	at, tail := l.constant(data)
	t.mu.Lock()
	buf := t.room(frame - tail)
	if buf == nil {
		t.flush()
		t.mu.Unlock()
		return &tcpip.ErrNoBufferSpace{}, true
	}
	b := buf.Bytes()
	copy(b, remote)
	copy(b[6:], l.LinkAddress())
	local, peer := r.LocalAddress(), r.RemoteAddress()
	if s.at == ethernetSize+ipv4Size {
		binary.BigEndian.PutUint16(b[12:], typeIPv4)
		header4(b[ethernetSize:], &p, local.AsSlice(), peer.AsSlice(), s.size+s.payload)
	} else {
		binary.BigEndian.PutUint16(b[12:], typeIPv6)
		header6(b[ethernetSize:], &p, local.AsSlice(), peer.AsSlice(), s.size+s.payload)
	}
	headerTCP(b[s.at:], &h, options)
	if data != nil {
		fill(buf, s.at+s.size, data, tail)
	}
	if tail > 0 {
		buf.SetTail(at, tail)
	}
	f := device.Frame{Buf: buf}
	l.finish(&f, &s, data, &gso)
	sent := t.append(f)
	t.mu.Unlock()
	if !sent {
		return &tcpip.ErrNoBufferSpace{}, true
	}
	return nil, true
}

// segment is where the TCP header of a frame begins, how long it is, and the
// data behind it, in bytes.
type segment struct{ at, size, payload int }

// room is a chain of pages for a frame of n bytes, or nil.
func (t *transmitter) room(n int) *iopage.Buf {
	if t.n == len(t.frames) && !t.flush() {
		return nil
	}
	buf := t.alloc(n)
	if buf == nil {
		t.l.count.txDropped.Add(1)
	}
	return buf
}

// append sends a frame, with those that are built already, and says whether all
// went out.
func (t *transmitter) append(f device.Frame) bool {
	t.frames[t.n] = f
	t.n++
	if feature.Capture {
		t.l.watch(t.frames[t.n-1:t.n], true)
	}
	return t.flush()
}

// headerTCP writes a TCP header (RFC 9293, section 3.1) without a checksum.
func headerTCP(b []byte, h *header.TCPFields, options []byte) {
	n := tcpSize + len(options)
	b = b[:n]
	binary.BigEndian.PutUint32(b, uint32(h.SrcPort)<<16|uint32(h.DstPort))
	binary.BigEndian.PutUint32(b[4:], h.SeqNum)
	binary.BigEndian.PutUint32(b[8:], h.AckNum)
	binary.BigEndian.PutUint32(b[12:], uint32(n/4)<<28|uint32(h.Flags)<<16|uint32(h.WindowSize))
	binary.BigEndian.PutUint32(b[16:], 0)
	copy(b[tcpSize:], options)
}

// header4 writes the IPv4 header of a packet with size bytes after it (RFC 791,
// section 3.1). It is never cut in pieces, so that its identification may be 0
// (RFC 6864, section 4.1).
func header4(b []byte, p *stack.NetworkHeaderParams, local, remote []byte, size int) {
	b = b[:ipv4Size]
	binary.BigEndian.PutUint64(b, 0x45<<56|uint64(p.TOS)<<48|uint64(uint16(ipv4Size+size))<<32|0x4000)
	binary.BigEndian.PutUint32(b[8:], uint32(p.TTL)<<24|protoTCP<<16)
	copy(b[12:16], local)
	copy(b[16:20], remote)
	sum := uint32(0)
	for i := 0; i < ipv4Size; i += 4 {
		v := binary.BigEndian.Uint32(b[i:])
		sum += v>>16 + v&0xffff
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum+sum>>16))
}

// header6 writes the IPv6 header of a packet with size bytes after it (RFC
// 8200, section 3).
func header6(b []byte, p *stack.NetworkHeaderParams, local, remote []byte, size int) {
	b = b[:ipv6Size]
	binary.BigEndian.PutUint64(b, 6<<60|uint64(p.TOS)<<52|uint64(uint16(size))<<16|protoTCP<<8|uint64(p.TTL))
	copy(b[8:24], local)
	copy(b[24:40], remote)
}

// finish sets the checksum of a segment, or has the device do it, and cut it.
func (l *link) finish(f *device.Frame, s *segment, data *stack.PacketBuffer, gso *stack.GSO) {
	p := packet{etherType: typeIPv4, transport: s.at, proto: protoTCP}
	if s.at != ethernetSize+ipv4Size {
		p.etherType = typeIPv6
	}
	b := f.Buf.Bytes()
	pseudo(b, p, s.size+s.payload, tcpSum)
	cuts := gso.Type != stack.GSONone && gso.NeedsCsum
	if !cuts && (l.info.Offload&device.TxChecksum == 0 || l.frags) {
		sum := checksum.Checksum(b[s.at:s.at+s.size], 0) // the pseudo-header's is in it
		if data != nil {
			sum = checksum.Combine(sum, data.Data().Checksum())
		}
		binary.BigEndian.PutUint16(b[s.at+tcpSum:], ^sum)
		return
	}
	f.State = device.ChecksumPartial
	f.CsumStart, f.CsumOffset = uint16(s.at), tcpSum
	if !cuts || s.payload <= int(gso.MSS) {
		return
	}
	f.GSO = device.GSOTCP4
	if p.etherType == typeIPv6 {
		f.GSO = device.GSOTCP6
	}
	f.HeaderLen, f.SegmentSize = uint16(s.at+s.size), gso.MSS
}
