package dhcp4

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/google/gopacket/layers"
)

const xid = 0x12345678

var asked = sent{m: &layers.DHCPv4{Xid: xid, ClientHWAddr: mac[:]}}

// set changes bytes of a message.
func set(b []byte, at int, v ...byte) []byte {
	b = bytes.Clone(b)
	copy(b[at:], v)
	return b
}

// raw is an acknowledgement with an options field of its own.
func raw(options ...byte) []byte {
	b := reply(asked, server, layers.DHCPMsgTypeAck)
	return append(bytes.Clone(b[:atOptions]), options...)
}

func ackWith(more ...layers.DHCPOption) []byte {
	return reply(asked, server, layers.DHCPMsgTypeAck, append(more, secs(layers.DHCPOptLeaseTime, 3600))...)
}

func TestRefusedMessages(t *testing.T) {
	good := reply(asked, server, layers.DHCPMsgTypeAck, leased...)
	if _, err := parse(good, xid, mac); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"empty":               {nil, errShort},
		"no options":          {good[:atOptions-1], errShort},
		"too long":            {append(bytes.Clone(good), make([]byte, maxSize)...), errShort},
		"a request":           {set(good, 0, 1), errNotOurs},
		"not Ethernet":        {set(good, 1, 6), errNotOurs},
		"other xid":           {set(good, atXid, 0), errNotOurs},
		"other MAC":           {set(good, atChaddr, 4), errNotOurs},
		"no cookie":           {set(good, atCookie, 0), errNotOurs},
		"other client":        {ackWith(opt(layers.DHCPOptClientID, 1, 9, 9, 9, 9, 9, 9)), errNotOurs},
		"no type":             {raw(255), errNotOurs},
		"a discover":          {reply(asked, server, layers.DHCPMsgTypeDiscover), errNotOurs},
		"two types":           {raw(53, 1, 5, 53, 1, 2, 255), errOption},
		"long type":           {raw(53, 2, 5, 5, 255), errOption},
		"no server":           {raw(53, 1, 5, 51, 4, 0, 0, 1, 0, 255), errNoServer},
		"server is broadcast": {raw(53, 1, 5, 54, 4, 255, 255, 255, 255, 255), errNoServer},
		"server of 3 bytes":   {raw(53, 1, 5, 54, 3, 1, 2, 3, 255), errOption},
		"option beyond end":   {raw(53, 1, 5, 54, 200, 1), errShort},
		"option without size": {raw(53, 1, 5, 54), errShort},
		"address 0.0.0.0":     {set(good, atYiaddr, 0, 0, 0, 0), errAddress},
		"address loopback":    {set(good, atYiaddr, 127, 0, 0, 1), errAddress},
		"address multicast":   {set(good, atYiaddr, 224, 0, 0, 1), errAddress},
		"address network":     {set(good, atYiaddr, 192, 0, 2, 0), errAddress},
		"address broadcast":   {set(good, atYiaddr, 192, 0, 2, 255), errAddress},
		"mask with holes":     {ackWith(opt(layers.DHCPOptSubnetMask, 255, 0, 255, 0)), errOption},
		"mask of nothing":     {ackWith(opt(layers.DHCPOptSubnetMask, 0, 0, 0, 0)), errOption},
		"short mask":          {ackWith(opt(layers.DHCPOptSubnetMask, 255)), errOption},
		"router of 5 bytes":   {ackWith(opt(layers.DHCPOptRouter, 1, 2, 3, 4, 5)), errOption},
		"no lease":            {reply(asked, server, layers.DHCPMsgTypeAck), errNoTime},
		"lease of 0 s":        {reply(asked, server, layers.DHCPMsgTypeAck, secs(layers.DHCPOptLeaseTime, 0)), errNoTime},
		"lease of 2 bytes":    {ackWith(opt(layers.DHCPOptT1, 0, 1)), errOption},
		"overload of 4":       {raw(52, 1, 4, 255), errOption},
	} {
		if a, err := parse(c.b, xid, mac); err != c.want {
			t.Errorf("%s: %v, %+v; want %v", name, err, a, c.want)
		}
	}
}

// TestLease holds what is made of a server's words to RFC 2131 and to sense.
func TestLease(t *testing.T) {
	mask := func(v ...byte) layers.DHCPOption { return opt(layers.DHCPOptSubnetMask, v...) }
	for name, c := range map[string]struct {
		b    []byte
		want Lease
	}{
		"plain": {ackWith(mask(255, 255, 255, 128), opt(layers.DHCPOptRouter, 192, 0, 2, 1, 192, 0, 2, 2)),
			Lease{netip.MustParsePrefix("192.0.2.77/25"), server, server, 30 * time.Minute, 3150 * time.Second, time.Hour}},
		"no mask: its class": {ackWith(), Lease{netip.MustParsePrefix("192.0.2.77/24"), netip.Addr{}, server, 30 * time.Minute, 3150 * time.Second, time.Hour}},
		"router elsewhere":   {ackWith(opt(layers.DHCPOptRouter, 10, 0, 0, 1)), Lease{netip.MustParsePrefix("192.0.2.77/24"), netip.Addr{}, server, 30 * time.Minute, 3150 * time.Second, time.Hour}},
		"we are the router":  {ackWith(opt(layers.DHCPOptRouter, 192, 0, 2, 77)), Lease{netip.MustParsePrefix("192.0.2.77/24"), netip.Addr{}, server, 30 * time.Minute, 3150 * time.Second, time.Hour}},
		"a mask of one host": {ackWith(mask(255, 255, 255, 255)), Lease{netip.MustParsePrefix("192.0.2.77/32"), netip.Addr{}, server, 30 * time.Minute, 3150 * time.Second, time.Hour}},
		"given times": {ackWith(secs(layers.DHCPOptT1, 600), secs(layers.DHCPOptT2, 1200)),
			Lease{netip.MustParsePrefix("192.0.2.77/24"), netip.Addr{}, server, 10 * time.Minute, 20 * time.Minute, time.Hour}},
		"times beyond the lease": {ackWith(secs(layers.DHCPOptT1, forever), secs(layers.DHCPOptT2, forever)),
			Lease{netip.MustParsePrefix("192.0.2.77/24"), netip.Addr{}, server, 30 * time.Minute, 3150 * time.Second, time.Hour}},
		"a second": {reply(asked, server, layers.DHCPMsgTypeAck, secs(layers.DHCPOptLeaseTime, 1)),
			Lease{netip.MustParsePrefix("192.0.2.77/24"), netip.Addr{}, server, 30 * time.Second, 52500 * time.Millisecond, time.Minute}},
	} {
		a, err := parse(c.b, xid, mac)
		if err != nil || a.lease != c.want {
			t.Errorf("%s: %+v, %v; want %+v", name, a.lease, err, c.want)
		}
	}
}

// TestOverload reads options from the fields file and sname.
func TestOverload(t *testing.T) {
	b := raw(53, 1, 5, 52, 1, 3, 255)
	copy(b[atFile:], []byte{54, 4, 192, 0, 2, 1, 255})
	copy(b[atSname:], []byte{51, 4, 0, 0, 14, 16, 255})
	a, err := parse(b, xid, mac)
	if err != nil || a.lease.Server != server || a.lease.Expire != time.Hour {
		t.Errorf("%+v, %v", a, err)
	}
}

// FuzzParse holds every lease that is taken to what the stack relies on.
func FuzzParse(f *testing.F) {
	f.Add(reply(asked, server, layers.DHCPMsgTypeAck, leased...))
	f.Add(reply(asked, server, layers.DHCPMsgTypeNak))
	f.Add(ackWith(secs(layers.DHCPOptT1, 600), secs(layers.DHCPOptT2, 1200), opt(layers.DHCPOptSubnetMask, 255, 255, 255, 255)))
	f.Add(raw(53, 1, 5, 52, 1, 3, 255))
	f.Add(raw(53, 1, 5, 54, 200, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= atOptions { // get past what is easily told apart
			b = bytes.Clone(b)
			copy(b, []byte{2, 1, 6, 0, 0x12, 0x34, 0x56, 0x78})
			copy(b[atChaddr:], mac[:])
			copy(b[atCookie:], []byte{0x63, 0x82, 0x53, 0x63})
		}
		before := bytes.Clone(b)
		a, err := parse(b, xid, mac)
		if !bytes.Equal(b, before) {
			t.Fatal("the message was changed")
		}
		if err != nil || a.kind == nak {
			return
		}
		l := a.lease
		if !usable(l.Address.Addr()) || l.Address.Bits() < 1 || l.Address.Bits() > 32 || !usable(l.Server) ||
			l.Router.IsValid() && (!l.Address.Contains(l.Router) || l.Router == l.Address.Addr()) {
			t.Errorf("%+v", l)
		}
		if l.Renew <= 0 || l.Renew >= l.Rebind || l.Rebind >= l.Expire || l.Expire < shortest {
			t.Errorf("times %v %v %v", l.Renew, l.Rebind, l.Expire)
		}
	})
}
