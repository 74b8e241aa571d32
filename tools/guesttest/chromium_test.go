package guesttest

import (
	"fmt"
	"strconv"
	"testing"

	"ampoule/tools/boottest/vm"
	"ampoule/tools/guesttest/guest"
	"ampoule/tools/guesttest/web"
	"ampoule/tools/netpeer"
)

// TestChromium loads a page with images, fonts, style and scripts in Chromium, over
// both versions of HTTP, on a network of their own.
func TestChromium(t *testing.T) {
	clients := web.New(t)
	image := buildSecure(clients, "chromium", fmt.Sprintf("[[http.sites]]\nfolder = %q\n", clients.Page()), "v1")
	for name, c := range map[string]struct {
		machine  vm.Machine
		protocol string
	}{
		"2": {vm.Q35, web.HTTP2},
		"1": {vm.MicroVM, web.HTTP1},
	} {
		t.Run(name, func(t *testing.T) {
			segment := linuxSegment(t)
			peer := segment.Peer.(*netpeer.Linux)
			web.Settle(t, peer)
			s := &secure{Clients: clients.With(t)}
			s.Addr = func(port int) string { return "10.0.2.15:" + strconv.Itoa(port) }
			s.Start = peer.Start
			s.boot(vm.Config{Image: image, Machine: c.machine, CPU: guest.CPU("v1"), RAM: 32, Net: segment.Net()})
			s.Chromium(t, c.protocol)
		})
	}
}
