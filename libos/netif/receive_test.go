package netif

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	"ampoule/libos/device"
	"ampoule/libos/netif/layer"
	"ampoule/libos/netif/netiftest"
)

// FuzzReceive feeds frames and what a device may claim of them. Whatever they
// hold, nothing panics, no page is lost, and the stack serves on.
func FuzzReceive(f *testing.F) {
	h := &host{t: f}
	h.dev, _ = netiftest.Pair(netiftest.Options{}, netiftest.Options{})
	for _, b := range [][]byte{
		nil, make([]byte, 13), make([]byte, 14), h.ethernet(typeARP, 28), h.ethernet(typeIPv4, 20), h.ethernet(typeIPv6, 40),
		h.udp("10.1.2.9", 7, []byte("x")), h.udp("10.1.2.9", 68, make([]byte, 300)), h.udp("fd00::9", 7, []byte("x")), h.syn("10.1.2.9", 1, 80, 1), h.syn("fd00::9", 1, 80, 1),
		h.ip("fd00::9", 0, 8), h.ip("fd00::9", 44, 8), h.ip("10.1.2.9", 1, 8), h.ip("fd00::9", 58, 24), h.ip("10.1.2.9", 2, 8),
	} {
		f.Add(b, byte(0), uint16(0), uint16(0))
		f.Add(b, byte(1), uint16(34), uint16(16))
		f.Add(b, byte(2), uint16(65535), uint16(65535))
	}
	dev, _ := netiftest.Pair(netiftest.Options{Offload: offloadRx}, netiftest.Options{RxRing: 1})
	s, err := setUp(dev, testConfig(addrB4, addrB6), Options{Limits: testLimits(), Rand: rand.Reader}, layer.NewLearned())
	if err != nil {
		f.Fatal(err)
	}
	leases := &dhcpPort{s: s, in: make(chan []byte, dhcpQueue)}
	s.link.leases = leases.take
	c, err := s.ListenPacket("udp", ":7")
	if err != nil {
		f.Fatal(err)
	}
	if _, err := s.Listen("tcp", ":80"); err != nil {
		f.Fatal(err)
	}
	go echoPackets(c)
	frames := make([]device.Frame, 1)
	f.Fuzz(func(t *testing.T, b []byte, state byte, start, offset uint16) {
		if b = append([]byte(nil), b...); len(b) >= 6 {
			mac := dev.Info().MAC
			copy(b, mac[:]) // or nothing gets further than that
		}
		dev.InjectMeta(b, device.Meta{State: device.ChecksumState(state % 3), GSO: device.GSOType(state / 3 % 3), CsumStart: start, CsumOffset: offset})
		dev.Recv(frames)
		s.link.burst(received(frames))
		for len(leases.in) > 0 {
			if m := <-leases.in; len(m) > len(b) {
				t.Fatalf("a DHCP message of %d bytes in a frame of %d", len(m), len(b))
			}
		}
		if s.Stats().Panics != 0 {
			t.Fatal("the stack panicked")
		}
		if n, _ := dev.Pool().Free(); n < dev.Pool().Len()-10 {
			t.Fatalf("%d I/O pages are missing", dev.Pool().Len()-n)
		}
	})
}

// TestForged has the device vouch for a frame whose headers are wrong: the IP
// header is checked all the same.
func TestForged(t *testing.T) {
	h, s := newHost(t, netiftest.Options{Offload: offloadRx}, testConfig(addrB4, addrB6), testLimits())
	b := h.udp("10.1.2.9", 7, []byte("x"))
	b[14+8]++ // time to live
	h.dev.InjectMeta(b, device.Meta{State: device.ChecksumOK})
	h.settled()
	if got := s.Stats().RxInvalid; got != 1 {
		t.Errorf("%d invalid frames, want 1", got)
	}
}

// TestUnasked has a device vouch for checksums though it never offered to.
func TestUnasked(t *testing.T) {
	h, s := newHost(t, netiftest.Options{}, testConfig(addrB4, addrB6), testLimits())
	c, err := s.ListenPacket("udp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := h.udp("10.1.2.9", 7, []byte("x"))
	b[40] ^= 0xff
	h.dev.InjectMeta(b, device.Meta{State: device.ChecksumOK})
	h.settled()
	if got := s.gv.Stats().UDP.ChecksumErrors.Value(); got != 1 {
		t.Errorf("%d checksum errors, want 1", got)
	}
}

func TestForeign(t *testing.T) {
	h, s := newHost(t, netiftest.Options{}, testConfig(addrB4, addrB6), testLimits())
	b := h.udp("10.1.2.9", 7, []byte("x"))
	b[5] ^= 0x40
	h.dev.Inject(b)
	h.settled()
	if got := s.Stats().RxForeign; got != 1 {
		t.Errorf("%d foreign frames, want 1", got)
	}
}

// TestStalled stops the device: senders wait a little, then lose frames, and
// everything goes on when the device does.
func TestStalled(t *testing.T) {
	da, db := netiftest.Pair(netiftest.Options{TxRing: 16, Pages: 64}, netiftest.Options{})
	t.Cleanup(func() { da.Check(t); db.Check(t) })
	a := newTestStack(t, da, testConfig(addrA4, addrA6), testLimits())
	b := newTestStack(t, db, testConfig(addrB4, addrB6), testLimits())
	srv, err := b.ListenPacket("udp", ":53")
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	go echoPackets(srv)
	c, err := a.DialContext(context.Background(), "udp", addrB4+":53")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	exchange(t, c, []byte("before"))
	da.Stall(true)
	start := time.Now()
	for range 200 {
		if _, err := c.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("senders were held up for %v", d)
	}
	if got := a.Stats().TxDropped; got < 180 || got > 190 {
		t.Errorf("%d of 200 frames dropped with a ring of 16", got)
	}
	da.Stall(false)
	buf := make([]byte, 2000)
	for range 16 {
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.Read(buf); err != nil {
			t.Fatal(err)
		}
	}
	exchange(t, c, []byte("after"))
}

// TestStalledTCP stops the device in the middle of a transfer.
func TestStalledTCP(t *testing.T) {
	da, db := netiftest.Pair(netiftest.Options{TxRing: 16, Pages: 128, Offload: offloadTx}, netiftest.Options{})
	t.Cleanup(func() { da.Check(t); db.Check(t) })
	a := newTestStack(t, da, testConfig(addrA4, addrA6), testLimits())
	b := newTestStack(t, db, testConfig(addrB4, addrB6), testLimits())
	stop := make(chan struct{})
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
				da.Stall(i%2 == 0)
			}
		}
	}()
	transfer(t, a, b, addrB4+":80", 4<<20)
	close(stop)
}

// TestGone ends the stack's receiving when the device does.
func TestGone(t *testing.T) {
	da, _ := netiftest.Pair(netiftest.Options{}, netiftest.Options{})
	s := newTestStack(t, da, testConfig(addrA4, addrA6), testLimits())
	da.Close()
	select {
	case <-s.Done():
	case <-time.After(5 * time.Second):
		t.Fatal("still receiving")
	}
	if !s.Stats().Gone {
		t.Error("not counted as gone")
	}
}
