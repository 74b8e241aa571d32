// Package guesttest boots the product's images and holds them to what
// SPECIFICATION.md promises.
package guesttest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"ampoule/tools/boottest/vm"
	"ampoule/tools/guesttest/guest"
	"ampoule/tools/load"
	"ampoule/tools/netpeer"
)

// images is shared by the tests, so that each image is built once.
var images guest.Images

const echoPort = 7

var guestAddrs = []netip.Addr{netpeer.GuestIPv4, netpeer.GuestIPv6}

// bootEcho boots the echo appliance on a segment and waits until it answers.
func bootEcho(t *testing.T, v guest.Variant, o netpeer.Options) (*netpeer.Segment, *vm.VM) {
	t.Helper()
	s := guest.Segment(t, o)
	g := guest.Boot(t, vm.Config{Image: images.App(t, "echo", v.GOAMD64), Machine: v.Machine, CPU: guest.CPU(v.GOAMD64),
		RAM: 32, RNG: true, Net: s.Net()})
	guest.Up(t, g, s.DialContext, echoAddr(netpeer.GuestIPv4), load.Echo(64))
	return s, g
}

func echoAddr(a netip.Addr) string { return netip.AddrPortFrom(a, echoPort).String() }

// dial connects within ten seconds; the connection is good for limit.
func dial(t *testing.T, s *netpeer.Segment, network string, a netip.Addr, limit time.Duration) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := s.DialContext(ctx, network, echoAddr(a))
	if err != nil {
		t.Fatalf("%s to %s: %v", network, a, err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(limit))
	return c
}

func TestEcho(t *testing.T) {
	guest.Each(t, func(t *testing.T, v guest.Variant) {
		s, _ := bootEcho(t, v, netpeer.Options{})
		for _, a := range guestAddrs {
			u := dial(t, s, "udp", a, 20*time.Second)
			for _, size := range []int{1, 2, 63, 512, 1400, 1452} {
				sent, got := random(size), make([]byte, 2000)
				if _, err := u.Write(sent); err != nil {
					t.Fatal(err)
				}
				n, err := u.Read(got)
				if err != nil || !bytes.Equal(sent, got[:n]) {
					t.Errorf("UDP %s: %d bytes sent, %d came back, %v", a, size, n, err)
				}
			}
			roundTrip(t, dial(t, s, "tcp", a, 20*time.Second), 100_000)
		}
	})
}

func random(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

// roundTrip sends n random bytes, closes its half, and compares what comes back
// until the other half is closed.
func roundTrip(t *testing.T, c net.Conn, n int) {
	t.Helper()
	data := random(n)
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(data)
		if err == nil {
			err = c.(interface{ CloseWrite() error }).CloseWrite()
		}
		sent <- err
	}()
	h := sha256.New()
	got, err := io.Copy(h, c)
	if e := <-sent; e != nil {
		t.Errorf("TCP to %s: sending: %v", c.RemoteAddr(), e)
	}
	if want := sha256.Sum256(data); err != nil || got != int64(n) || !bytes.Equal(h.Sum(nil), want[:]) {
		t.Errorf("TCP to %s: %d bytes sent, %d came back, same: %v, %v", c.RemoteAddr(), n, got, bytes.Equal(h.Sum(nil), want[:]), err)
	}
}

// TestBulk moves 16 MiB up and down at once, through a tap device with its
// checksum and segmentation offloads, and through a plain cable without.
func TestBulk(t *testing.T) {
	for _, m := range vm.Machines {
		for _, direct := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/offload=%v", m, direct), func(t *testing.T) {
				if direct {
					s, err := netpeer.Open(netpeer.Options{Direct: true})
					if err != nil {
						t.Skipf("no tap device on this machine, so no offloads: %v", err)
					}
					s.Close()
				}
				s, _ := bootEcho(t, guest.Variant{Machine: m, GOAMD64: "v3"}, netpeer.Options{Direct: direct})
				for _, a := range guestAddrs {
					began := time.Now()
					roundTrip(t, dial(t, s, "tcp", a, 2*time.Minute), 16<<20)
					t.Logf("%s: 16 MiB both ways in %v", a, time.Since(began).Round(10*time.Millisecond))
				}
			})
		}
	}
}

// TestBadCable holds TCP to delivering all, and UDP to answering what arrives,
// on a cable that loses, repeats and reorders.
func TestBadCable(t *testing.T) {
	s, _ := bootEcho(t, guest.Variant{Machine: vm.MicroVM, GOAMD64: "v1"}, netpeer.Options{})
	for d := range netpeer.Direction(2) {
		s.Wire.Impair(d, netpeer.Impairment{Loss: 0.01, Duplicate: 0.01, Reorder: 0.02, Delay: time.Millisecond,
			Jitter: time.Millisecond, Seed: uint64(d) + 1})
	}
	for _, a := range guestAddrs {
		roundTrip(t, dial(t, s, "tcp", a, 2*time.Minute), 2<<20)
	}
	r, err := load.Loop{Requests: 1000, Clients: 8, Timeout: 200 * time.Millisecond, Retries: 8}.
		Run(t.Context(), s.DialContext, echoAddr(netpeer.GuestIPv4), load.Echo(200))
	if err != nil || r.Answered != 1000 || r.Retries == 0 {
		t.Errorf("UDP: %+v, %v", r, err)
	}
	for d := range netpeer.Direction(2) {
		if st := s.Wire.Stats(d); st.Lost == 0 || st.Duplicated == 0 || st.Reordered == 0 || st.Overflow > 0 {
			t.Errorf("direction %d: the cable was not as bad as planned: %+v", d, st)
		}
	}
}

// TestLink checks what a host needs before and beside UDP and TCP: ARP,
// neighbour discovery, echo replies.
func TestLink(t *testing.T) {
	guest.Each(t, func(t *testing.T, v guest.Variant) {
		s, _ := bootEcho(t, v, netpeer.Options{})
		answers := make(chan gopacket.Packet, 1000)
		s.Wire.Watch(func(d netpeer.Direction, f []byte) {
			if d == netpeer.FromGuest {
				answers <- gopacket.NewPacket(bytes.Clone(f), layers.LayerTypeEthernet, gopacket.Default)
			}
		})
		host4, host6 := netpeer.HostIPv4.Addr(), netpeer.HostIPv6.Addr()
		for name, ask := range map[string]struct {
			frame []byte
			want  func(gopacket.Packet) bool
		}{
			"ARP": {netpeer.WhoHas(host4, netpeer.GuestIPv4), func(p gopacket.Packet) bool {
				l, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP)
				return ok && l.Operation == layers.ARPReply && bytes.Equal(l.SourceHwAddress, netpeer.GuestMAC)
			}},
			"neighbour solicitation": {netpeer.Solicit(host6, netpeer.GuestIPv6), func(p gopacket.Packet) bool {
				l, ok := p.Layer(layers.LayerTypeICMPv6NeighborAdvertisement).(*layers.ICMPv6NeighborAdvertisement)
				return ok && l.TargetAddress.Equal(netpeer.GuestIPv6.AsSlice())
			}},
			"ping": {netpeer.Ping(host4, netpeer.GuestIPv4, 7, 9, random(1000)), func(p gopacket.Packet) bool {
				l, ok := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
				return ok && l.TypeCode.Type() == layers.ICMPv4TypeEchoReply && l.Id == 7 && l.Seq == 9 && len(l.Payload) == 1000
			}},
			"ping over IPv6": {netpeer.Ping(host6, netpeer.GuestIPv6, 7, 9, random(1000)), func(p gopacket.Packet) bool {
				l, ok := p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6)
				return ok && l.TypeCode.Type() == layers.ICMPv6TypeEchoReply
			}},
		} {
			if err := s.Inject(ask.frame); err != nil {
				t.Fatal(err)
			}
			if !seen(answers, ask.want) {
				t.Errorf("no answer to %s", name)
			}
		}
	})
}

// seen waits five seconds for a frame that ok takes.
func seen(answers <-chan gopacket.Packet, ok func(gopacket.Packet) bool) bool {
	for limit := time.After(5 * time.Second); ; {
		select {
		case p := <-answers:
			if ok(p) {
				return true
			}
		case <-limit:
			return false
		}
	}
}

// TestMalformedFrames sends frames cut short, with flipped bits and of noise,
// after which the guest must still answer.
func TestMalformedFrames(t *testing.T) {
	s, g := bootEcho(t, guest.Variant{Machine: vm.MicroVM, GOAMD64: "v1"}, netpeer.Options{})
	rnd := rand.New(rand.NewPCG(1, 2))
	src4 := netip.AddrPortFrom(netpeer.HostIPv4.Addr(), 4000)
	src6 := netip.AddrPortFrom(netpeer.HostIPv6.Addr(), 4000)
	whole := [][]byte{
		netpeer.Datagram(src4, netip.AddrPortFrom(netpeer.GuestIPv4, echoPort), random(100)),
		netpeer.Datagram(src6, netip.AddrPortFrom(netpeer.GuestIPv6, echoPort), random(100)),
		netpeer.SYN(src4, netip.AddrPortFrom(netpeer.GuestIPv4, echoPort), 1),
		netpeer.Ping(src6.Addr(), netpeer.GuestIPv6, 1, 1, random(20)),
		netpeer.Solicit(src6.Addr(), netpeer.GuestIPv6),
		netpeer.WhoHas(src4.Addr(), netpeer.GuestIPv4),
		netpeer.Fragment(src4.Addr(), netpeer.GuestIPv4, 1, 8, random(64)),
	}
	for i := range 5000 {
		f := bytes.Clone(whole[i%len(whole)])
		for range 1 + rnd.IntN(8) {
			f[rnd.IntN(len(f))] ^= 1 << rnd.IntN(8)
		}
		copy(f, netpeer.GuestMAC)
		if rnd.IntN(4) == 0 {
			f = f[:14+rnd.IntN(len(f)-14)]
		}
		if err := s.Inject(f); err != nil {
			t.Fatal(err)
		}
	}
	guest.Up(t, g, s.DialContext, echoAddr(netpeer.GuestIPv4), load.Echo(64))
	roundTrip(t, dial(t, s, "tcp", netpeer.GuestIPv6, 20*time.Second), 10_000)
}

// TestIdle holds a guest that nobody asks to one percent of a host CPU.
func TestIdle(t *testing.T) {
	for _, m := range vm.Machines {
		t.Run(string(m), func(t *testing.T) {
			s := guest.Segment(t, netpeer.Options{})
			v := guest.Boot(t, vm.Config{Image: images.App(t, "echo", "v1"), Machine: m, RAM: 32, RNG: true, Net: s.Net()})
			guest.Up(t, v, s.DialContext, echoAddr(netpeer.GuestIPv4), load.Echo(64))
			time.Sleep(2 * time.Second) // what the boot left to do
			const span = 10 * time.Second
			before, err := v.CPUTime()
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(span)
			after, err := v.CPUTime()
			if err != nil {
				t.Fatal(err)
			}
			if used := after - before; used > span/100 {
				t.Errorf("%v of %v is more than 1%%", used, span)
			}
			guest.Up(t, v, s.DialContext, echoAddr(netpeer.GuestIPv4), load.Echo(64))
		})
	}
}
