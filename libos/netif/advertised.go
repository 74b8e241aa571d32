package netif

import (
	"context"
	"net/netip"
	"slices"

	"gvisor.dev/gvisor/pkg/tcpip"

	"ampoule/libos/netif/layer"
)

// advertised connects the stack to what routers say.
func (a *addresses) advertised(l *layer.Learned) {
	a.learned = func() []netip.Prefix {
		addresses, _, _ := l.Now()
		return addresses
	}
	a.ways = func() (specific, general []tcpip.Route) {
		_, onLink, routes := l.Now()
		for _, p := range onLink {
			specific = append(specific, route(p, netip.Addr{}))
		}
		// The longest prefix counts (RFC 4191, section 3.2), and gVisor takes
		// the first route that fits.
		slices.SortStableFunc(routes, func(a, b layer.Route) int { return b.To.Bits() - a.To.Bits() })
		for _, r := range routes {
			if isDefault(r) {
				general = append(general, route(r.To, r.Router))
			} else {
				specific = append(specific, route(r.To, r.Router))
			}
		}
		return specific, general
	}
}

func isDefault(r layer.Route) bool { return r.To.Bits() == 0 }

// follow acts on what routers say (package ip6) until ctx is done.
func (s *Stack) follow(ctx context.Context, learned *layer.Learned) {
	a := &s.addrs
	var before []netip.Prefix
	var through netip.Addr
	for {
		select {
		case <-ctx.Done():
			return
		case <-learned.Changed():
		}
		now, _, routes := learned.Now()
		var router netip.Addr
		if i := slices.IndexFunc(routes, isDefault); i >= 0 {
			router = routes[i].Router
		}
		switch {
		case router == through:
		case router.IsValid():
			a.log.Info("default router", "ipv6", router)
		default:
			a.log.Warn("no router any more", "ipv6", through)
		}
		through = router
		if slices.Equal(now, before) {
			s.route()
			continue
		}
		a.log.Info("addresses from routers", "ipv6", List(now), "before", List(before))
		before = now
		s.readdressed()
	}
}
