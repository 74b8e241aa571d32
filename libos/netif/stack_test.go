package netif

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"ampoule/libos/device"
	"ampoule/libos/netif/netiftest"
)

func TestMonotonic(t *testing.T) {
	for _, ns := range []int64{0, 1, 1e9, 1 << 62} {
		if got, want := monotonic(ns), (tcpip.MonotonicTime{}).Add(time.Duration(ns)); got != want {
			t.Errorf("monotonic(%d) = %v, want %v", ns, got, want)
		}
	}
}

func TestAnnounce(t *testing.T) {
	h, _ := newHost(t, netiftest.Options{}, testConfig(addrB4, addrB6), testLimits())
	h.want("gratuitous ARP", func(b []byte, p packet) bool {
		if p.etherType != typeARP {
			return false
		}
		a := header.ARP(b[14:])
		return bytes.Equal(a.ProtocolAddressSender(), a.ProtocolAddressTarget()) && [6]byte(a.HardwareAddressSender()) == h.dev.Info().MAC
	})
	h.want("unsolicited advertisement", func(b []byte, p packet) bool {
		return p.proto == 58 && header.ICMPv6(b[p.transport:]).Type() == header.ICMPv6NeighborAdvert
	})
}

func TestPing(t *testing.T) {
	h, _ := newHost(t, netiftest.Options{}, testConfig(addrB4, addrB6), testLimits())
	b := h.ip("10.1.2.9", header.ICMPv4ProtocolNumber, 8+56)
	m := header.ICMPv4(b[34:])
	m.SetType(header.ICMPv4Echo)
	m.SetIdent(77)
	m.SetChecksum(header.ICMPv4Checksum(m, 0))
	h.dev.Inject(b)
	h.want("echo reply over IPv4", func(b []byte, p packet) bool {
		return p.proto == 1 && header.ICMPv4(b[p.transport:]).Type() == header.ICMPv4EchoReply &&
			header.ICMPv4(b[p.transport:]).Ident() == 77 && len(b) == 34+8+56
	})
	b = h.ip("fd00::9", header.ICMPv6ProtocolNumber, 8+56)
	m6 := header.ICMPv6(b[54:])
	m6.SetType(header.ICMPv6EchoRequest)
	m6.SetIdent(78)
	h.sum6(b)
	h.dev.Inject(b)
	h.want("echo reply over IPv6", func(b []byte, p packet) bool {
		return p.proto == 58 && header.ICMPv6(b[p.transport:]).Type() == header.ICMPv6EchoReply &&
			header.ICMPv6(b[p.transport:]).Ident() == 78
	})
}

// TestICMPRate wants no more answers than Limits allow, however many ask.
func TestICMPRate(t *testing.T) {
	l := testLimits()
	l.ICMPRate, l.ICMPBurst = 1, 5
	h, _ := newHost(t, netiftest.Options{}, testConfig(addrB4, addrB6), l)
	for range 100 {
		h.dev.Inject(h.udp("10.1.2.9", 9999, []byte("nobody listens")))
		h.settled()
	}
	n := 0
	for len(h.frames) > 0 {
		if p, ok := parse(<-h.frames); ok && p.proto == 1 {
			n++
		}
	}
	if n < 1 || n > 7 {
		t.Errorf("%d ICMP messages for 100 datagrams, want 1 to 7", n)
	}
}

func TestFragments(t *testing.T) {
	for _, allow := range []bool{false, true} {
		cfg := testConfig(addrB4, addrB6)
		cfg.Fragments = allow
		h, s := newHost(t, netiftest.Options{Offload: device.TxChecksum}, cfg, testLimits())
		c, err := s.ListenPacket("udp4", ":53")
		if err != nil {
			t.Fatal(err)
		}
		whole := h.udp("10.1.2.9", 53, payload(1200))
		for _, at := range []int{0, 808} {
			h.dev.Inject(h.fragment(whole, at, 808))
		}
		h.settled()
		got := make([]byte, 2000)
		patience := 100 * time.Millisecond // for nothing
		if allow {
			patience = 10 * time.Second
		}
		c.SetReadDeadline(time.Now().Add(patience))
		n, _, err := c.ReadFrom(got)
		if allow != (err == nil && bytes.Equal(got[:n], payload(1200))) {
			t.Errorf("fragments allowed: %v, received: %d bytes, %v", allow, n, err)
		}
		want := uint64(2)
		if allow {
			want = 0
		}
		if got := s.Stats().RxFragments; got != want {
			t.Errorf("allowed %v: %d fragments dropped, want %d", allow, got, want)
		}
		c.Close()
	}
}

// fragment is the part of an IPv4 frame's payload from at, size bytes at most.
func (h *host) fragment(frame []byte, at, size int) []byte {
	data := frame[34:]
	part := data[at:min(at+size, len(data))]
	b := append(bytes.Clone(frame[:34]), part...)
	ip := header.IPv4(b[14:])
	ip.SetTotalLength(uint16(20 + len(part)))
	flags := uint8(0)
	if at+size < len(data) {
		flags = header.IPv4FlagMoreFragments
	}
	ip.SetFlagsFragmentOffset(flags, uint16(at))
	ip.SetID(99)
	ip.SetChecksum(0)
	ip.SetChecksum(^ip.CalculateChecksum())
	return b
}

func TestIPv6FragmentHeader(t *testing.T) {
	h, s := newHost(t, netiftest.Options{}, testConfig(addrB4, addrB6), testLimits())
	h.dev.Inject(h.ip("fd00::9", 44, 64))
	b := h.ip("fd00::9", 0, 64) // hop-by-hop options, then a fragment
	b[54] = 44
	h.dev.Inject(b)
	h.settled()
	if got := s.Stats().RxFragments; got != 2 {
		t.Errorf("%d fragments dropped, want 2", got)
	}
}

// TestSYNFlood floods a listener from many addresses: memory stays bounded and
// a real client still gets through.
func TestSYNFlood(t *testing.T) {
	h, s := newHost(t, netiftest.Options{}, testConfig(addrB4, addrB6), testLimits())
	l, err := s.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go answer(l)
	// The second connection to an address goes straight to the listener, and so does
	// the flood.
	c := &client{host: h, src: "10.1.2.9", from: 4000, seq: 1000}
	c.works()
	c.works()
	before := heap()
	for i := range 20000 {
		src := netip.AddrFrom4([4]byte{10, 1, 2, byte(10 + i%200)})
		h.dev.Inject(h.syn(src.String(), uint16(1024+i/200), 80, uint32(i)))
		for h.dev.Waiting() > 100 {
			runtime.Gosched()
		}
	}
	h.settled()
	if got := int64(heap()) - int64(before); got > 4<<20 {
		t.Errorf("20,000 SYNs hold %d KiB", got>>10)
	}
	if got := s.gv.Stats().TCP.ListenOverflowSynCookieSent.Value(); got == 0 {
		t.Error("no SYN cookie was sent")
	}
	for len(h.frames) > 0 {
		<-h.frames
	}
	c.works()
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestManyConnections holds 2,000 idle connections: what they cost is bounded,
// one more than the limit is refused, and each place comes back.
func TestManyConnections(t *testing.T) {
	const n = 2000
	da, db := netiftest.Pair(netiftest.Options{}, netiftest.Options{})
	t.Cleanup(func() { da.Check(t); db.Check(t) })
	lim := testLimits()
	lim.MaxConns = n + 100
	a := newTestStack(t, da, testConfig(addrA4, addrA6), lim)
	lim.MaxConns = n
	b := newTestStack(t, db, testConfig(addrB4, addrB6), lim)
	l, err := b.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, n)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- c
		}
	}()
	before := heap()
	var clients, servers []net.Conn
	for range n {
		clients = append(clients, dial(t, a))
		servers = append(servers, <-accepted)
	}
	if per := (int64(heap()) - int64(before)) / n / 2; per > connOverhead {
		t.Errorf("an idle connection holds %d bytes, the limits reckon with %d", per, connOverhead)
	}
	// The reset may come before the client has noticed that it is connected.
	extra, err := a.DialContext(context.Background(), "tcp", addrB4+":80")
	if err == nil {
		extra.SetReadDeadline(time.Now().Add(5 * time.Second))
		_, err = extra.Read(make([]byte, 1))
		extra.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "reset") {
		t.Errorf("connection %d: %v, want a reset", n+1, err)
	}
	eventually(t, "one connection is refused", func() bool { return b.Stats().Refused == 1 })
	if got := b.Stats().Conns; got != n {
		t.Errorf("%d connections, want %d", got, n)
	}
	for i := range clients {
		clients[i].Close()
		servers[i].Close()
	}
	eventually(t, "all connections end", func() bool { return a.Stats().Conns == 0 && b.Stats().Conns == 0 })
}

func dial(t testing.TB, s *Stack) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := s.DialContext(ctx, "tcp", addrB4+":80")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Errorf("did not happen: %s", what)
}

// TestBacklog lets nobody accept: what waits is bounded by the backlog.
func TestBacklog(t *testing.T) {
	da, db := netiftest.Pair(netiftest.Options{}, netiftest.Options{})
	t.Cleanup(func() { da.Check(t); db.Check(t) })
	lim := testLimits()
	a := newTestStack(t, da, testConfig(addrA4, addrA6), lim)
	lim.Backlog = 8
	b := newTestStack(t, db, testConfig(addrB4, addrB6), lim)
	l, err := b.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	// The client side stands after the first answer, so connections beyond the
	// backlog are told apart only by what the listener has dropped.
	for range 40 {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		if c, err := a.DialContext(ctx, "tcp", addrB4+":80"); err == nil {
			defer c.Close()
		} else if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		cancel()
	}
	tcp := b.gv.Stats().TCP
	if n := tcp.ListenOverflowSynDrop.Value() + tcp.ListenOverflowAckDrop.Value(); n == 0 {
		t.Error("40 connections wait behind a backlog of 8")
	}
	if n := tcp.CurrentEstablished.Value(); n > 9 {
		t.Errorf("%d connections stand with a backlog of 8", n)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
}

// TestZeroDatagrams fills a socket nobody reads with empty datagrams, which
// carry no payload for gVisor's buffer limit to count.
func TestZeroDatagrams(t *testing.T) {
	for _, size := range []int{0, 1} {
		h, s := newHost(t, netiftest.Options{}, testConfig(addrB4, addrB6), testLimits())
		c, err := s.ListenPacket("udp", ":53")
		if err != nil {
			t.Fatal(err)
		}
		frame := h.udp("10.1.2.9", 53, make([]byte, size))
		before := heap()
		for range 50000 {
			h.dev.Inject(frame)
			for h.dev.Waiting() > 100 {
				runtime.Gosched()
			}
		}
		h.settled()
		if got := int64(heap()) - int64(before); got > 2<<20 {
			t.Errorf("50,000 datagrams of %d bytes hold %d KiB", size, got>>10)
		}
		c.Close()
	}
}

// TestMadeUpNeighbours has answers wait for neighbours that do not exist.
func TestMadeUpNeighbours(t *testing.T) {
	h, s := newHost(t, netiftest.Options{}, testConfig(addrB4, addrB6), testLimits())
	h.silent.Store(true)
	c, err := s.ListenPacket("udp", ":53")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go echoPackets(c)
	before := heap()
	for i := range 200 {
		src := netip.AddrFrom4([4]byte{10, 1, 2, byte(10 + i)}).String()
		if i%2 == 1 {
			src = netip.AddrFrom16([16]byte{0xfd, 15: byte(10 + i)}).String()
		}
		frame := h.udp(src, 53, make([]byte, 1000))
		for range 100 {
			h.dev.Inject(frame)
			for h.dev.Waiting() > 10 {
				time.Sleep(50 * time.Microsecond)
			}
		}
		h.settled()
	}
	h.settled()
	for len(h.frames) > 0 {
		<-h.frames // the test's own
	}
	if got := int64(heap()) - int64(before); got > 6<<20 {
		t.Errorf("20,000 datagrams of 200 made-up neighbours hold %d KiB", got>>10)
	}
	// Some get in before the first question goes out.
	if got := s.gv.Stats().UDP.PacketsReceived.Value(); got > 200*40 || got < 200 {
		t.Errorf("%d of 20,000 datagrams got in, want 8 of each neighbour, and a few", got)
	}
	h.silent.Store(false) // now one exists
	eventually(t, "a neighbour that answers is served", func() bool {
		h.dev.Inject(h.udp("10.1.2.250", 53, []byte("there")))
		for len(h.frames) > 0 {
			if p, ok := parse(<-h.frames); ok && p.proto == protoUDP {
				return true
			}
		}
		return false
	})
}
