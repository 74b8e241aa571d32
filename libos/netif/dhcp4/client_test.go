package dhcp4

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

var (
	mac    = [6]byte{2, 0, 0, 0, 0, 1}
	server = netip.MustParseAddr("192.0.2.1")
	other  = netip.MustParseAddr("192.0.2.2")
	host   = netip.MustParseAddr("192.0.2.77")
)

// sent is a message of the client's, decoded by gopacket.
type sent struct {
	at       time.Duration // since the test began
	from, to netip.Addr
	kind     layers.DHCPMsgType
	m        *layers.DHCPv4
}

func (s sent) option(o layers.DHCPOpt) []byte {
	for _, x := range s.m.Options {
		if x.Type == o {
			return x.Data
		}
	}
	return nil
}

// network is a Transport and the Events of one client, in a synctest bubble.
type network struct {
	t      *testing.T
	began  time.Time
	in     chan []byte
	again  chan struct{}
	sent   []sent
	events []string
	answer func(sent) []byte // nil: silence
	mac    [6]byte
}

func (n *network) Received() <-chan []byte { return n.in }

func (n *network) Send(msg []byte, from, to netip.Addr) {
	if len(msg) < minSize {
		n.t.Errorf("a message of %d bytes", len(msg))
	}
	p := gopacket.NewPacket(bytes.Clone(msg), layers.LayerTypeDHCPv4, gopacket.Default)
	m, ok := p.Layer(layers.LayerTypeDHCPv4).(*layers.DHCPv4)
	if !ok {
		n.t.Fatalf("not DHCP: %v", p.ErrorLayer())
	}
	s := sent{at: time.Since(n.began), from: from, to: to, m: m}
	s.kind = layers.DHCPMsgType(s.option(layers.DHCPOptMessageType)[0])
	if m.Operation != layers.DHCPOpRequest || !bytes.Equal(m.ClientHWAddr, n.mac[:]) {
		n.t.Errorf("sent %+v", m)
	}
	n.sent = append(n.sent, s)
	if n.answer == nil {
		return
	}
	if b := n.answer(s); b != nil {
		n.in <- b
	}
}

func (n *network) event(format string, args ...any) {
	n.events = append(n.events, fmt.Sprintf("%v ", time.Since(n.began).Round(time.Second))+fmt.Sprintf(format, args...))
}
func (n *network) Bound(l Lease)           { n.event("bound %v by %v", l.Address, l.Router) }
func (n *network) Lost(err error)          { n.event("lost: %v", err) }
func (n *network) Waiting(d time.Duration) { n.event("waiting %v", d) }

// opt is an option with a value.
func opt(o layers.DHCPOpt, v ...byte) layers.DHCPOption { return layers.NewDHCPOption(o, v) }

func secs(o layers.DHCPOpt, n uint32) layers.DHCPOption {
	return opt(o, binary.BigEndian.AppendUint32(nil, n)...)
}

// reply is a server's answer to s.
func reply(s sent, from netip.Addr, kind layers.DHCPMsgType, more ...layers.DHCPOption) []byte {
	m := &layers.DHCPv4{
		Operation: layers.DHCPOpReply, HardwareType: layers.LinkTypeEthernet, HardwareLen: 6, Xid: s.m.Xid,
		ClientHWAddr: s.m.ClientHWAddr, YourClientIP: host.AsSlice(),
		Options: append(layers.DHCPOptions{
			opt(layers.DHCPOptMessageType, byte(kind)), opt(layers.DHCPOptServerID, from.AsSlice()...),
		}, more...),
	}
	b := gopacket.NewSerializeBuffer()
	if err := m.SerializeTo(b, gopacket.SerializeOptions{FixLengths: true}); err != nil {
		panic(err)
	}
	return b.Bytes()
}

var leased = []layers.DHCPOption{
	opt(layers.DHCPOptSubnetMask, 255, 255, 255, 0), opt(layers.DHCPOptRouter, 192, 0, 2, 254),
	secs(layers.DHCPOptLeaseTime, 3600),
}

// serve answers as a server should.
func serve(s sent) []byte {
	kind := layers.DHCPMsgTypeAck
	if s.kind == layers.DHCPMsgTypeDiscover {
		kind = layers.DHCPMsgTypeOffer
	}
	return reply(s, server, kind, leased...)
}

// run runs a client for a time, in which steps happen.
func run(t *testing.T, limit time.Duration, steps func(n *network)) *network {
	n := &network{t: t, answer: serve, mac: mac}
	synctest.Test(t, func(t *testing.T) {
		n.began, n.in, n.again = time.Now(), make(chan []byte, 4), make(chan struct{}, 1)
		ctx, cancel := context.WithCancel(t.Context())
		c := &Client{MAC: func() [6]byte { return n.mac }, Hostname: "ns1", Transport: n, Events: n, Rand: rand.New(rand.NewPCG(1, 2)), Again: n.again}
		done := make(chan struct{})
		go func() {
			time.Sleep(time.Nanosecond) // so that steps go first
			c.Run(ctx)
			close(done)
		}()
		if steps != nil {
			steps(n)
		}
		time.Sleep(limit - time.Since(n.began))
		cancel()
		<-done
	})
	return n
}

func (n *network) want(events ...string) {
	n.t.Helper()
	if !slices.Equal(n.events, events) {
		n.t.Errorf("events %q, want %q", n.events, events)
	}
}

func TestObtain(t *testing.T) {
	n := run(t, time.Minute, nil)
	n.want("0s bound 192.0.2.77/24 by 192.0.2.254")
	if len(n.sent) != 2 {
		t.Fatalf("%d messages", len(n.sent))
	}
	d, r := n.sent[0], n.sent[1]
	if d.kind != layers.DHCPMsgTypeDiscover || d.to.IsValid() || d.from.IsValid() ||
		!bytes.Equal(d.option(layers.DHCPOptParamsRequest), []byte{1, 3, 51, 58, 59}) ||
		string(d.option(layers.DHCPOptHostname)) != "ns1" ||
		!bytes.Equal(d.option(layers.DHCPOptClientID), append([]byte{1}, mac[:]...)) {
		t.Errorf("discover %+v", d)
	}
	if r.kind != layers.DHCPMsgTypeRequest || r.to.IsValid() || r.m.Xid != d.m.Xid || !r.m.ClientIP.IsUnspecified() ||
		!bytes.Equal(r.option(layers.DHCPOptRequestIP), host.AsSlice()) ||
		!bytes.Equal(r.option(layers.DHCPOptServerID), server.AsSlice()) {
		t.Errorf("request %+v", r)
	}
}

// TestSilence wants the time between attempts to double up to a minute or so.
func TestSilence(t *testing.T) {
	n := run(t, 10*time.Minute, func(n *network) { n.answer = nil })
	for i := 1; i < len(n.sent); i++ {
		wait := min(firstWait<<(i-1), lastWait)
		if got := n.sent[i].at - n.sent[i-1].at; got < wait*3/4 || got > wait*5/4 {
			t.Errorf("%v after message %d, want about %v", got, i, wait)
		}
		if n.sent[i].m.Secs == 0 || n.sent[i].m.Xid != n.sent[0].m.Xid {
			t.Errorf("message %d: secs %d, xid %x", i, n.sent[i].m.Secs, n.sent[i].m.Xid)
		}
	}
	if len(n.sent) < 12 || len(n.events) < 6 {
		t.Errorf("%d messages, %d events", len(n.sent), len(n.events))
	}
}

// TestOfferWithdrawn wants a new search when the server forgets its offer.
func TestOfferWithdrawn(t *testing.T) {
	n := run(t, time.Minute, func(n *network) {
		n.answer = func(s sent) []byte {
			if s.kind == layers.DHCPMsgTypeRequest && s.at < 10*time.Second {
				return nil
			}
			return serve(s)
		}
	})
	if len(n.events) != 1 || len(n.sent) != requests+3 && len(n.sent) != requests+4 {
		t.Errorf("%d messages, %q", len(n.sent), n.events)
	}
}

func TestRenew(t *testing.T) {
	n := run(t, 70*time.Minute, nil)
	n.want("0s bound 192.0.2.77/24 by 192.0.2.254", "30m0s bound 192.0.2.77/24 by 192.0.2.254", "1h0m0s bound 192.0.2.77/24 by 192.0.2.254")
	r := n.sent[2]
	if r.to != server || r.from != host || !r.m.ClientIP.Equal(host.AsSlice()) ||
		r.option(layers.DHCPOptRequestIP) != nil || r.option(layers.DHCPOptServerID) != nil {
		t.Errorf("renewal %+v", r)
	}
}

// TestRebind has the server fall silent and another take over.
func TestRebind(t *testing.T) {
	n := run(t, time.Hour, func(n *network) {
		time.Sleep(time.Minute)
		n.answer = func(s sent) []byte {
			if s.to.IsValid() {
				return nil
			}
			return reply(s, other, layers.DHCPMsgTypeAck, leased...)
		}
	})
	n.want("0s bound 192.0.2.77/24 by 192.0.2.254", "52m30s bound 192.0.2.77/24 by 192.0.2.254")
	for i, s := range n.sent[2 : len(n.sent)-1] {
		if s.to != server || i > 0 && s.at-n.sent[1+i].at < time.Minute {
			t.Errorf("renewal %d: %+v", i, s)
		}
	}
}

// TestExpire wants the address given up on time, and another one looked for.
func TestExpire(t *testing.T) {
	n := run(t, 61*time.Minute, func(n *network) {
		time.Sleep(time.Minute)
		n.answer = nil
	})
	if len(n.events) < 2 || n.events[1] != "1h0m0s lost: "+ErrExpired.Error() {
		t.Errorf("%q", n.events)
	}
	if last := n.sent[len(n.sent)-1]; last.kind != layers.DHCPMsgTypeDiscover || last.from.IsValid() {
		t.Errorf("at last %+v", last)
	}
}

func TestRefused(t *testing.T) {
	n := run(t, 31*time.Minute, func(n *network) {
		time.Sleep(time.Minute)
		n.answer = func(s sent) []byte {
			if s.from.IsValid() {
				return reply(s, server, layers.DHCPMsgTypeNak)
			}
			return serve(s)
		}
	})
	n.want("0s bound 192.0.2.77/24 by 192.0.2.254", "30m0s lost: "+ErrRefused.Error(), "30m0s bound 192.0.2.77/24 by 192.0.2.254")
}

// TestAgain wants any server to be asked at once when the network may have
// changed, and again soon when none answers.
func TestAgain(t *testing.T) {
	n := run(t, 10*time.Minute, func(n *network) {
		time.Sleep(3 * time.Minute)
		n.answer = nil
		n.again <- struct{}{}
		time.Sleep(30 * time.Second)
		n.answer = serve
	})
	n.want("0s bound 192.0.2.77/24 by 192.0.2.254", "4m0s bound 192.0.2.77/24 by 192.0.2.254")
	if s := n.sent[2]; s.to.IsValid() || s.at != 3*time.Minute {
		t.Errorf("%+v", s)
	}
}

// TestMoved wants an interface that comes back with another link address to be
// another client.
func TestMoved(t *testing.T) {
	n := run(t, 10*time.Minute, func(n *network) {
		time.Sleep(3 * time.Minute)
		n.mac[5]++
		n.again <- struct{}{}
	})
	n.want("0s bound 192.0.2.77/24 by 192.0.2.254", "3m0s lost: "+ErrMoved.Error(), "3m0s bound 192.0.2.77/24 by 192.0.2.254")
}

// TestForever has a lease without an end.
func TestForever(t *testing.T) {
	n := run(t, 25*time.Hour, func(n *network) {
		n.answer = func(s sent) []byte {
			kind := layers.DHCPMsgTypeAck
			if s.kind == layers.DHCPMsgTypeDiscover {
				kind = layers.DHCPMsgTypeOffer
			}
			return reply(s, server, kind, secs(layers.DHCPOptLeaseTime, forever))
		}
	})
	n.want("0s bound 192.0.2.77/24 by invalid IP", "24h0m0s bound 192.0.2.77/24 by invalid IP")
}

// TestFlood wants the search to go on in time under a flood of other messages.
func TestFlood(t *testing.T) {
	n := run(t, 10*time.Second, func(n *network) {
		n.answer = nil
		for range 1000 {
			n.in <- reply(n.sent0(), server, layers.DHCPMsgTypeNak)
			time.Sleep(5 * time.Millisecond)
		}
	})
	if len(n.sent) < 3 || len(n.events) > 0 {
		t.Errorf("%d messages, events %q", len(n.sent), n.events)
	}
}

// sent0 is a message that the client never sent.
func (n *network) sent0() sent {
	return sent{m: &layers.DHCPv4{Xid: 1, ClientHWAddr: mac[:]}}
}
