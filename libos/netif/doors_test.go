package netif

import (
	"net/netip"
	"testing"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"ampoule/libos/netif/netiftest"
)

// keyOf is the key of a connection from one address and port to another.
func keyOf(from, to string) *flowKey {
	f, t := netip.MustParseAddrPort(from), netip.MustParseAddrPort(to)
	etherType := uint64(typeIPv6)
	if t.Addr().Is4() {
		etherType = typeIPv4
	}
	return &flowKey{words(f.Addr().AsSlice()), words(t.Addr().AsSlice()), etherType<<32 | uint64(f.Port())<<16 | uint64(t.Port())}
}

// TestKnock: a listener gets those SYNs straight that the layers would surely give it, and
// no others.
func TestKnock(t *testing.T) {
	f := flows{table: make([]*flow, 16)}
	f.settle([]netip.Prefix{netip.MustParsePrefix("10.1.2.2/24"), netip.MustParsePrefix("10.9.0.2/31"), netip.MustParsePrefix("fd00::2/64")})
	for _, etherType := range []uint16{typeIPv4, typeIPv6} {
		f.doors.open = append(f.doors.open, door{port: 80, etherType: etherType, to: someone{}},
			door{port: 81, etherType: etherType, to: someone{}, closed: true})
	}
	if f.knock(keyOf("10.1.2.9:4000", "10.1.2.2:80")) != nil {
		t.Error("a door is open at an address that the layers have not vouched for")
	}
	for _, to := range []string{"10.1.2.2:9", "10.9.0.2:9", "[fd00::2]:9"} {
		f.doors.seen(keyOf("10.1.2.9:1", to))
	}
	for _, c := range []struct {
		from, to string
		open     bool
	}{
		{"10.1.2.9:4000", "10.1.2.2:80", true},
		{"10.1.2.9:4000", "10.9.0.2:80", true},
		{"192.0.2.255:4000", "10.1.2.2:80", true},
		{"10.9.0.3:4000", "10.9.0.2:80", true}, // RFC 3021: no broadcast
		{"[fd00::9]:4000", "[fd00::2]:80", true},
		{"[2001:db8::]:4000", "[fd00::2]:80", true},
		{"10.1.2.9:4000", "10.1.2.2:81", false}, // others listen there too
		{"10.1.2.9:4000", "10.1.2.2:82", false},
		{"10.1.2.9:4000", "10.1.2.3:80", false}, // not ours
		{"[fd00::9]:4000", "[fd00::3]:80", false},
		{"10.1.2.9:0", "10.1.2.2:80", false},
		{"10.1.2.2:80", "10.1.2.2:80", false}, // from ourselves
		{"10.1.2.2:4000", "10.9.0.2:80", false},
		{"[fd00::2]:4000", "[fd00::2]:80", false},
		{"10.1.2.255:4000", "10.1.2.2:80", false}, // broadcasts
		{"10.1.2.0:4000", "10.1.2.2:80", false},
		{"255.255.255.255:4000", "10.1.2.2:80", false},
		{"0.0.0.0:4000", "10.1.2.2:80", false},
		{"0.1.2.3:4000", "10.1.2.2:80", false},
		{"127.0.0.1:4000", "10.1.2.2:80", false},
		{"224.0.0.1:4000", "10.1.2.2:80", false},
		{"[::]:4000", "[fd00::2]:80", false},
		{"[::1]:4000", "[fd00::2]:80", false},
		{"[::ffff:10.1.2.9]:4000", "[fd00::2]:80", false},
		{"[ff02::1]:4000", "[fd00::2]:80", false},
		{"[fe80::9]:4000", "[fd00::2]:80", false},
	} {
		if open := f.knock(keyOf(c.from, c.to)) != nil; open != c.open {
			t.Errorf("from %s to %s: straight to the listener: %v", c.from, c.to, open)
		}
	}
}

// queued is the queue of a stack that is told of all connections.
type queued struct{ straightQueue }

func (queued) QueueStraight(stack.TransportEndpoint, buffer.Buffer, []byte, tcpip.NetworkProtocolNumber, tcpip.NICID, int, int, int, bool) {
}

// TestForgottenSYN: a SYN for a connection that was forgotten is the layers', which give it
// to that connection and not to the listener.
func TestForgottenSYN(t *testing.T) {
	h := &host{t: t}
	h.dev, _ = netiftest.Pair(netiftest.Options{}, netiftest.Options{})
	f := flows{table: make([]*flow, 16), queue: queued{}}
	f.doors.open = []door{{port: 80, etherType: typeIPv4, to: someone{}}}
	f.n.Store(1)
	straight := func(port uint16) bool {
		b := h.syn("10.1.2.9", port, 80, 1)
		p, _ := parse(b)
		data := buffer.MakeWithData(b)
		return f.take(b, p, &data, true)
	}
	k := keyOf("10.1.2.9:4000", addrB4+":80")
	e := &flow{key: *k, to: someone{}}
	f.add(e)
	if !straight(4000) {
		t.Error("the connection is not found")
	}
	f.forget()
	f.doors.seen(k)
	if !straight(4001) {
		t.Error("the door is closed")
	}
	if straight(4000) {
		t.Error("the listener gets a SYN for a connection that there is, or that is found")
	}
	if f.Leave(e); !straight(4000) || f.n.Load() != 1 {
		t.Errorf("a connection that has ended keeps its door closed, or there are %d with it", f.n.Load())
	}
}
