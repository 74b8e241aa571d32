// Package dhcp4 obtains an IPv4 address from a DHCP server and keeps it:
// discover, request, renew, rebind, expiry. Of what a server says it takes the
// address, the mask, the first router and the times, and nothing else.
//
// It speaks DHCP messages; how they are carried is the Transport's business.
// Every message is hostile: bounds are checked, and one that is not the answer
// to our question in all that we know of it is as if it had not come.
//
// Specifications: RFC 2131, 2132, 3396 (long options), 6842 (the client
// identifier in answers). Not done: leases do not survive a restart
// (INIT-REBOOT), an address is not probed before use and so never declined, and
// it is not released when the VM ends, as the VM may be gone at any time.
package dhcp4

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"
)

// Ports of the protocol (RFC 2131, section 4.1).
const (
	ClientPort = 68
	ServerPort = 67
)

// Lease is what a server has given for a time.
type Lease struct {
	Address netip.Prefix
	Router  netip.Addr // invalid: there is none within the network
	Server  netip.Addr
	// Renew, Rebind and Expire count from the request that brought the lease:
	// from when on its server is asked again, any server is asked, and the
	// address must not be used.
	Renew, Rebind, Expire time.Duration
}

// Message types (RFC 2132, section 9.6).
const (
	discover = 1
	offer    = 2
	request  = 3
	ack      = 5
	nak      = 6
)

// Options (RFC 2132).
const (
	optPad       = 0
	optMask      = 1
	optRouter    = 3
	optHostname  = 12
	optRequested = 50
	optLease     = 51
	optOverload  = 52
	optType      = 53
	optServer    = 54
	optParams    = 55
	optMaxSize   = 57
	optRenew     = 58
	optRebind    = 59
	optClientID  = 61
	optEnd       = 255
)

// Places in a message (RFC 2131, section 2).
const (
	atXid     = 4
	atSecs    = 8
	atCiaddr  = 12
	atYiaddr  = 16
	atChaddr  = 28
	atSname   = 44
	atFile    = 108
	atCookie  = 236
	atOptions = 240

	cookie  = 0x63825363
	minSize = 300  // what the oldest servers and relays want (RFC 1542, section 2.1)
	maxSize = 1472 // what fits a datagram on Ethernet; a longer one is not read
)

// query is a message of ours.
type query struct {
	kind      byte
	xid       uint32
	secs      uint16 // seconds since we began
	mac       [6]byte
	hostname  string
	client    netip.Addr // our address, when we have one
	requested netip.Addr // the address that we want
	server    netip.Addr // whose offer we take
}

// append appends the message to b.
func (q *query) append(b []byte) []byte {
	start := len(b)
	b = append(b, make([]byte, atOptions)...)
	m := b[start:]
	m[0], m[1], m[2] = 1, 1, 6 // a request, on Ethernet, whose addresses have 6 bytes
	binary.BigEndian.PutUint32(m[atXid:], q.xid)
	binary.BigEndian.PutUint16(m[atSecs:], q.secs)
	if q.client.IsValid() {
		copy(m[atCiaddr:], q.client.AsSlice())
	}
	copy(m[atChaddr:], q.mac[:])
	binary.BigEndian.PutUint32(m[atCookie:], cookie)
	b = append(b, optType, 1, q.kind)
	b = append(append(b, optClientID, 7, 1), q.mac[:]...)
	if q.requested.IsValid() {
		b = append(append(b, optRequested, 4), q.requested.AsSlice()...)
	}
	if q.server.IsValid() {
		b = append(append(b, optServer, 4), q.server.AsSlice()...)
	}
	if n := len(q.hostname); n > 0 && n <= 63 {
		b = append(append(b, optHostname, byte(n)), q.hostname...)
	}
	b = append(b, optMaxSize, 2, maxSize>>8, maxSize&0xff)
	b = append(b, optParams, 5, optMask, optRouter, optLease, optRenew, optRebind)
	b = append(b, optEnd)
	for len(b)-start < minSize {
		b = append(b, optPad)
	}
	return b
}

// answer is a server's message.
type answer struct {
	kind  byte
	lease Lease
}

var (
	errNotOurs  = errors.New("not an answer to our question")
	errShort    = errors.New("cut short")
	errOption   = errors.New("an option of the wrong length")
	errAddress  = errors.New("an address that no host can have")
	errNoServer = errors.New("no server identifier")
	errNoTime   = errors.New("no lease time")
)

// parse reads a server's message, the answer to the question xid of mac.
func parse(b []byte, xid uint32, mac [6]byte) (answer, error) {
	var a answer
	if len(b) < atOptions || len(b) > maxSize {
		return a, errShort
	}
	if b[0] != 2 || b[1] != 1 || b[2] != 6 || binary.BigEndian.Uint32(b[atXid:]) != xid ||
		[6]byte(b[atChaddr:]) != mac || binary.BigEndian.Uint32(b[atCookie:]) != cookie {
		return a, errNotOurs
	}
	o, err := readOptions(b)
	if err != nil {
		return a, err
	}
	if id := o.clientID; id != nil && string(id) != "\x01"+string(mac[:]) {
		return a, errNotOurs
	}
	a.kind = o.kind
	switch a.lease.Server = o.server; {
	case a.kind != offer && a.kind != ack && a.kind != nak:
		return a, errNotOurs
	case !usable(o.server):
		return a, errNoServer
	case a.kind == nak:
		return a, nil
	}
	addr := netip.AddrFrom4([4]byte(b[atYiaddr:]))
	if !usable(addr) {
		return a, errAddress
	}
	bits := o.bits
	if bits == 0 {
		bits = class(addr)
	}
	a.lease.Address = netip.PrefixFrom(addr, bits)
	if bits < 31 && (addr == a.lease.Address.Masked().Addr() || addr == last(a.lease.Address)) {
		return a, errAddress
	}
	if a.lease.Address.Contains(o.router) && o.router != addr {
		a.lease.Router = o.router
	}
	if o.lease == 0 && a.kind == ack {
		return a, errNoTime
	}
	a.lease.times(o)
	return a, nil
}

// class is the prefix length of an address by the rules before CIDR, for a
// server that sends no mask.
func class(a netip.Addr) int {
	switch b := a.As4(); {
	case b[0] < 128:
		return 8
	case b[0] < 192:
		return 16
	}
	return 24
}

// usable says whether a is the address of one host.
func usable(a netip.Addr) bool {
	if !a.Is4() {
		return false
	}
	b := a.As4()
	return b[0] != 0 && b[0] != 127 && b[0] < 224
}

// last is the broadcast address of a network.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])|(1<<(32-p.Bits())-1))
	return netip.AddrFrom4(b)
}
