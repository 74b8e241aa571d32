package xen

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ampoule/tools/httpdiff"
	"ampoule/tools/xenrig/rig"
)

const httpHost = "10.0.2.17"

// httpConfig is the site of httpdiff at an address of its own; folder is where nginx
// finds it.
func httpConfig(t *testing.T) (config, folder string) {
	t.Helper()
	folder = t.TempDir()
	if _, err := httpdiff.MakeSite(folder); err != nil {
		t.Fatal(err)
	}
	config = filepath.Join(t.TempDir(), "http.toml")
	text := fmt.Sprintf("[network]\nipv4 = \"%s/24\"\ngateway4 = \"10.0.2.2\"\n[http]\n%s", httpHost, fmt.Sprintf(httpdiff.Config, folder))
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return config, folder
}

// relay is a port of this machine that leads to a guest's.
func (h *host) relay(to string) string {
	h.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	h.must("relay", err)
	h.t.Cleanup(func() { l.Close() })
	go h.forward(l, to)
	return l.Addr().String()
}

// forward passes on what connects to l to a guest's address, until l is closed.
func (h *host) forward(l net.Listener, to string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			g, err := h.DialContext(ctx, "tcp", to)
			if err != nil {
				return
			}
			defer g.Close()
			var both sync.WaitGroup
			for _, way := range [][2]net.Conn{{c, g}, {g, c}} {
				both.Go(func() {
					io.Copy(way[1], way[0])
					if w, ok := way[1].(interface{ CloseWrite() error }); ok {
						w.CloseWrite()
					}
				})
			}
			both.Wait()
		}()
	}
}

// plainWeb boots the HTTP appliance and compares its responses with nginx's, puts a file
// together from ranges, and has curl ask.
func plainWeb(folder string) func(*host) {
	return func(h *host) {
		h.must("create http", h.Create(h.t.Context(), "http", rig.Guest{Image: "http.elf", Memory: 32,
			VIFs: []rig.VIF{{MAC: "00:16:3e:00:00:08"}}, ShadowMemory: 8}))
		defer h.xl("destroy", "http")
		ctx, cancel := context.WithTimeout(h.t.Context(), 60*time.Second)
		defer cancel()
		_, err := h.WaitLog(ctx, "http", serving)
		h.must("http does not serve", err)
		addr := h.relay(httpHost + ":80")
		h.asNginx(addr, folder)
		h.ranges(addr, folder, "big.bin")
		h.malformed(httpHost + ":80")
		out, err := exec.CommandContext(h.t.Context(), "curl", "-sS", "--fail", "--compressed", "--max-time", "60", "-D", "-", "http://"+addr+"/docs/").CombinedOutput()
		if got := string(out); err != nil || !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") || !strings.Contains(got, "\r\nContent-Encoding: br\r\n") || !strings.Contains(got, "<title>Docs</title>") {
			h.t.Errorf("curl: %v\n%.1000s", err, out)
		}
	}
}

// malformed has the guest refuse what is no request, some at a time.
func (h *host) malformed(addr string) {
	var all sync.WaitGroup
	turn := make(chan struct{}, 4)
	for what, request := range httpdiff.Malformed() {
		turn <- struct{}{}
		all.Go(func() {
			defer func() { <-turn }()
			if err := httpdiff.Refuses(h.t.Context(), h.DialContext, addr, request); err != nil {
				h.t.Errorf("%s: %v", what, err)
			}
		})
	}
	all.Wait()
}

// asNginx compares, over several connections at a time, as each request takes a while on
// its way through the rig.
func (h *host) asNginx(addr, folder string) {
	h.t.Helper()
	nginx, err := httpdiff.StartNginx(h.t.TempDir(), folder)
	h.must("nginx", err)
	defer nginx.Close()
	const clients = 8
	requests := 2000 / clients
	if testing.Short() {
		requests /= 20
	}
	var all sync.WaitGroup
	began := time.Now()
	for i := range uint64(clients) {
		all.Go(func() {
			ours, theirs := httpdiff.NewClient(addr), httpdiff.NewClient(nginx.Addr)
			defer ours.Close()
			defer theirs.Close()
			r, err := httpdiff.Run(ours, theirs, httpdiff.NewGenerator(5+i), requests, httpdiff.Grammar())
			if err != nil {
				h.t.Errorf("requests: %v", err)
				return
			}
			h.t.Logf("%d requests: %s", requests, r)
			for _, c := range r.Unexplained[:min(10, len(r.Unexplained))] {
				h.t.Error(c)
			}
		})
	}
	all.Wait()
	h.t.Logf("in %v", time.Since(began).Round(time.Second))
}

// ranges gets a file in ranges, several in one response among them.
func (h *host) ranges(addr, folder, name string) {
	h.t.Helper()
	want, err := os.ReadFile(filepath.Join(folder, name))
	h.must("file", err)
	get := func(value string) (string, []byte) {
		req, err := http.NewRequestWithContext(h.t.Context(), "GET", "http://"+addr+"/"+name, nil)
		h.must("request", err)
		req.Header.Set("Range", value)
		resp, err := http.DefaultClient.Do(req)
		h.must("ranges", err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusPartialContent {
			h.t.Fatalf("%s: %d, %v", value, resp.StatusCode, err)
		}
		return resp.Header.Get("Content-Type"), b
	}
	var got []byte
	const step = 50_001
	for at := 0; at < len(want); at += step {
		_, b := get(fmt.Sprintf("bytes=%d-%d", at, at+step-1))
		got = append(got, b...)
	}
	if !bytes.Equal(got, want) {
		h.t.Errorf("%d bytes from ranges are not the file's %d", len(got), len(want))
	}
	typ, b := get("bytes=0-9,1000-1999,-5")
	parts, err := httpdiff.Parts(typ, b)
	h.must("parts", err)
	if len(parts) != 3 || !bytes.Equal(bytes.Join(parts, nil), bytes.Join([][]byte{want[:10], want[1000:2000], want[len(want)-5:]}, nil)) {
		h.t.Errorf("%d parts, %d bytes", len(parts), len(bytes.Join(parts, nil)))
	}
}
