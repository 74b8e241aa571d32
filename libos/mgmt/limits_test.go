package mgmt_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// dial makes a connection with the operator's certificate, without net/http.
func (r *rig) dial() *tls.Conn {
	r.t.Helper()
	c, err := tls.Dial("tcp", r.addr, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{r.operator.TLS()}})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// ask asks for /healthz over a connection.
func ask(c net.Conn) error {
	if _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return err
	}
	var b [4096]byte
	n, err := c.Read(b[:])
	if err == nil && !bytes.HasPrefix(b[:n], []byte("HTTP/1.1 200 OK\r\n")) {
		err = fmt.Errorf("%q", b[:n])
	}
	return err
}

// TestConnections: those without a certificate keep nobody out, and those with one
// are not ended for another.
func TestConnections(t *testing.T) {
	r := start(t, func(r *rig) { r.cfg.Connections = 4 })
	var silent []net.Conn
	for range 10 {
		c, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		silent = append(silent, c)
	}
	var good []net.Conn
	for range 4 {
		c := r.dial()
		if err := ask(c); err != nil {
			t.Fatal(err)
		}
		good = append(good, c)
	}
	silent[0].SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := silent[0].Read(make([]byte, 1)); err != io.EOF && !strings.Contains(fmt.Sprint(err), "reset") {
		t.Errorf("the oldest silent connection: %v", err)
	}
	if c, err := tls.Dial("tcp", r.addr, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{r.operator.TLS()}}); err == nil {
		if ask(c) == nil {
			t.Error("one connection too many is served")
		}
		c.Close()
	}
	for i, c := range good {
		if err := ask(c); err != nil {
			t.Errorf("connection %d: %v", i, err)
		}
	}
	good[0].Close()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := tls.Dial("tcp", r.addr, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{r.operator.TLS()}})
		if err == nil && ask(c) == nil {
			c.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatal("the place of a connection that was closed is not free")
		}
	}
}

// TestHandshakeRate: handshakes beyond the rate wait, and none is refused.
func TestHandshakeRate(t *testing.T) {
	r := start(t, func(r *rig) { r.cfg.Handshakes = 2 })
	cfg := &tls.Config{InsecureSkipVerify: true} // no certificate: a stranger
	begin := time.Now()
	for i := range 3 {
		c, err := tls.Dial("tcp", r.addr, cfg)
		if err != nil {
			t.Fatalf("handshake %d: %v", i, err)
		}
		c.Close()
	}
	if took := time.Since(begin); took < time.Second {
		t.Errorf("three handshakes of one source took %v, with one a second", took)
	}
	if err := ask(r.dial()); err != nil {
		t.Error(err)
	}
	for i := range 4 { // where an operator comes from
		c := r.dial()
		if err := ask(c); err != nil {
			t.Errorf("the operator's %d: %v", i, err)
		}
		c.Close()
	}
}

// TestFlood: strangers who connect as fast as they can, silent or with handshakes,
// delay neither an operator's first connection nor later ones by much.
func TestFlood(t *testing.T) {
	r := start(t, func(r *rig) { r.cfg.Connections, r.cfg.Handshakes = 8, 4 })
	stop := make(chan struct{})
	var flood sync.WaitGroup
	var tried atomic.Uint64
	for i := range 6 {
		flood.Go(func() {
			d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(i%2+1))}, Timeout: 5 * time.Second}
			for {
				select {
				case <-stop:
					return
				default:
				}
				c, err := d.Dial("tcp", r.addr)
				if err != nil {
					continue
				}
				tried.Add(1)
				c.SetDeadline(time.Now().Add(50 * time.Millisecond))
				if i%3 == 0 {
					tls.Client(c, &tls.Config{InsecureSkipVerify: true}).Handshake()
				} else {
					c.Read(make([]byte, 1)) // silent
				}
				c.Close()
			}
		})
	}
	defer flood.Wait()
	defer close(stop)
	time.Sleep(300 * time.Millisecond)
	for i := range 5 {
		before, begin := tried.Load(), time.Now()
		c := r.dial()
		if err := ask(c); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		t.Logf("connection %d after %v, beside %d of the flood", i, time.Since(begin), tried.Load()-before)
		if took := time.Since(begin); took > 4*time.Second {
			t.Errorf("connection %d took %v", i, took)
		}
		c.Close()
		time.Sleep(100 * time.Millisecond)
	}
	if tried.Load() < 100 {
		t.Errorf("a flood of only %d connections", tried.Load())
	}
}

// TestRequestLimits: what is too large or malformed is refused, and the next
// connection served; nothing is left behind.
func TestRequestLimits(t *testing.T) {
	r := start(t, nil)
	if err := ask(r.dial()); err != nil {
		t.Fatal(err)
	}
	before := runtime.NumGoroutine()
	for in, status := range map[string]string{
		"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("y", 9000) + "\r\n\r\n":                                    "431",
		"PUT /v1/staged/certificates/x HTTP/1.1\r\nHost: x\r\nContent-Length: 65537\r\n\r\n":                                  "413",
		"PUT /v1/log/level HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n":           "400",
		"PUT /v1/log/level HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n10001\r\n" + strings.Repeat("x", 0x10001): "413",
		"GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n":                                                                           "400",
		"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n":                                                                             "501",
		"\x00\x00": "400",
	} {
		c := r.dial()
		go io.WriteString(c, in)
		b, err := io.ReadAll(c)
		if err != nil || !bytes.HasPrefix(b, []byte("HTTP/1.1 "+status+" ")) || !bytes.Contains(b, []byte(`{"code":"`)) || !bytes.Contains(b, []byte("Connection: close\r\n")) {
			t.Errorf("%.60q: %v, %q, want %s", in, err, b, status)
		}
	}
	if err := ask(r.dial()); err != nil {
		t.Error(err)
	}
	for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before+8; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

// TestTLS: nothing older than TLS 1.3 is spoken.
func TestTLS(t *testing.T) {
	r := start(t, nil)
	c, err := tls.Dial("tcp", r.addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, Certificates: []tls.Certificate{r.operator.TLS()}})
	if err == nil {
		c.Close()
		t.Error("TLS 1.2 is spoken")
	}
}
