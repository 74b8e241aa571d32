package netif

import (
	"encoding/binary"

	"ampoule/libos/device"
)

// expectedHead is how much of a frame is read for expected: the longest headers that
// a segment has whose only option is its timestamps.
const expectedHead = ethernetSize + ipv6Size + tcpSize + 12

// expected gives a frame to its connection, which processes it at once, if it is what
// that expects. It says false, and nothing has happened, where the frame has to take
// the usual way. head is room for its headers: all checks are made on that copy, as
// the device may still write to the page, and data is copied once. The frame stays the
// caller's.
func (l *link) expected(head *[expectedHead]byte, f *device.Frame) (taken bool) {
	if l.flows.n.Load() == 0 || f.State == device.ChecksumNone || l.info.Offload&device.RxChecksum == 0 ||
		f.Buf.Next() != nil || l.asking.n.Load() != 0 {
		return false
	}
	b := f.Buf.Bytes()
	if len(b) < ethernetSize+ipv4Size+tcpSize {
		return false
	}
	copy(head[:], b)
	if string(head[:6]) != string(l.LinkAddress()) {
		return false
	}
	k, at, end := expectedFlow(head)
	if end == 0 || end > len(b) {
		return false
	}
	k.rest |= uint64(binary.BigEndian.Uint32(head[at:]))
	data := at + int(head[at+12]>>4)*4
	if data < at+tcpSize || data > len(head) || data > end {
		return false
	}
	to, _ := l.flows.find(&k)
	if to != nil {
		l.working = true
		taken = l.flows.queue.Take(to, head[at:data], b[data:end], end)
		l.working = false
	}
	return taken
}

// expectedFlow reads the IP header of a frame: the addresses of its flow, where its TCP
// header begins and where it ends, which is 0 if it has no plain one.
func expectedFlow(head *[expectedHead]byte) (k flowKey, at, end int) {
	switch ip := head[ethernetSize:]; binary.BigEndian.Uint16(head[12:]) {
	case typeIPv4:
		if ip[0] != 0x45 || binary.BigEndian.Uint16(ip[6:])&0x3fff != 0 || ip[9] != protoTCP {
			return k, 0, 0
		}
		sum := uint64(0)
		for i := 0; i < ipv4Size; i += 4 {
			sum += uint64(binary.BigEndian.Uint32(ip[i:]))
		}
		sum = sum>>32 + sum&(1<<32-1)
		sum = sum>>32 + sum&(1<<32-1)
		if sum = sum>>16 + sum&0xffff; sum>>16+sum&0xffff != 0xffff {
			return k, 0, 0
		}
		k.remote, k.local = words(ip[12:16]), words(ip[16:20])
		k.rest = typeIPv4 << 32
		return k, ethernetSize + ipv4Size, ethernetSize + int(binary.BigEndian.Uint16(ip[2:]))
	case typeIPv6:
		if ip[0]>>4 != 6 || ip[6] != protoTCP {
			return k, 0, 0
		}
		k.remote, k.local = words(ip[8:24]), words(ip[24:40])
		k.rest = typeIPv6 << 32
		return k, ethernetSize + ipv6Size, ethernetSize + ipv6Size + int(binary.BigEndian.Uint16(ip[4:]))
	}
	return k, 0, 0
}
