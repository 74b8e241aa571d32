package netif

import (
	"context"
	"net/netip"
	"slices"

	"ampoule/libos/netif/layer"
)

// follow acts on what routers say (package ip6) until ctx is done.
func (s *Stack) follow(ctx context.Context) {
	a := &s.addrs
	var before []netip.Prefix
	var through netip.Addr
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.learned.Changed():
		}
		now, _, routes := a.learned.Now()
		var router netip.Addr
		if i := slices.IndexFunc(routes, func(r layer.Route) bool { return r.To.Bits() == 0 }); i >= 0 {
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
