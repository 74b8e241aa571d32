package guesttest

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ampoule/tools/boottest/vm"
	"ampoule/tools/guesttest/guest"
	"ampoule/tools/guesttest/web"
)

// httpsFlood is how many connections of each protocol come at once.
const httpsFlood = 150

const httpsFloodSites = `idle = "10m"
read = "10m"
write = "10m"
[[http.sites]]
folder = %q
names = ["example.org"]
[limits]
tcp_connections = 2000
tcp_send_buffer = "64KiB"
`

// askBig is a client of HTTP/2 that asks for a file and has windows for all of it: preface,
// SETTINGS with INITIAL_WINDOW_SIZE, WINDOW_UPDATE, and HEADERS (RFC 9113, RFC 7541).
const askBig = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" +
	"\x00\x00\x06\x04\x00\x00\x00\x00\x00" + "\x00\x04\x00\x7f\xff\xff" +
	"\x00\x00\x04\x08\x00\x00\x00\x00\x00" + "\x00\x7f\x00\x00" +
	"\x00\x00\x15\x01\x05\x00\x00\x00\x01" + "\x82\x87\x04\x04/big\x41\x0bexample.org"

// TestHTTPSFlood: 150 connections over HTTP/1.1 and as many over HTTP/2 ask for a file at
// once and read nothing: more than there is memory for. Some are reset, and others are
// served.
func TestHTTPSFlood(t *testing.T) {
	s := &secure{Clients: web.New(t)}
	big := make([]byte, 512<<10)
	rand.Read(big)
	s.Write("www/index.html", []byte("<title>hello</title>"))
	s.Write("www/big", big)
	config := s.Config("10.0.2.15", fmt.Sprintf(httpsFloodSites, filepath.Join(s.Dir, "www")))
	config = strings.Replace(config, "[https]\n", "[https]\nconnections = 1000\n", 1)
	image := images.Configured(t, "http", "flood", config, "v3")
	t.Cleanup(func() { os.Remove(image) })
	var forwards []vm.Forward
	for _, port := range []int{80, 443, 9443} {
		forwards = append(forwards, vm.Forward{Proto: "tcp", Port: port})
	}
	s.Addr = func(port int) string { return s.vm.Addr("tcp", port) }
	s.boot(vm.Config{Image: image, Machine: vm.MicroVM, CPU: guest.CPU("v3"), RAM: 32, Net: vm.Net{Kind: vm.NetUser, Forwards: forwards}})
	s.answers(t, "before")

	asks := map[string]string{"http/1.1": "GET /big HTTP/1.1\r\nHost: example.org\r\n\r\n", "h2": askBig}
	type deaf struct {
		c   *tls.Conn
		ask string
	}
	var all []deaf
	for range httpsFlood {
		for protocol, ask := range asks {
			c, err := s.Dial(protocol)()
			if err != nil {
				t.Fatalf("after %d connections: %v", len(all), err)
			}
			t.Cleanup(func() { c.(*tls.Conn).NetConn().Close() })
			all = append(all, deaf{c.(*tls.Conn), ask})
		}
	}
	for _, d := range all {
		if err := d.c.NetConn().(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
			t.Fatal(err)
		}
		io.WriteString(d.c, d.ask)
	}
	waitLine(t, s.vm, 60*time.Second, "memory is short: connections are ended")
	s.answers(t, "with them there")
	select {
	case <-s.vm.Done():
		t.Error("the VM has ended")
	default:
	}
}

// answers waits until new connections are served, over HTTP/1.1 and HTTP/2.
func (s *secure) answers(t *testing.T, when string) {
	t.Helper()
	for _, two := range []bool{false, true} {
		var protocols http.Protocols
		protocols.SetHTTP1(!two)
		protocols.SetHTTP2(two)
		dial := s.Dial(map[bool]string{false: "http/1.1", true: "h2"}[two])
		client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{Protocols: &protocols, DisableKeepAlives: true,
			TLSClientConfig: s.TLS(), DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return dial() }}}
		for end := time.Now().Add(90 * time.Second); ; time.Sleep(200 * time.Millisecond) {
			resp, err := client.Get("https://example.org/")
			if err == nil {
				resp.Body.Close()
				if resp.StatusCode != 200 || (resp.ProtoMajor == 2) != two {
					t.Errorf("%s: %s, %s", when, resp.Proto, resp.Status)
				}
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%s: HTTP/2 %v: %v", when, two, err)
			}
		}
	}
}
