// Package layer is what netif and the IP versions have to know of each other,
// without importing each other, so that an image without an IP version does not
// link it.
package layer

import (
	"net/netip"
	"slices"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// Options is what a layer is made with.
type Options struct {
	// IPv4 and IPv6 say which of them the configuration uses; a layer that is
	// linked but not used makes nothing.
	IPv4, IPv6 bool
	// Learned takes what routers say; nil where they are not listened to.
	Learned *Learned
}

// Layer makes the protocols of one IP version.
type Layer func(Options) []stack.NetworkProtocolFactory

// Route is what a router advertises: a way to a network.
type Route struct {
	To     netip.Prefix // ::/0 for a default router
	Router netip.Addr   // link-local
	Rank   int          // higher is better (RFC 4191, section 2.1)
}

// Learned is what router advertisements have said so far. The IPv6 layer
// bounds each kind (gVisor: 10). Its methods may be called from any goroutine
// and wait for nothing but each other.
type Learned struct {
	mu        sync.Mutex
	routes    []Route
	onLink    []netip.Prefix
	addresses []netip.Prefix
	changed   chan struct{}
}

// NewLearned is a Learned that knows nothing.
func NewLearned() *Learned { return &Learned{changed: make(chan struct{}, 1)} }

// Changed delivers one value after one or more changes.
func (l *Learned) Changed() <-chan struct{} { return l.changed }

// Now copies what is known: addresses in the order in which they came, routes
// with the best first.
func (l *Learned) Now() (addresses, onLink []netip.Prefix, routes []Route) {
	l.mu.Lock()
	defer l.mu.Unlock()
	routes = slices.Clone(l.routes)
	slices.SortStableFunc(routes, func(a, b Route) int { return b.Rank - a.Rank })
	return slices.Clone(l.addresses), slices.Clone(l.onLink), routes
}

// SetRoute adds a route, or changes its rank.
func (l *Learned) SetRoute(r Route) {
	l.change(func() { l.routes = append(without(l.routes, sameWay(r)), r) })
}

// DropRoute forgets a route; its rank does not matter.
func (l *Learned) DropRoute(r Route) { l.change(func() { l.routes = without(l.routes, sameWay(r)) }) }

func sameWay(r Route) func(Route) bool {
	return func(o Route) bool { return o.To == r.To && o.Router == r.Router }
}

// SetOnLink takes note that the hosts of a network are neighbours, or no more.
func (l *Learned) SetOnLink(p netip.Prefix, is bool) { l.change(func() { set(&l.onLink, p, is) }) }

// SetAddress takes note that an address is ours, or no more.
func (l *Learned) SetAddress(p netip.Prefix, is bool) { l.change(func() { set(&l.addresses, p, is) }) }

func (l *Learned) change(f func()) {
	l.mu.Lock()
	f()
	l.mu.Unlock()
	select {
	case l.changed <- struct{}{}:
	default: // nobody has looked since the last one
	}
}

func set(list *[]netip.Prefix, p netip.Prefix, is bool) {
	switch has := slices.Contains(*list, p); {
	case is && !has:
		*list = append(*list, p)
	case !is:
		*list = without(*list, func(o netip.Prefix) bool { return o == p })
	}
}

// without leaves the old list alone.
func without[T any](list []T, drop func(T) bool) []T {
	return slices.DeleteFunc(slices.Clone(list), drop)
}

// Prefix converts a network.
func Prefix(s tcpip.Subnet) netip.Prefix {
	return netip.PrefixFrom(Addr(s.ID()), s.Prefix())
}

// Addr converts an address.
func Addr(a tcpip.Address) netip.Addr {
	n, _ := netip.AddrFromSlice(a.AsSlice())
	return n
}
