package fastudp

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"ampoule/libos/device"
	"ampoule/libos/iopage"
	"ampoule/libos/netif"
)

var (
	ourMAC   = [6]byte{0x52, 0x54, 0, 0x12, 0x34, 0x56}
	peerMAC  = [6]byte{2, 0, 0, 0, 0, 9}
	our4     = netip.MustParsePrefix("192.0.2.1/24")
	our6     = netip.MustParsePrefix("2001:db8::1/64")
	peer4    = netip.MustParseAddr("192.0.2.9")
	peer6    = netip.MustParseAddr("2001:db8::9")
	headroom = 64
)

// reverse answers the request backwards, nothing to an empty one, and hands
// "up" to the stack.
type reverse struct{}

func (reverse) Reply(b []byte, n int, from *Peer) int {
	if *from != peerOf(peer4) && *from != peerOf(peer6) {
		return 0
	}
	if string(b[:n]) == "up" {
		return -1
	}
	slices.Reverse(b[:n])
	return n
}

func newPath(offload device.Feature) *Path {
	return New(device.NetInfo{MAC: ourMAC, MTU: 1500, Offload: offload}, []netip.Prefix{our4, our6}, 7777, reverse{})
}

// datagram builds a whole frame with gopacket, checksums included.
func datagram(t testing.TB, src, dst netip.Addr, sport, dport uint16, payload []byte) []byte {
	t.Helper()
	eth := &layers.Ethernet{SrcMAC: peerMAC[:], DstMAC: ourMAC[:]}
	udp := &layers.UDP{SrcPort: layers.UDPPort(sport), DstPort: layers.UDPPort(dport)}
	var ip gopacket.SerializableLayer
	if dst.Is4() {
		eth.EthernetType = layers.EthernetTypeIPv4
		v4 := &layers.IPv4{Version: 4, IHL: 5, TTL: 9, Id: 7, Protocol: layers.IPProtocolUDP, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
		udp.SetNetworkLayerForChecksum(v4)
		ip = v4
	} else {
		eth.EthernetType = layers.EthernetTypeIPv6
		v6 := &layers.IPv6{Version: 6, HopLimit: 9, NextHeader: layers.IPProtocolUDP, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
		udp.SetNetworkLayerForChecksum(v6)
		ip = v6
	}
	buf := gopacket.NewSerializeBuffer()
	opts := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buf, opts, eth, ip, udp, gopacket.Payload(payload)); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// receive puts a frame on an I/O page as a driver would.
func receive(t testing.TB, pool *iopage.Pool, frame []byte) device.Frame {
	b, err := pool.Get()
	if err != nil {
		t.Fatal(err)
	}
	b.SetWindow(headroom, len(frame))
	copy(b.Bytes(), frame)
	return device.Frame{Buf: b}
}

func newPool() *iopage.Pool { return iopage.NewPool(make([]byte, 4*iopage.Size)) }

// check decodes an answer with gopacket and compares all that matters.
func check(t *testing.T, frame []byte, src, dst netip.Addr, payload string) {
	t.Helper()
	pkt := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
	if e := pkt.ErrorLayer(); e != nil {
		t.Fatal(e.Error())
	}
	eth := pkt.Layer(layers.LayerTypeEthernet).(*layers.Ethernet)
	if !bytes.Equal(eth.SrcMAC, ourMAC[:]) || !bytes.Equal(eth.DstMAC, peerMAC[:]) {
		t.Errorf("link addresses %v -> %v", eth.SrcMAC, eth.DstMAC)
	}
	flow := pkt.NetworkLayer().NetworkFlow()
	if flow.Src().String() != dst.String() || flow.Dst().String() != src.String() {
		t.Errorf("addresses %v", flow)
	}
	udp := pkt.Layer(layers.LayerTypeUDP).(*layers.UDP)
	if udp.SrcPort != 7777 || udp.DstPort != 1234 {
		t.Errorf("ports %v -> %v", udp.SrcPort, udp.DstPort)
	}
	if string(udp.Payload) != payload {
		t.Errorf("payload %q, want %q", udp.Payload, payload)
	}
	// The reference for the checksums: gopacket computes them anew.
	again := datagramBack(t, pkt, udp)
	if !bytes.Equal(again[:len(frame)], frame) { // gopacket pads to Ethernet's least
		t.Errorf("checksums or lengths:\n got % x\nwant % x", frame, again)
	}
}

// datagramBack serialises a decoded packet again with computed checksums.
func datagramBack(t *testing.T, pkt gopacket.Packet, udp *layers.UDP) []byte {
	t.Helper()
	udp.SetNetworkLayerForChecksum(pkt.NetworkLayer())
	buf := gopacket.NewSerializeBuffer()
	opts := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	err := gopacket.SerializeLayers(buf, opts, pkt.LinkLayer().(gopacket.SerializableLayer),
		pkt.NetworkLayer().(gopacket.SerializableLayer), udp, gopacket.Payload(udp.Payload))
	if err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestAnswer(t *testing.T) {
	for _, a := range []struct{ src, dst netip.Addr }{{peer4, our4.Addr()}, {peer6, our6.Addr()}} {
		for _, payload := range []string{"a", "ab", "hello", string(bytes.Repeat([]byte("xyz"), 400))} {
			p := newPath(0)
			f := receive(t, newPool(), datagram(t, a.src, a.dst, 1234, 7777, []byte(payload)))
			if v := p.Frame(&f); v != netif.Reply {
				t.Fatalf("%v, %d bytes: verdict %d", a.dst, len(payload), v)
			}
			want := []byte(payload)
			for i := range len(want) / 2 {
				want[i], want[len(want)-1-i] = want[len(want)-1-i], want[i]
			}
			check(t, f.Buf.Bytes(), a.src, a.dst, string(want))
			if f.Buf.HeadRoom() != headroom || f.Meta != (device.Meta{}) {
				t.Error("headroom or Meta changed")
			}
		}
	}
}

// TestRelink: with another MAC address, frames to the former one are none of
// ours, and answers come from the new one.
func TestRelink(t *testing.T) {
	p := newPath(0)
	now := [6]byte{2, 9, 9, 9, 9, 9}
	p.Relink(device.NetInfo{MAC: now, MTU: 1500})
	b := datagram(t, peer4, our4.Addr(), 1234, 7777, []byte("hello"))
	f := receive(t, newPool(), b)
	if v := p.Frame(&f); v != netif.Pass {
		t.Errorf("a frame to the former address: verdict %d", v)
	}
	copy(b, now[:])
	f = receive(t, newPool(), b)
	if v := p.Frame(&f); v != netif.Reply {
		t.Fatalf("a frame to the new address: verdict %d", v)
	}
	if got := [6]byte(f.Buf.Bytes()[6:12]); got != now {
		t.Errorf("the answer comes from %x", got)
	}
}

// With checksum offload the field holds the pseudo-header's sum, so that
// summing from CsumStart completes it.
func TestAnswerOffload(t *testing.T) {
	p := newPath(device.TxChecksum)
	f := receive(t, newPool(), datagram(t, peer4, our4.Addr(), 1234, 7777, []byte("hello")))
	if v := p.Frame(&f); v != netif.Reply {
		t.Fatalf("verdict %d", v)
	}
	if f.State != device.ChecksumPartial || f.CsumStart != 34 || f.CsumOffset != 6 {
		t.Fatalf("meta %+v", f.Meta)
	}
	frame := f.Buf.Bytes()
	le.PutUint16(frame[40:], ^fold(sum(0, frame[34:])))
	check(t, frame, peer4, our4.Addr(), "olleh")
}

// Whatever is not beyond doubt goes to the stack unchanged.
func TestPass(t *testing.T) {
	good4 := datagram(t, peer4, our4.Addr(), 1234, 7777, []byte("hello"))
	good6 := datagram(t, peer6, our6.Addr(), 1234, 7777, []byte("hello"))
	set := func(from []byte, off int, v ...byte) []byte {
		b := bytes.Clone(from)
		copy(b[off:], v)
		return b
	}
	for name, frame := range map[string][]byte{
		"other MAC":             set(good4, 0, 2),
		"broadcast MAC":         set(good4, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
		"ARP":                   set(good4, 12, 8, 6),
		"IP options":            set(good4, 14, 0x46),
		"fragment":              set(good4, 20, 0x20),
		"fragment offset":       set(good4, 20, 0, 1),
		"TCP":                   set(good4, 23, 6),
		"header checksum":       set(good4, 24, good4[24]^1),
		"length beyond frame":   set(good4, 16, 0xff, 0xff),
		"length below headers":  set(good4, 16, 0, 20),
		"UDP checksum":          set(good4, 40, good4[40]^1),
		"UDP length beyond":     set(good4, 38, 0xff, 0xff),
		"UDP length below":      set(good4, 38, 0, 7),
		"v6 checksum":           set(good6, 60, good6[60]^1),
		"v6 no checksum":        set(good6, 60, 0, 0),
		"v6 extension header":   set(good6, 20, 0),
		"v6 length beyond":      set(good6, 18, 0xff, 0xff),
		"v6 multicast source":   set(good6, 22, 0xff),
		"cut":                   good4[:41],
		"cut v6":                good6[:60],
		"other port":            datagram(t, peer4, our4.Addr(), 1234, 7778, []byte("hello")),
		"port 0 as source":      datagram(t, peer4, our4.Addr(), 0, 7777, []byte("hello")),
		"other address":         datagram(t, peer4, peer4, 1234, 7777, []byte("hello")),
		"other address v6":      datagram(t, peer6, peer6, 1234, 7777, []byte("hello")),
		"multicast source":      datagram(t, netip.MustParseAddr("224.0.0.1"), our4.Addr(), 1234, 7777, []byte("hello")),
		"loopback source":       datagram(t, netip.MustParseAddr("127.0.0.1"), our4.Addr(), 1234, 7777, []byte("hello")),
		"broadcast source":      datagram(t, netip.MustParseAddr("255.255.255.255"), our4.Addr(), 1234, 7777, []byte("hello")),
		"directed broadcast":    datagram(t, netip.MustParseAddr("192.0.2.255"), our4.Addr(), 1234, 7777, []byte("hello")),
		"the handler says so":   datagram(t, peer4, our4.Addr(), 1234, 7777, []byte("up")),
		"larger than an answer": datagram(t, peer4, our4.Addr(), 1234, 7777, make([]byte, MaxAnswer+1)),
	} {
		p := newPath(0)
		f := receive(t, newPool(), frame)
		if v := p.Frame(&f); v != netif.Pass {
			t.Errorf("%s: verdict %d", name, v)
		}
		if !bytes.Equal(f.Buf.Bytes(), frame) {
			t.Errorf("%s: the frame was changed", name)
		}
	}
	p := newPath(0)
	f := receive(t, newPool(), good4)
	more, _ := f.Buf, 0
	next := receive(t, newPool(), good4)
	more.SetNext(next.Buf)
	if v := p.Frame(&f); v != netif.Pass {
		t.Errorf("chain of pages: verdict %d", v)
	}
}

// TestAddresses has none, one and more IPv4 addresses, and broadcast addresses of all
// their networks for a source.
func TestAddresses(t *testing.T) {
	first, second := netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("198.51.100.65/26")
	for _, c := range []struct {
		ours     []netip.Prefix
		src, dst string
		want     netif.Verdict
	}{
		{nil, "192.0.2.9", "192.0.2.1", netif.Pass},
		{nil, "192.0.2.9", "0.0.0.0", netif.Pass},
		{[]netip.Prefix{our6}, "192.0.2.9", "0.0.0.0", netif.Pass},
		{[]netip.Prefix{our6, first}, "192.0.2.9", "192.0.2.1", netif.Reply},
		{[]netip.Prefix{first}, "192.0.2.9", "198.51.100.65", netif.Pass},
		{[]netip.Prefix{first}, "192.0.2.9", "0.0.0.0", netif.Pass},
		{[]netip.Prefix{first, second}, "192.0.2.9", "192.0.2.1", netif.Reply},
		{[]netip.Prefix{first, second}, "192.0.2.9", "198.51.100.65", netif.Reply},
		{[]netip.Prefix{first, second}, "192.0.2.255", "198.51.100.65", netif.Pass},
		{[]netip.Prefix{first, second}, "198.51.100.127", "192.0.2.1", netif.Pass},
		{[]netip.Prefix{second, first}, "192.0.2.255", "198.51.100.65", netif.Pass},
	} {
		p := newPath(0)
		p.SetAddresses(c.ours)
		src, dst := netip.MustParseAddr(c.src), netip.MustParseAddr(c.dst)
		f := receive(t, newPool(), datagram(t, src, dst, 1234, 7777, nil))
		p.handler = always{}
		if v := p.Frame(&f); v != c.want {
			t.Errorf("%+v: verdict %d", c, v)
		}
	}
}

// always answers with one octet.
type always struct{}

func (always) Reply([]byte, int, *Peer) int { return 1 }

func TestNoAnswer(t *testing.T) {
	p := newPath(0)
	f := receive(t, newPool(), datagram(t, peer4, our4.Addr(), 1234, 7777, nil))
	if v := p.Frame(&f); v != netif.Drop || p.Dropped != 1 {
		t.Errorf("verdict %d, %d dropped", v, p.Dropped)
	}
}

// IPv4 allows a datagram without a checksum.
func TestNoChecksum(t *testing.T) {
	frame := datagram(t, peer4, our4.Addr(), 1234, 7777, []byte("hello"))
	frame[40], frame[41] = 0, 0
	p := newPath(0)
	f := receive(t, newPool(), frame)
	if v := p.Frame(&f); v != netif.Reply {
		t.Errorf("verdict %d", v)
	}
}

func FuzzFrame(f *testing.F) {
	f.Add(datagram(f, peer4, our4.Addr(), 1234, 7777, []byte("hello")), uint8(0))
	f.Add(datagram(f, peer6, our6.Addr(), 1234, 7777, []byte("hello")), uint8(1))
	f.Fuzz(func(t *testing.T, frame []byte, state uint8) {
		if len(frame) > iopage.Size-headroom {
			return
		}
		p := newPath(0)
		fr := receive(t, newPool(), frame)
		fr.State = device.ChecksumState(state % 3)
		switch p.Frame(&fr) {
		case netif.Reply:
			if n := fr.Buf.Len(); n > 1500+ethSize || fr.Buf.HeadRoom() != headroom {
				t.Errorf("answer of %d bytes, headroom %d", n, fr.Buf.HeadRoom())
			}
		case netif.Pass:
			if !bytes.Equal(fr.Buf.Bytes(), frame) {
				t.Error("passed frame was changed")
			}
		}
	})
}

func TestAllocations(t *testing.T) {
	p, pool := newPath(device.TxChecksum), newPool()
	frame := datagram(t, peer4, our4.Addr(), 1234, 7777, []byte("hello"))
	f := receive(t, pool, frame)
	if n := testing.AllocsPerRun(100, func() {
		f.Buf.SetWindow(headroom, len(frame))
		copy(f.Buf.Bytes(), frame)
		f.Meta = device.Meta{}
		if p.Frame(&f) != netif.Reply {
			t.Fatal("no reply")
		}
	}); n != 0 {
		t.Errorf("%v allocations per datagram", n)
	}
}

func BenchmarkAnswer(b *testing.B) {
	p, pool := newPath(device.TxChecksum), newPool()
	frame := datagram(b, peer4, our4.Addr(), 1234, 7777, make([]byte, 64))
	f := receive(b, pool, frame)
	b.ReportAllocs()
	for b.Loop() {
		f.Buf.SetWindow(headroom, len(frame))
		copy(f.Buf.Bytes(), frame)
		f.Meta = device.Meta{}
		p.Frame(&f)
	}
}

func peerOf(a netip.Addr) Peer {
	if a.Is4() {
		b := a.As4()
		return Peer{Addr: [2]uint64{uint64(le.Uint32(b[:]))}, V4: true}
	}
	b := a.As16()
	return Peer{Addr: [2]uint64{le.Uint64(b[:]), le.Uint64(b[8:])}}
}
