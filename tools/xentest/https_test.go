package xen

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ampoule/tools/guesttest/web"
	"ampoule/tools/netpeer"
	"ampoule/tools/xenrig/rig"
)

const httpsHost = "10.0.2.19"

// secureWeb is an image with HTTPS, made for its clients.
type secureWeb struct {
	clients *web.Clients
	image   string
}

// newSecureWeb makes the clients and builds the image.
func newSecureWeb(t *testing.T) *secureWeb {
	t.Helper()
	c := web.New(t)
	file := c.Write("https.toml", []byte(c.Config(httpsHost, c.Sites())))
	image := build(t, "http", "https-xen", file)
	t.Cleanup(func() { os.Remove(image) })
	return &secureWeb{c, image}
}

// secure boots the HTTP appliance with HTTPS and has h2spec, curl and Chromium ask,
// and compares what the two versions of HTTP answer.
func (w *secureWeb) secure(h *host) {
	h.must("create https", h.Create(h.t.Context(), "https", rig.Guest{Image: filepath.Base(w.image), Memory: 32,
		VIFs: []rig.VIF{{MAC: "00:16:3e:00:00:09"}}, ShadowMemory: 8}))
	defer h.xl("destroy", "https")
	ctx, cancel := context.WithTimeout(h.t.Context(), 60*time.Second)
	defer cancel()
	_, err := h.WaitLog(ctx, "https", serving)
	h.must("https does not serve", err)
	at := map[int]string{}
	for _, port := range []int{80, 443, 9443} {
		at[port] = h.relay(fmt.Sprintf("%s:%d", httpsHost, port))
	}
	c := w.clients.With(h.t)
	c.Addr = func(port int) string { return at[port] }
	c.Commit("example.org", "*.example.org")
	h.t.Run("h2spec", c.H2Spec)
	h.t.Run("curl", c.Curls)
	h.t.Run("versions", func(t *testing.T) {
		if status := c.Versions(t, 100); len(status) < 6 {
			t.Errorf("too little was seen")
		}
	})
	for _, protocol := range []string{web.HTTP2, web.HTTP1} {
		h.t.Run("chromium-"+filepath.Base(protocol), func(t *testing.T) { (&host{h.Rig, t}).chromium(c.With(t), protocol) })
	}
	// Last, as Chromium trusts the certificate of before.
	h.t.Run("hosts", c.Hosts)
}

// chromium loads the page from a network of Chromium's own, from which one port leads
// to the guest.
func (h *host) chromium(c *web.Clients, protocol string) {
	segment, err := netpeer.Open(netpeer.Options{Kind: netpeer.KindLinux})
	if err != nil {
		h.t.Skipf("no network namespace on this machine, so no Chromium: %v", err)
	}
	defer segment.Close()
	peer := segment.Peer.(*netpeer.Linux)
	web.Settle(h.t, peer)
	l, err := peer.Listen(net.JoinHostPort(netpeer.HostIPv4.Addr().String(), "443"))
	h.must("listen", err)
	defer l.Close()
	go h.forward(l, httpsHost+":443")
	c.Addr = func(int) string { return l.Addr().String() }
	c.Start = peer.Start
	c.Chromium(h.t, protocol)
}
