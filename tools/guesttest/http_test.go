package guesttest

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"ampoule/tools/boottest/vm"
	"ampoule/tools/guesttest/guest"
	"ampoule/tools/httpdiff"
)

// bootHTTP boots the HTTP appliance with a configuration and returns its address.
func bootHTTP(t *testing.T, v guest.Variant, image string, ram int) string {
	t.Helper()
	g := guest.Boot(t, vm.Config{Image: image, Machine: v.Machine, CPU: guest.CPU(v.GOAMD64), RAM: ram, RNG: true,
		Net: vm.Net{Kind: vm.NetUser, Forwards: []vm.Forward{{Proto: "tcp", Port: 80}}}})
	if _, err := g.WaitLine(t.Context(), regexp.MustCompile(` info serving `)); err != nil {
		t.Fatal(err)
	}
	return g.Addr("tcp", 80)
}

// TestHTTP asks the example's site with curl, and with Go's client for all of its
// links.
func TestHTTP(t *testing.T) {
	guest.Each(t, func(t *testing.T, v guest.Variant) {
		addr := bootHTTP(t, v, images.App(t, "http", v.GOAMD64), 32)
		out, err := exec.CommandContext(t.Context(), "curl", "-sS", "--fail", "--compressed", "--max-time", "60", "-D", "-", "http://"+addr+"/").CombinedOutput()
		if got := string(out); err != nil || !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") || !strings.Contains(got, "\r\nContent-Encoding: br\r\n") || !strings.Contains(got, "<title>A sealed site</title>") {
			t.Fatalf("curl: %v\n%s", err, out)
		}
		for path, want := range map[string]string{"/about": "<title>About", "/css/site.css": "max-width", "/mark.svg": "<svg", "/start": "A sealed site", "/none": "<title>Nothing here"} {
			resp, err := http.Get("http://" + addr + path)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || !strings.Contains(string(body), want) || (resp.StatusCode != 200) != (path == "/none") {
				t.Errorf("%s: %d, %v, %s", path, resp.StatusCode, err, body)
			}
		}
	})
}

// TestHTTPDiff compares the responses of a booted image with nginx's.
func TestHTTPDiff(t *testing.T) {
	folder := t.TempDir()
	if _, err := httpdiff.MakeSite(folder); err != nil {
		t.Fatal(err)
	}
	nginx, err := httpdiff.StartNginx(t.TempDir(), folder)
	if err != nil {
		t.Fatal(err)
	}
	defer nginx.Close()
	config := fmt.Sprintf("[network]\nipv4 = \"10.0.2.15/24\"\ngateway4 = \"10.0.2.2\"\n[http]\n%s", fmt.Sprintf(httpdiff.Config, folder))
	v := guest.Variant{Machine: vm.MicroVM, GOAMD64: "v1"}
	addr := bootHTTP(t, v, images.Configured(t, "http", "httpdiff", config, v.GOAMD64), 32)
	ours, theirs := httpdiff.NewClient(addr), httpdiff.NewClient(nginx.Addr)
	defer ours.Close()
	defer theirs.Close()
	const requests = 3000
	r, err := httpdiff.Run(ours, theirs, httpdiff.NewGenerator(3), requests, httpdiff.Grammar())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d requests: %s", requests, r)
	for _, c := range r.Unexplained[:min(10, len(r.Unexplained))] {
		t.Error(c)
	}
	if len(r.Unexplained) > 10 {
		t.Errorf("and %d more", len(r.Unexplained)-10)
	}
}

// TestHTTPMalformed has a booted image refuse what is no request, never answer what is
// behind it, and go on serving.
func TestHTTPMalformed(t *testing.T) {
	v := guest.Variant{Machine: vm.MicroVM, GOAMD64: "v3"}
	addr := bootHTTP(t, v, images.App(t, "http", v.GOAMD64), 32)
	var d net.Dialer
	all := httpdiff.Malformed()
	if len(all) < 150 {
		t.Errorf("%d requests only", len(all))
	}
	for what, request := range all {
		if err := httpdiff.Refuses(t.Context(), d.DialContext, addr, request); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := httpdiff.Refuses(t.Context(), d.DialContext, addr, "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"); err == nil {
		t.Error("what is well-formed counts as refused")
	}
}
