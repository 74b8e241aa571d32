package netif

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"ampoule/libos/device"
	"ampoule/libos/netif/netiftest"
)

// watcher is a fast path that is told our addresses, and takes no frame.
type watcher struct {
	mu  sync.Mutex
	now []netip.Prefix
}

func (*watcher) Frame(*device.Frame) Verdict { return Pass }

func (w *watcher) SetAddresses(now []netip.Prefix) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = now
}

func (w *watcher) has(p netip.Prefix) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Contains(w.now, p)
}

// dhcpReply is a server's answer to a frame of the client's, changed by mess.
func dhcpReply(h *host, frame []byte, mess func(*layers.IPv4, *layers.UDP, *layers.DHCPv4)) []byte {
	q, ok := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default).Layer(layers.LayerTypeDHCPv4).(*layers.DHCPv4)
	if !ok {
		h.t.Error("not a DHCP message")
		return nil
	}
	kind := layers.DHCPMsgTypeOffer
	for _, o := range q.Options {
		if o.Type == layers.DHCPOptMessageType && layers.DHCPMsgType(o.Data[0]) == layers.DHCPMsgTypeRequest {
			kind = layers.DHCPMsgTypeAck
		}
	}
	server := net.IP{10, 1, 2, 1}
	eth := layers.Ethernet{SrcMAC: h.mac[:], DstMAC: q.ClientHWAddr, EthernetType: layers.EthernetTypeIPv4}
	ip := layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: server, DstIP: net.IP{10, 1, 2, 2}}
	udp := layers.UDP{SrcPort: 67, DstPort: 68}
	m := layers.DHCPv4{
		Operation: layers.DHCPOpReply, HardwareType: 1, HardwareLen: 6, Xid: q.Xid, ClientHWAddr: q.ClientHWAddr,
		YourClientIP: net.IP{10, 1, 2, 2}, Options: layers.DHCPOptions{
			layers.NewDHCPOption(layers.DHCPOptMessageType, []byte{byte(kind)}),
			layers.NewDHCPOption(layers.DHCPOptServerID, server),
			layers.NewDHCPOption(layers.DHCPOptSubnetMask, []byte{255, 255, 255, 0}),
			layers.NewDHCPOption(layers.DHCPOptRouter, server),
			layers.NewDHCPOption(layers.DHCPOptLeaseTime, []byte{0, 0, 1, 0}),
		},
	}
	if mess != nil {
		mess(&ip, &udp, &m)
	}
	if err := udp.SetNetworkLayerForChecksum(&ip); err != nil {
		h.t.Error(err)
	}
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, &eth, &ip, &udp, &m); err != nil {
		h.t.Error(err)
	}
	return b.Bytes()
}

// isDHCP tells a message of the client's.
func isDHCP(b []byte, p packet) bool {
	return p.proto == protoUDP && p.etherType == typeIPv4 && len(b) > p.transport+4 && b[p.transport+3] == 67
}

// TestLease obtains an address in frames, among which there are bad ones, and
// uses it.
func TestLease(t *testing.T) {
	h, s := newHost(t, netiftest.Options{}, Config{DHCP: true}, testLimits())
	fast := new(watcher)
	s.SetFastPath(fast)
	if got := s.Addresses(); len(got) != 0 {
		t.Errorf("addresses %v before there is a lease", got)
	}
	discover := h.want("discover", isDHCP)
	if !header.IPv4(discover[14:]).IsChecksumValid() || string(discover[:6]) != string(header.EthernetBroadcastAddress) {
		t.Error("the discover is malformed")
	}
	for _, mess := range []func(*layers.IPv4, *layers.UDP, *layers.DHCPv4){
		func(ip *layers.IPv4, udp *layers.UDP, m *layers.DHCPv4) { m.Xid++ },
		func(ip *layers.IPv4, udp *layers.UDP, m *layers.DHCPv4) { m.YourClientIP = net.IP{224, 0, 0, 1} },
		func(ip *layers.IPv4, udp *layers.UDP, m *layers.DHCPv4) { ip.Flags = layers.IPv4MoreFragments },
	} {
		h.dev.Inject(dhcpReply(h, discover, mess))
	}
	bad := dhcpReply(h, discover, nil)
	bad[len(bad)-1] ^= 1 // the checksum is wrong
	h.dev.Inject(bad)
	h.dev.Inject(bad[:60]) // the length is
	h.settled()
	if len(s.Addresses()) != 0 {
		t.Fatal("an address from a bad answer")
	}
	h.dev.Inject(dhcpReply(h, discover, nil))
	h.dev.Inject(dhcpReply(h, h.want("request", isDHCP), nil))
	want := netip.MustParsePrefix("10.1.2.2/24")
	eventually(t, "the lease is ours", func() bool { return slices.Contains(s.Addresses(), want) })
	eventually(t, "the fast path knows", func() bool { return fast.has(want) })
	h.want("gratuitous ARP", func(b []byte, p packet) bool {
		return p.etherType == typeARP && netip.AddrFrom4([4]byte(header.ARP(b[14:]).ProtocolAddressSender())) == want.Addr()
	})
	c, err := s.DialContext(context.Background(), "udp", "198.51.100.1:9") // by way of the router
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write([]byte("out"))
	h.want("datagram from the leased address", func(b []byte, p packet) bool {
		return p.proto == protoUDP && header.IPv4(b[14:]).SourceAddress().String() == "10.1.2.2" && b[p.transport+3] == 9
	})
}

// TestDHCPPortIsTaken wants nothing for port 68 to reach the stack, and what is
// for other ports not to be touched.
func TestDHCPPortIsTaken(t *testing.T) {
	h, s := newHost(t, netiftest.Options{}, Config{DHCP: true}, testLimits())
	for range 1000 {
		h.dev.Inject(h.udp("10.1.2.9", 68, make([]byte, 300)))
	}
	h.settled()
	if got := s.gv.Stats().IP.PacketsReceived.Value(); got != 0 {
		t.Errorf("%d packets came through", got)
	}
	h.dev.Inject(h.udp("10.1.2.9", 69, make([]byte, 300)))
	eventually(t, "another port's datagram came through", func() bool { return s.gv.Stats().IP.PacketsReceived.Value() == 1 })
}

// advertise is a router's advertisement of prefixes, changed by mess.
func advertise(h *host, router uint16, prefixes []string, mess func(*layers.IPv6)) []byte {
	mac := h.dev.Info().MAC
	eth := layers.Ethernet{SrcMAC: h.mac[:], DstMAC: mac[:], EthernetType: layers.EthernetTypeIPv6}
	ip := layers.IPv6{Version: 6, HopLimit: 255, NextHeader: layers.IPProtocolICMPv6,
		SrcIP: net.ParseIP("fe80::9"), DstIP: net.ParseIP("ff02::1")}
	if mess != nil {
		mess(&ip)
	}
	icmp := layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeRouterAdvertisement, 0)}
	ra := layers.ICMPv6RouterAdvertisement{HopLimit: 64, RouterLifetime: router}
	ra.Options = append(ra.Options, layers.ICMPv6Option{Type: layers.ICMPv6OptSourceAddress, Data: h.mac[:]})
	for _, p := range prefixes {
		n := netip.MustParsePrefix(p)
		d := []byte{byte(n.Bits()), 0xc0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}
		a := n.Addr().As16()
		ra.Options = append(ra.Options, layers.ICMPv6Option{Type: layers.ICMPv6OptPrefixInfo, Data: append(d, a[:]...)})
	}
	if err := icmp.SetNetworkLayerForChecksum(&ip); err != nil {
		h.t.Error(err)
	}
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, &eth, &ip, &icmp, &ra); err != nil {
		h.t.Error(err)
	}
	return b.Bytes()
}

// slaac is the address that the stack makes in fd00:1::/64 of its MAC address.
var slaac = netip.MustParsePrefix("fd00:1::ff:fe00:1/64")

// TestAdvertised takes address and router from an advertisement, and none from
// a forged one.
func TestAdvertised(t *testing.T) {
	h, s := newHost(t, netiftest.Options{}, Config{SLAAC: true}, testLimits())
	h.silent.Store(true) // or the host claims the address that is asked for
	fast := new(watcher)
	s.SetFastPath(fast)
	h.want("router solicitation", func(b []byte, p packet) bool {
		return p.proto == protoICMPv6 && b[p.transport] == byte(header.ICMPv6RouterSolicit)
	})
	h.dev.Inject(advertise(h, 1800, []string{"fd00:bad::/64"}, func(ip *layers.IPv6) { ip.HopLimit = 64 }))
	h.dev.Inject(advertise(h, 1800, []string{"fd00:bad::/64"}, func(ip *layers.IPv6) { ip.SrcIP = net.ParseIP("fd00::9") }))
	h.dev.Inject(advertise(h, 1800, []string{"fd00:1::/64", "fe80::/64", "ff00::/64", "fd00:2::/48"}, nil))
	eventually(t, "the address is ours", func() bool { return slices.Contains(s.Addresses(), slaac) })
	eventually(t, "the fast path knows", func() bool { return fast.has(slaac) })
	if got := s.Addresses(); len(got) != 1 {
		t.Errorf("addresses %v", got)
	}
	h.silent.Store(false)
	c, err := s.DialContext(context.Background(), "udp", "[2001:db8::1]:9") // by way of the router
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write([]byte("out"))
	h.want("datagram from the address", func(b []byte, p packet) bool {
		return p.proto == protoUDP && header.IPv6(b[14:]).SourceAddress().String() == slaac.Addr().String()
	})
	h.dev.Inject(advertise(h, 0, nil, nil)) // the router goes
	eventually(t, "there is no route any more", func() bool {
		c, err := s.DialContext(context.Background(), "udp", "[2001:db8::1]:9")
		if err == nil {
			c.Close()
		}
		return err != nil
	})
}

// TestAdvertisedTwice wants an address that another host has not to be used.
func TestAdvertisedTwice(t *testing.T) {
	h, s := newHost(t, netiftest.Options{}, Config{SLAAC: true}, testLimits())
	h.silent.Store(true)
	h.dev.Inject(advertise(h, 1800, []string{"fd00:1::/64"}, nil))
	h.want("question for the address", func(b []byte, p packet) bool {
		return p.proto == protoICMPv6 && b[p.transport] == byte(header.ICMPv6NeighborSolicit) &&
			addr(header.NDPNeighborSolicit(b[p.transport+4:]).TargetAddress()) == slaac.Addr()
	})
	h.dev.Inject(advertisement(h.mac, slaac.Addr()))
	time.Sleep(1500 * time.Millisecond) // longer than the check takes
	if got := s.Addresses(); len(got) != 0 {
		t.Errorf("addresses %v, which the host has", got)
	}
}

// TestManyAdvertisements bounds what made-up routers and prefixes can make the
// stack hold.
func TestManyAdvertisements(t *testing.T) {
	h, s := newHost(t, netiftest.Options{}, Config{SLAAC: true}, testLimits())
	h.silent.Store(true)
	for i := range 200 {
		var prefixes []string
		for k := range 20 {
			prefixes = append(prefixes, netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, byte(i), byte(k), 1}), 64).String())
		}
		h.dev.Inject(advertise(h, 1800, prefixes, func(ip *layers.IPv6) { ip.SrcIP[15] = byte(i) }))
		h.settled()
	}
	// Of gVisor's ten, one is link-local.
	eventually(t, "nine addresses are ours", func() bool { return len(s.Addresses()) == 9 })
	if n := len(s.gv.GetRouteTable()); n > 2+10+10 {
		t.Errorf("%d routes", n)
	}
}

// TestVersionsOff wants an IP version without an address to be silent.
func TestVersionsOff(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		name string
	}{
		{Config{IPv4: netip.MustParsePrefix("10.1.2.2/24")}, "IPv6"},
		{Config{IPv6: []netip.Prefix{netip.MustParsePrefix("fd00::2/64")}}, "IPv4"},
	} {
		h, s := newHost(t, netiftest.Options{}, c.cfg, testLimits())
		time.Sleep(50 * time.Millisecond)
		for len(h.frames) > 0 {
			p, _ := parse(<-h.frames)
			if six := p.etherType == typeIPv6; six == (c.name == "IPv6") {
				t.Errorf("a frame of type %#x with %s off", p.etherType, c.name)
			}
		}
		if _, err := s.ListenPacket("udp"+c.name[3:], ":7"); err == nil || !strings.Contains(err.Error(), "no address of this family") {
			t.Errorf("%s: listening: %v", c.name, err)
		}
	}
}

func TestConfigSources(t *testing.T) {
	v4, gw := netip.MustParsePrefix("10.1.2.2/24"), netip.MustParseAddr("10.1.2.1")
	for want, c := range map[string]Config{
		"neither":         {},
		"beside DHCP":     {DHCP: true, IPv4: v4},
		"given beside":    {DHCP: true, Gateway4: gw},
		"not a neighbour": {SLAAC: true, Gateway6: netip.MustParseAddr("fd00::1")},
	} {
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
	}
	for _, c := range []Config{{DHCP: true}, {SLAAC: true}, {SLAAC: true, Gateway6: netip.MustParseAddr("fe80::1")}} {
		if err := c.Check(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestLimitsFill(t *testing.T) {
	const ram = 32 << 20
	d := DefaultLimits(ram)
	if got := (Limits{}).Fill(ram); got != d {
		t.Errorf("nothing given: %+v, want %+v", got, d)
	}
	given := Limits{
		MaxConns: 3, Backlog: 4, MaxRetries: 5, UDPPackets: 6, UDPReceive: 7 << 10, ICMPRate: 8, ICMPBurst: 9, NeighbourQueue: 10,
		TimeWait: time.Second, FinWait: time.Minute, TCPReceive: BufferRange{Max: 4096}, TCPSend: BufferRange{Max: 1 << 20},
	}
	want := given
	want.TCPReceive, want.TCPSend = BufferRange{4096, 4096, 4096}, BufferRange{d.TCPSend.Min, d.TCPSend.Default, 1 << 20}
	if got := given.Fill(ram); got != want {
		t.Errorf("all given: %+v, want %+v", got, want)
	}
	big := Limits{TCPSend: BufferRange{Max: 1 << 20}}.Fill(ram)
	if err := big.check(); err != nil || big.MaxConns >= d.MaxConns || big.MaxConns < 1 {
		t.Errorf("large buffers: %+v, %v", big, err)
	}
}
