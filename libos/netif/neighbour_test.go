package netif

import (
	"net/netip"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"ampoule/libos/netif/netiftest"
)

// TestProbe has the stack ask whether a neighbour is still there, and the answer
// get lost: the link address is known, so nothing may be held back meanwhile.
func TestProbe(t *testing.T) {
	for _, src := range []string{"10.1.2.9", "fd00::9"} {
		h, s := newHost(t, netiftest.Options{}, testConfig(addrB4, addrB6), testLimits())
		for _, proto := range []tcpip.NetworkProtocolNumber{header.IPv4ProtocolNumber, header.IPv6ProtocolNumber} {
			if err := s.gv.SetNUDConfigurations(nic, proto, stack.NUDConfigurations{BaseReachableTime: 10 * time.Millisecond,
				MinRandomFactor: 1, MaxRandomFactor: 1, DelayFirstProbeTime: 10 * time.Millisecond,
				MaxUnicastProbes: 3, MaxMulticastProbes: 3, RetransmitTimer: time.Second}); err != nil {
				t.Fatal(err)
			}
		}
		c, err := s.ListenPacket("udp", ":53")
		if err != nil {
			t.Fatal(err)
		}
		go echoPackets(c)
		frame := h.udp(src, 53, []byte("there"))
		answer := func(b []byte, p packet) bool { return p.proto == protoUDP }
		h.dev.Inject(frame)
		h.want("answer", answer)
		h.silent.Store(true)
		time.Sleep(50 * time.Millisecond) // no longer reachable: stale
		h.dev.Inject(frame)
		h.want("answer", answer)
		h.want("probe", func(b []byte, p packet) bool {
			_, ok := solicited(b, p)
			return ok && b[0]&1 == 0
		})
		for range 100 {
			h.dev.Inject(frame)
			h.want("answer while the probe is out", answer)
		}
		if n := s.Stats().RxUnresolved; n != 0 {
			t.Errorf("%s: %d frames were held back", src, n)
		}
		c.Close()
	}
}

// TestForgedAnswer has made-up neighbours answer with frames that the stack
// refuses: that must not lift the bound on frames that wait for the answer.
func TestForgedAnswer(t *testing.T) {
	h, s := newHost(t, netiftest.Options{}, testConfig(addrB4, addrB6), testLimits())
	h.silent.Store(true)
	c, err := s.ListenPacket("udp", ":53")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go echoPackets(c)
	src := "fd00::77"
	frame := h.udp(src, 53, make([]byte, 100))
	forged := h.advert(tcpip.AddrFrom16(netip.MustParseAddr(src).As16()))
	forged[14+7] = 64 // a router has passed it on (RFC 4861, section 7.1.2)
	h.dev.Inject(frame)
	h.want("question", func(b []byte, p packet) bool {
		_, ok := solicited(b, p)
		return ok && b[0]&1 != 0
	})
	before := s.gv.Stats().UDP.PacketsReceived.Value()
	for range 200 {
		h.dev.Inject(forged)
		h.dev.Inject(frame)
		h.settled()
	}
	if got := s.gv.Stats().UDP.PacketsReceived.Value() - before; got > 40 {
		t.Errorf("%d of 200 frames of a neighbour that never answered got in", got)
	}
}
