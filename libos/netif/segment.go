package netif

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"ampoule/libos/config/feature"
	"ampoule/libos/device"
)

// WriteSegment sends a TCP segment that the stack's TCP gives it without going
// through the layers between: pkt starts with its TCP header, remote is the
// neighbour that it goes to. It writes all headers straight into an I/O page and
// copies the segment behind them. It says false for what it leaves to the
// layers. It may block like WritePackets. Only the trimmed stack calls it
// (package trim).
func (l *link) WriteSegment(r *stack.Route, remote tcpip.LinkAddress, p stack.NetworkHeaderParams, pkt *stack.PacketBuffer) (tcpip.Error, bool) {
	ip := ipv4Size
	if r.NetProto() == header.IPv6ProtocolNumber {
		ip = ipv6Size
	}
	size := pkt.Size()
	tooLong := ip+size > l.info.MTU && pkt.GSOOptions.Type == stack.GSONone || ip+size > maxFrame-ethernetSize
	if tooLong || ip == ipv4Size && !p.DF || len(remote) != 6 {
		return nil, false
	}
	t := &l.tx
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.segment(r, remote, &p, pkt, ip); err != nil {
		t.flush()
		return err, true
	}
	if !t.flush() {
		return &tcpip.ErrNoBufferSpace{}, true
	}
	return nil, true
}

// segment appends a segment to the batch, in a packet with ip bytes of header.
func (t *transmitter) segment(r *stack.Route, remote tcpip.LinkAddress, p *stack.NetworkHeaderParams, pkt *stack.PacketBuffer, ip int) tcpip.Error {
	if t.n == len(t.frames) && !t.flush() {
		return &tcpip.ErrNoBufferSpace{}
	}
	size := pkt.Size()
	buf := t.alloc(ethernetSize + ip + size)
	if buf == nil {
		t.l.count.txDropped.Add(1)
		return &tcpip.ErrNoBufferSpace{}
	}
	b := buf.Bytes()
	copy(b, remote)
	copy(b[6:], t.l.LinkAddress())
	local, peer := r.LocalAddress(), r.RemoteAddress()
	if ip == ipv4Size {
		binary.BigEndian.PutUint16(b[12:], typeIPv4)
		header4(b[ethernetSize:], p, local.AsSlice(), peer.AsSlice(), size)
	} else {
		binary.BigEndian.PutUint16(b[12:], typeIPv6)
		header6(b[ethernetSize:], p, local.AsSlice(), peer.AsSlice(), size)
	}
	fill(buf, ethernetSize+ip, pkt)
	f := device.Frame{Buf: buf}
	t.l.offloadSegment(&f, pkt, ip)
	t.frames[t.n] = f
	t.n++
	if feature.Capture {
		t.l.watch(t.frames[t.n-1:t.n], true)
	}
	return nil
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

// offloadSegment is offload for a segment behind ip bytes of header.
func (l *link) offloadSegment(f *device.Frame, pkt *stack.PacketBuffer, ip int) {
	gso := &pkt.GSOOptions
	done := gso.Type != stack.GSONone && gso.NeedsCsum
	if !done && (l.info.Offload&device.TxChecksum == 0 || l.frags) {
		return
	}
	at := ethernetSize + ip
	if !done {
		etherType := uint16(typeIPv4)
		if ip == ipv6Size {
			etherType = typeIPv6
		}
		pseudo(f.Buf.Bytes(), packet{etherType: etherType, transport: at, proto: protoTCP}, pkt.Size(), tcpSum)
	}
	f.State = device.ChecksumPartial
	f.CsumStart, f.CsumOffset = uint16(at), tcpSum
	if !done || pkt.Data().Size() <= int(gso.MSS) {
		return
	}
	f.GSO = device.GSOTCP4
	if ip == ipv6Size {
		f.GSO = device.GSOTCP6
	}
	f.HeaderLen, f.SegmentSize = uint16(at+pkt.HeaderSize()), gso.MSS
}
