package siege

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"ampoule/tools/netpeer"
)

// Flood counts the queries that were sent from addresses which are not the
// sender's.
type Flood struct {
	Sent     int
	Full     int // frames that the host's queue had no room for
	Networks int // that Aimed is from
	Aimed    int // from a few networks, the well-behaved clients' own among them, far above the rate
	Sources  int // addresses, at least
}

// victims is the number of networks that the flood wants answers sent to, beside
// that of the clients.
const victims = 8

// flooder makes the frames of a flood. Serializing one takes longer than the guest
// takes to answer it, so it makes a stock and changes addresses and ports in it.
type flooder struct {
	inject func([]byte) error
	aimed  [][]byte // a frame for each question
	random [][]byte // the same and names that are not there; IPv4 and IPv6
	rng    *rand.Rand
	seen   map[uint64]struct{}
	count  Flood
}

func newFlooder(inject func([]byte) error, all []question) (*flooder, error) {
	f := &flooder{inject: inject, rng: rand.New(rand.NewPCG(1, 2)), seen: map[uint64]struct{}{}}
	f.count.Networks = victims + 1
	add := func(to *[][]byte, src, dst netip.Addr, m *dns.Msg) error {
		b, err := m.Pack()
		if err == nil {
			*to = append(*to, netpeer.Datagram(netip.AddrPortFrom(src, 1024), netip.AddrPortFrom(dst, 53), b))
		}
		return err
	}
	for i := range 4 * len(all) {
		q := &all[i%len(all)]
		m := q.query(uint16(f.rng.Uint32()))
		if i < len(all) {
			if err := add(&f.aimed, netip.AddrFrom4([4]byte{10, 0, 2, 1}), netpeer.GuestIPv4, m); err != nil {
				return nil, err
			}
		}
		if i%2 == 1 {
			m.Question[0].Name = fmt.Sprintf("x%08x.%s", f.rng.Uint32(), q.name)
		}
		src, dst := netip.AddrFrom4([4]byte{198, 51, 100, 1}), netpeer.GuestIPv4
		if i >= 2*len(all) {
			src, dst = netip.MustParseAddr("2001:db8::1"), netpeer.GuestIPv6
		}
		if err := add(&f.random, src, dst, m); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// run sends so many frames a second until ctx ends.
func (f *flooder) run(ctx context.Context, rate int) {
	began, sent := time.Now(), 0
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			f.count.Sent, f.count.Sources = sent, len(f.seen)
			return
		case <-tick.C:
		}
		// At most 20 ms' worth at once: what a busy host missed is not made up for,
		// as it would only overflow the queue.
		due := int(time.Since(began).Seconds() * float64(rate))
		if most := sent + rate/50; due > most {
			began = began.Add(time.Duration(float64(due-most) / float64(rate) * float64(time.Second)))
			due = most
		}
		for ; sent < due; sent++ {
			if f.inject(f.frame()) != nil {
				f.count.Full++
			}
		}
	}
}

// Offsets in the frames of newFlooder, which have no options.
const (
	ip4Sum, ip4Source   = 24, 26
	ip6Source           = 22
	udp4, udp6          = 34, 54
	udpSum              = 6
	maxSources          = 1 << 20 // that are told apart
	firstVictim         = 100     // 203.0.100.0/24 and those that follow
	clients4, reserved4 = 2, 16   // 10.0.2.16 and up are nobody's
)

// frame is the next frame, valid until the next call.
func (f *flooder) frame() []byte {
	r := f.rng.Uint64()
	if r&1 == 0 {
		f.count.Aimed++
		b := f.aimed[int(r>>8&0xffff)%len(f.aimed)]
		network := int(r>>24&0xff) % (victims + 1)
		host := byte(reserved4 + int(r>>32&0xff)%(250-reserved4))
		a := [4]byte{203, 0, byte(firstVictim + network), host}
		if network == victims {
			a = [4]byte{10, 0, clients4, host}
		}
		f.source4(b, a, uint16(r>>40)|1024)
		return b
	}
	b := f.random[int(r>>8&0xffff)%len(f.random)]
	if binary.BigEndian.Uint16(b[12:]) == 0x0800 {
		// 11.0.0.0 to 126.255.255.255: unicast, and not the segment's
		f.source4(b, [4]byte{byte(11 + r>>32%116), byte(r >> 40), byte(r >> 48), byte(r>>56) | 1}, uint16(r>>24)|1024)
		return b
	}
	var a [16]byte
	binary.BigEndian.PutUint32(a[:], 0x20010db8)
	binary.BigEndian.PutUint64(a[8:], f.rng.Uint64()|1)
	binary.BigEndian.PutUint32(a[4:], uint32(r>>32))
	f.source6(b, a, uint16(r>>24)|1024)
	return b
}

func (f *flooder) note(a uint64) {
	if len(f.seen) < maxSources {
		f.seen[a] = struct{}{}
	}
}

func (f *flooder) source4(b []byte, a [4]byte, port uint16) {
	f.note(uint64(binary.BigEndian.Uint32(a[:])))
	old := uint32(0)
	for i := 0; i < 4; i += 2 {
		w := binary.BigEndian.Uint16(b[ip4Source+i:])
		old += uint32(^w) + uint32(binary.BigEndian.Uint16(a[i:]))
	}
	copy(b[ip4Source:], a[:])
	adjust(b[ip4Sum:], old)
	binary.BigEndian.PutUint16(b[udp4:], port)
	copy(b[udp4+udpSum:], []byte{0, 0}) // RFC 768: there is none
}

func (f *flooder) source6(b []byte, a [16]byte, port uint16) {
	f.note(binary.BigEndian.Uint64(a[8:]))
	delta := uint32(0)
	for i := 0; i < 16; i += 2 {
		delta += uint32(^binary.BigEndian.Uint16(b[ip6Source+i:])) + uint32(binary.BigEndian.Uint16(a[i:]))
	}
	delta += uint32(^binary.BigEndian.Uint16(b[udp6:])) + uint32(port)
	copy(b[ip6Source:], a[:])
	binary.BigEndian.PutUint16(b[udp6:], port)
	adjust(b[udp6+udpSum:], delta)
	if binary.BigEndian.Uint16(b[udp6+udpSum:]) == 0 {
		binary.BigEndian.PutUint16(b[udp6+udpSum:], 0xffff)
	}
}

// adjust changes a checksum for words whose difference is delta (RFC 1624,
// equation 3).
func adjust(sum []byte, delta uint32) {
	s := uint32(^binary.BigEndian.Uint16(sum)) + delta
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	binary.BigEndian.PutUint16(sum, ^uint16(s))
}
