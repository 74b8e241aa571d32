package netpeer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// each runs f with every kind of peer that this machine allows and a gVisor
// stack in the guest's place.
func each(t *testing.T, f func(t *testing.T, s *Segment, guest *Stack)) {
	for _, k := range []Kind{KindLinux, KindGVisor} {
		t.Run(string(k), func(t *testing.T) {
			s, err := Open(Options{Kind: k})
			if err != nil && k == KindLinux {
				t.Skipf("no network namespace on this machine: %v", err)
			}
			if err != nil {
				t.Fatal(err)
			}
			guest, err := newStack(s.guest, GuestMAC, netip.PrefixFrom(GuestIPv4, 24), netip.PrefixFrom(GuestIPv6, 64))
			if err != nil {
				t.Fatal(err)
			}
			defer guest.stack.Destroy()
			if s.Kind() != k {
				t.Errorf("peer is %s", s.Kind())
			}
			f(t, s, guest)
			if err := s.Close(); err != nil && !strings.Contains(err.Error(), "already closed") {
				t.Error(err)
			}
		})
	}
}

// echo serves UDP and TCP echo on port 7 of st.
func echo(t *testing.T, st *Stack) {
	t.Helper()
	for _, a := range []netip.Addr{GuestIPv4, GuestIPv6} {
		at := netip.AddrPortFrom(a, 7).String()
		full, proto, err := address(at)
		if err != nil {
			t.Fatal(err)
		}
		u, err := gonet.DialUDP(st.stack, &full, nil, proto)
		if err != nil {
			t.Fatal(err)
		}
		l, err := st.Listen(at)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { u.Close(); l.Close() })
		go func() {
			b := make([]byte, 2000)
			for {
				n, from, err := u.ReadFrom(b)
				if err != nil {
					return
				}
				u.WriteTo(b[:n], from)
			}
		}()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() { io.Copy(c, c); c.Close() }()
			}
		}()
	}
}

func TestUDPAndTCP(t *testing.T) {
	each(t, func(t *testing.T, s *Segment, guest *Stack) {
		echo(t, guest)
		for _, a := range []netip.Addr{GuestIPv4, GuestIPv6} {
			for _, network := range []string{"udp", "tcp"} {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				c, err := s.DialContext(ctx, network, netip.AddrPortFrom(a, 7).String())
				if err != nil {
					t.Fatalf("%s %s: %v", network, a, err)
				}
				defer c.Close()
				c.SetDeadline(time.Now().Add(5 * time.Second))
				b := make([]byte, 100)
				if _, err := c.Write([]byte("hello")); err != nil {
					t.Fatal(err)
				}
				if n, err := c.Read(b); err != nil || string(b[:n]) != "hello" {
					t.Errorf("%s %s: %q, %v", network, a, b[:n], err)
				}
			}
		}
	})
}

// TestBulkOverBadCable sends a megabyte both ways through loss, duplication and
// reordering.
func TestBulkOverBadCable(t *testing.T) {
	each(t, func(t *testing.T, s *Segment, guest *Stack) {
		echo(t, guest)
		for d := range 2 {
			s.Wire.Impair(Direction(d), Impairment{Loss: 0.01, Duplicate: 0.01, Reorder: 0.02, Delay: time.Millisecond, Seed: uint64(d)})
		}
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		defer cancel()
		c, err := s.DialContext(ctx, "tcp", "10.0.2.15:7")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(60 * time.Second))
		data := make([]byte, 1<<20)
		for i := range data {
			data[i] = byte(rand.Uint32())
		}
		go func() {
			c.Write(data)
			c.(interface{ CloseWrite() error }).CloseWrite()
		}()
		h := sha256.New()
		if n, err := io.Copy(h, c); err != nil || n != int64(len(data)) {
			t.Fatalf("%d bytes, %v", n, err)
		}
		if !bytes.Equal(h.Sum(nil), sum(data)) {
			t.Error("data changed on its way")
		}
		if st := s.Wire.Stats(ToGuest); st.Lost == 0 || st.Reordered == 0 || st.Duplicated == 0 {
			t.Errorf("the cable was too good: %+v", st)
		}
	})
}

func sum(b []byte) []byte { h := sha256.Sum256(b); return h[:] }

func TestListen(t *testing.T) {
	each(t, func(t *testing.T, s *Segment, guest *Stack) {
		l, err := s.Listen("10.0.2.2:80")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			if c, err := l.Accept(); err == nil {
				c.Write([]byte("from the host"))
				c.Close()
			}
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		c, err := guest.DialContext(ctx, "tcp", "10.0.2.2:80")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if b, err := io.ReadAll(c); err != nil || string(b) != "from the host" {
			t.Errorf("%q, %v", b, err)
		}
	})
}

// TestCrafted checks that a real stack takes the frames made by hand, by its
// answers.
func TestCrafted(t *testing.T) {
	each(t, func(t *testing.T, s *Segment, guest *Stack) {
		echo(t, guest)
		answers := make(chan gopacket.Packet, 100)
		s.Wire.Watch(func(d Direction, f []byte) {
			if d == FromGuest {
				answers <- gopacket.NewPacket(bytes.Clone(f), layers.LayerTypeEthernet, gopacket.Default)
			}
		})
		host4, host6 := HostIPv4.Addr(), HostIPv6.Addr()
		for _, tc := range []struct {
			name  string
			frame []byte
			want  func(gopacket.Packet) bool
		}{
			{"ping", Ping(host4, GuestIPv4, 1, 2, []byte("x")), func(p gopacket.Packet) bool {
				l, ok := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
				return ok && l.TypeCode.Type() == layers.ICMPv4TypeEchoReply && l.Id == 1 && l.Seq == 2
			}},
			{"ping6", Ping(host6, GuestIPv6, 1, 2, []byte("x")), func(p gopacket.Packet) bool {
				l, ok := p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6)
				return ok && l.TypeCode.Type() == layers.ICMPv6TypeEchoReply
			}},
			{"solicit", Solicit(host6, GuestIPv6), func(p gopacket.Packet) bool {
				l, ok := p.Layer(layers.LayerTypeICMPv6NeighborAdvertisement).(*layers.ICMPv6NeighborAdvertisement)
				return ok && net.IP(l.TargetAddress).Equal(GuestIPv6.AsSlice())
			}},
			{"datagram", Datagram(netip.AddrPortFrom(host4, 99), netip.AddrPortFrom(GuestIPv4, 7), []byte("by hand")), func(p gopacket.Packet) bool {
				return p.ApplicationLayer() != nil && string(p.ApplicationLayer().Payload()) == "by hand"
			}},
			{"syn", SYN(netip.AddrPortFrom(host4, 99), netip.AddrPortFrom(GuestIPv4, 7), 41), func(p gopacket.Packet) bool {
				l, ok := p.Layer(layers.LayerTypeTCP).(*layers.TCP)
				return ok && l.SYN && l.ACK && l.Ack == 42
			}},
			{"syn6", SYN(netip.AddrPortFrom(host6, 99), netip.AddrPortFrom(GuestIPv6, 7), 41), func(p gopacket.Packet) bool {
				l, ok := p.Layer(layers.LayerTypeTCP).(*layers.TCP)
				return ok && l.SYN && l.ACK && l.Ack == 42
			}},
		} {
			if err := s.Inject(tc.frame); err != nil {
				t.Fatal(err)
			}
			expect(t, tc.name, answers, tc.want)
		}
	})
}

// expect waits for an answer of the guest that ok accepts.
func expect(t *testing.T, name string, answers <-chan gopacket.Packet, ok func(gopacket.Packet) bool) {
	t.Helper()
	for limit := time.After(5 * time.Second); ; {
		select {
		case p := <-answers:
			if ok(p) {
				return
			}
		case <-limit:
			t.Errorf("%s: no answer", name)
			return
		}
	}
}

// TestFragments checks the headers by decoding them again.
func TestFragments(t *testing.T) {
	for _, tc := range []struct{ src, dst netip.Addr }{{HostIPv4.Addr(), GuestIPv4}, {HostIPv6.Addr(), GuestIPv6}} {
		p := gopacket.NewPacket(Fragment(tc.src, tc.dst, 0x1234, 1480, make([]byte, 8)), layers.LayerTypeEthernet, gopacket.Default)
		switch l := p.Layers()[2].(type) {
		case *layers.IPv6Fragment:
			if !l.MoreFragments || l.FragmentOffset != 185 || l.Identification != 0x1234 || l.NextHeader != layers.IPProtocolUDP {
				t.Errorf("%+v", l)
			}
		default:
			ip, ok := p.NetworkLayer().(*layers.IPv4)
			if !ok || ip.Flags != layers.IPv4MoreFragments || ip.FragOffset != 185 || ip.Id != 0x1234 {
				t.Errorf("%v", p)
			}
		}
	}
}

func TestCommandInNamespace(t *testing.T) {
	s, err := Open(Options{Kind: KindLinux})
	if err != nil {
		t.Skipf("no network namespace on this machine: %v", err)
	}
	defer s.Close()
	var out strings.Builder
	cmd := exec.Command("ip", "-br", "addr")
	cmd.Stdout = &out
	if err := s.Peer.(*Linux).Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"10.0.2.2/24", "fec0::2/64"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q lacks %s", out.String(), want)
		}
	}
	if err := s.Peer.(*Linux).Neighbor(); err != nil {
		t.Error(err)
	}
	mine, _ := os.Readlink("/proc/self/ns/net")
	var theirs string
	s.Peer.(*Linux).Do(func() (err error) { theirs, err = os.Readlink("/proc/thread-self/ns/net"); return err })
	if mine == theirs {
		t.Error("the namespace is our own")
	}
	s.Peer.Close()
	if err := s.Peer.(*Linux).Do(func() error { return nil }); err != errPeerClosed {
		t.Errorf("Do after Close: %v", err)
	}
}

func TestDirectTap(t *testing.T) {
	s, err := Open(Options{Direct: true})
	if err != nil {
		t.Skipf("no network namespace on this machine: %v", err)
	}
	defer s.Close()
	if err := s.Inject(Ping(HostIPv4.Addr(), GuestIPv4, 1, 1, nil)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 2000)
	for range 20 { // the kernel sends multicast of its own
		n, err := s.guest.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		const header = 10 // struct virtio_net_hdr
		if n > header && strings.Contains(fmt.Sprintf("%x", b[header:n]), "0800") && b[header+23] == 1 {
			return
		}
	}
	t.Error("the injected frame did not come out of the tap")
}

func TestNoticeOfFallback(t *testing.T) {
	t.Setenv("PATH", t.TempDir()) // no ip command
	var notice strings.Builder
	s, err := Open(Options{Notice: &notice})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.Kind() != KindGVisor || !strings.HasPrefix(notice.String(), "NOTICE: ") {
		t.Errorf("peer %s, notice %q", s.Kind(), notice.String())
	}
	if _, err := Open(Options{Kind: KindLinux}); err == nil {
		t.Error("Linux was asked for and something else was opened")
	}
	if _, err := Open(Options{Kind: KindGVisor, Direct: true}); err == nil {
		t.Error("a direct tap with gVisor was opened")
	}
}
