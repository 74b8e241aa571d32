package guesttest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ampoule/tools/boottest/vm"
	"ampoule/tools/guesttest/guest"
)

var tlsVariant = guest.Variant{Machine: vm.Machines[0], GOAMD64: "v3"}

// TestTLSBackends kills nginx and starts it again while clients ask without a pause.
func TestTLSBackends(t *testing.T) {
	r := newTLSRig(t)
	one, two := r.nginx(t, 8080, 8081), r.nginx(t, 8082, 8083)
	g := r.boot(t, "backends", tlsVariant, 64, "connect = \"20s\"",
		"[[tls.backends]]\naddress = \"10.0.2.2:8080\"\n[[tls.backends]]\naddress = \"10.0.2.2:8082\"\n"+
			"[tls.health]\nevery = \"1s\"\nfall = 2\nrise = 1\n")
	r.killed(t, g, one, two)
}

// killed kills the nginx of each of two backends and starts it again while clients ask
// without a pause: those fail that it was answering, and no others.
func (r *tlsRig) killed(t *testing.T, g *vm.VM, one, two *daemon) {
	t.Helper()
	var done, failed atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	const workers = 4
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			client := r.client(false)
			for ctx.Err() == nil {
				if err := hello(client); err != nil && ctx.Err() == nil {
					failed.Add(1)
					t.Logf("a request failed: %v", err)
				}
				done.Add(1)
			}
		})
	}
	// phase lets requests go on for a while, of which at most so many may fail.
	phase := func(what string, most int64) {
		t.Helper()
		start, before := done.Load(), failed.Load()
		time.Sleep(3 * time.Second)
		for end := time.Now().Add(60 * time.Second); done.Load() < start+20; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: %d requests in a minute", what, done.Load()-start)
			}
		}
		n := failed.Load() - before
		t.Logf("%s: %d requests, %d failed", what, done.Load()-start, n)
		if n > most {
			t.Errorf("%s: %d of %d requests failed, at most %d may", what, n, done.Load()-start, most)
		}
	}
	phase("both are there", 0)
	one.stop()
	phase("one is killed", workers) // those that it was answering
	waitLine(t, g, 20*time.Second, `backend is ill .*10\.0\.2\.2:8080`)
	phase("one is down", 0)
	two.stop()
	time.Sleep(2 * time.Second) // clients wait
	r.nginx(t, 8080, 8081)
	phase("all were down, one is back", workers)
	waitLine(t, g, 20*time.Second, `backend is well .*10\.0\.2\.2:8080`)
	r.nginx(t, 8082, 8083)
	phase("both are back", 0)
	cancel()
	all.Wait()
	if n := failed.Load(); n > 2*workers {
		t.Errorf("%d requests failed", n)
	}
}

func hello(client *http.Client) error {
	resp, err := client.Get("https://www.example.org/hello")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "hello\n" {
		return fmt.Errorf("%q, %w", b, err)
	}
	return nil
}

// Connections of TestTLSCrowd: those that are idle, those that do not read what they ask
// for or read it slowly, and those that send their handshake a byte at a time.
const idleCrowd, slowReaders, dribblers = 2000, 100, 100

// TestTLSCrowd has 2,000 connections be idle, 100 not read what they ask for and 100 not
// come to the end of their handshake, all of them in 64 MiB. Slow ones may be ended, but
// idle ones not: they and new ones are served, no more than the most are taken, and when
// all go others are served.
func TestTLSCrowd(t *testing.T) {
	r := newTLSRig(t)
	r.nginx(t, 8080, 8081)
	if err := os.WriteFile(filepath.Join(r.dir, "site", "large"), make([]byte, 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	g := r.boot(t, "crowd", tlsVariant, 64, fmt.Sprintf("connections = %d\nhandshakes = 250\nhandshake = \"1800s\"\nconnect = \"60s\"\nattempt = \"30s\"\nidle = \"1h\"\nstall = \"1h\"\n",
		idleCrowd+slowReaders+dribblers),
		"[[tls.backends]]\naddress = \"10.0.2.2:8080\"\n[tls.health]\nevery = \"60s\"\ntimeout = \"30s\"\n")
	start := time.Now()
	held := r.crowd(t, idleCrowd+slowReaders)
	t.Cleanup(func() { hangUp(held) })
	if t.Failed() {
		return
	}
	t.Logf("%d handshakes in %v", len(held), time.Since(start))
	idle, slow := held[:idleCrowd], held[idleCrowd:]
	stop := r.dribble(t, dribblers)
	for range 20 {
		if c, err := r.shake(t.Context(), true); err == nil {
			c.Close()
			t.Fatal("there is room for one more than the most")
		}
	}
	answer(t, idle[:40])
	for i, c := range slow {
		// What a client's kernel takes for it would only keep the machine busy.
		if err := c.NetConn().(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, "GET /large HTTP/1.1\r\nHost: www.example.org\r\n\r\n")
		if i%2 == 0 {
			go sip(c)
		}
	}
	for range 3 {
		time.Sleep(2 * time.Second)
		start := time.Now()
		answer(t, idle[40:80])
		t.Logf("40 idle ones are answered in %v", time.Since(start))
	}
	hangUp(slow[:1]) // there is room for one
	r.served(t, "with slow ones there")
	t.Log(lastLine(g, "memory is"))
	for i := 0; i < len(idle); i += 10 {
		answer(t, idle[i:i+1])
	}
	stop()
	hangUp(held)
	r.served(t, "when all have gone")
	select {
	case <-g.Done():
		t.Error("the VM has ended")
	default:
	}
}

// TestTLSFlood has 300 connections ask at once for what they then do not read, or read
// slowly, twice: more than there is memory for. The terminator ends some of them and goes on.
func TestTLSFlood(t *testing.T) {
	const size = 300
	r := newTLSRig(t)
	r.nginx(t, 8080, 8081)
	if err := os.WriteFile(filepath.Join(r.dir, "site", "large"), make([]byte, 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	g := r.boot(t, "flood", tlsVariant, 40, "connections = 1000\nhandshakes = 250\nconnect = \"60s\"\nattempt = \"30s\"\nidle = \"1h\"\nstall = \"1h\"\n",
		"[[tls.backends]]\naddress = \"10.0.2.2:8080\"\n[tls.health]\nevery = \"60s\"\ntimeout = \"30s\"\n")
	idle := r.crowd(t, 20)
	t.Cleanup(func() { hangUp(idle) })
	for range 2 {
		slow := r.crowd(t, size)
		t.Cleanup(func() { hangUp(slow) })
		for i, c := range slow {
			if err := c.NetConn().(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
				t.Fatal(err)
			}
			io.WriteString(c, "GET /large HTTP/1.1\r\nHost: www.example.org\r\n\r\n")
			if i%2 == 0 {
				go sip(c)
			}
		}
		time.Sleep(2 * time.Second)
		answer(t, idle)
		r.served(t, "with slow ones there")
		hangUp(slow[:size/2])
	}
	if lastLine(g, "memory is short: connections are ended") == "" {
		t.Error("no connection was ended: memory was never short")
	}
	select {
	case <-g.Done():
		t.Error("the VM has ended")
	default:
	}
}

// crowd makes connections, eight at a time.
func (r *tlsRig) crowd(t *testing.T, size int) (held []*tls.Conn) {
	conns := make(chan *tls.Conn, size)
	var all sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(size))
	for range 8 {
		all.Go(func() {
			for n := left.Add(-1); n >= 0; n = left.Add(-1) {
				c, err := r.shake(t.Context(), n%10 != 0)
				if err != nil {
					t.Errorf("after %d: %v", len(conns), err)
					return
				}
				conns <- c
			}
		})
	}
	all.Wait()
	close(conns)
	for c := range conns {
		held = append(held, c)
	}
	return held
}

func hangUp(conns []*tls.Conn) {
	for _, c := range conns {
		c.NetConn().Close()
	}
}

// sip reads a little now and then, until the connection ends.
func sip(c *tls.Conn) {
	for b := make([]byte, 1024); ; time.Sleep(time.Second) {
		if _, err := c.Read(b); err != nil {
			return
		}
	}
}

// dribble opens connections that send a ClientHello a byte at a time, without an end,
// until the function that it returns is called.
func (r *tlsRig) dribble(t *testing.T, n int) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range n {
		c, err := r.s.DialContext(ctx, "tcp", "10.0.2.15:443")
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			defer c.Close()
			for _, b := range append([]byte{22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}, make([]byte, 500)...) {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				select {
				case <-time.After(500 * time.Millisecond):
				case <-ctx.Done():
					return
				}
			}
			<-ctx.Done()
		})
	}
	return func() { cancel(); all.Wait() }
}

// served waits until somebody new is served.
func (r *tlsRig) served(t *testing.T, when string) {
	t.Helper()
	client := r.client(false)
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		err := hello(client)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %v", when, err)
		}
	}
}

// answer asks on each connection.
func answer(t *testing.T, conns []*tls.Conn) {
	t.Helper()
	for i, c := range conns {
		c.SetDeadline(time.Now().Add(2 * time.Minute))
		io.WriteString(c, "GET /hello HTTP/1.1\r\nHost: www.example.org\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		if b, err := io.ReadAll(resp.Body); string(b) != "hello\n" {
			t.Errorf("connection %d: %q, %v", i, b, err)
		}
	}
}

// lastLine is the last line of the console with a text.
func lastLine(g *vm.VM, text string) (last string) {
	for _, line := range g.Lines() {
		if strings.Contains(line, text) {
			last = line
		}
	}
	return last
}

// shake connects, with what is cheap for the machine that counts: mostly with TLS 1.2
// and a session that is resumed.
func (r *tlsRig) shake(ctx context.Context, cheap bool) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	c, err := r.s.DialContext(ctx, "tcp", "10.0.2.15:443")
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{RootCAs: r.pool, ServerName: "www.example.org", CurvePreferences: []tls.CurveID{tls.CurveP256}}
	if cheap {
		cfg.MaxVersion, cfg.ClientSessionCache = tls.VersionTLS12, r.sessions
	}
	tc := tls.Client(c, cfg)
	if err := tc.HandshakeContext(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return tc, nil
}

// TestTLSTestSSL has testssl.sh look at an image.
func TestTLSTestSSL(t *testing.T) {
	r := newTLSRig(t)
	r.nginx(t, 8080, 8081)
	r.boot(t, "testssl", tlsVariant, 64, "handshakes = 200", "[[tls.backends]]\naddress = \"10.0.2.2:8080\"\n")
	out, err := r.command(t, "", "testssl", "--quiet", "--color", "0", "--warnings", "batch", "--nodns", "none", "--ip", "10.0.2.15",
		"--add-ca", filepath.Join(r.dir, "ca.pem"), "--jsonfile", filepath.Join(r.dir, "testssl.json"), "https://www.example.org/hello")
	b, rerr := os.ReadFile(filepath.Join(r.dir, "testssl.json"))
	if rerr != nil {
		t.Fatalf("%v, %v\n%s", err, rerr, out)
	}
	var findings []struct{ ID, Severity, Finding string }
	if err := json.Unmarshal(bytes.TrimSpace(b), &findings); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	harmless := regexp.MustCompile(`^(OK|INFO|LOW|DEBUG)$`)
	for _, f := range findings {
		if !harmless.MatchString(f.Severity) && f.ID != "engine_problem" { // which is the tool's own
			t.Errorf("%s: %s: %s", f.Severity, f.ID, f.Finding)
		}
	}
	if len(findings) < 50 {
		t.Errorf("%d findings only:\n%s", len(findings), out)
	}
	t.Logf("%d findings", len(findings))
}
