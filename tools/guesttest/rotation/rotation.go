// Package rotation replaces the certificates of a booted TLS terminator again and again
// through its management plane, while clients make handshakes without a pause and others
// hold streams, and watches that none of them notices. It is for tests, on QEMU and Xen.
//
// The service behind the terminator must echo.
package rotation

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ampoule/libos/mgmt/mgmttest"
)

// Host is the name in all certificates.
const Host = "www.example.org"

// Config says what is rotated, and how.
type Config struct {
	// Dial reaches the appliance.
	Dial           func(ctx context.Context, network, addr string) (net.Conn, error)
	Service, Plane string // addresses
	Operator       *mgmttest.Pair
	// Clients make handshakes, each one after the other, and Streams stay open.
	Clients, Streams int
	// Rotations are spread over Blocks; before each the clients have it quiet for Quiet.
	Rotations, Blocks int
	// Now is the clock by which handshakes are measured and rotations paced.
	Now func() time.Duration
	// Every is the time from the beginning of one rotation to that of the next, by Now;
	// one that takes longer is followed at once.
	Every, Quiet time.Duration
	// Until ends rotations early, if it is not zero.
	Until time.Time
}

// Result is what was seen.
type Result struct {
	Rotations         int
	Quiet, Rotated    []time.Duration // handshakes that had it quiet, and those amid rotations
	Generations       int             // different certificates that clients have seen
	Lines             int             // that streams have echoed
	Failures          []string        // of handshakes, streams or certificates
	RotationTime, All time.Duration   // by Now
}

// run is one under way.
type run struct {
	Config
	t     testing.TB
	root  *mgmttest.Pair
	pool  *x509.CertPool
	mids  [2]*mgmttest.Pair
	plane *Plane

	asked, answered atomic.Int64 // the last rotation whose commit was sent, and was answered
	rotating        atomic.Bool

	mu   sync.Mutex // guards what follows
	res  Result
	seen map[int64]bool
}

// Run rotates.
func Run(t testing.TB, c Config) *Result {
	t.Helper()
	r := &run{Config: c, t: t, root: mgmttest.Root(t, "servers"), seen: map[int64]bool{}}
	r.pool = mgmttest.Pool(r.root)
	for i := range r.mids {
		r.mids[i] = r.root.Issue(t, mgmttest.Spec{Name: fmt.Sprintf("intermediate %d", i), CA: true})
	}
	r.plane = NewPlane(t, c.Dial, c.Plane, c.Operator)
	if err := r.rotate(1); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all sync.WaitGroup
	for i := range c.Clients {
		all.Go(func() { r.shakes(ctx, i) })
	}
	for i := range c.Streams {
		all.Go(func() { r.stream(ctx, i) })
	}
	began := c.Now()
	r.all()
	r.res.All = c.Now() - began
	cancel()
	all.Wait()
	r.res.Generations = len(r.seen)
	return &r.res
}

// all does the rotations.
func (r *run) all() {
	n := int64(1)
	for range r.Blocks {
		for end := r.Now() + r.Quiet; r.Now() < end; time.Sleep(time.Millisecond) {
			if r.t.Context().Err() != nil {
				return
			}
		}
		r.rotating.Store(true)
		began := r.Now()
		for range r.Rotations / r.Blocks {
			if !r.Until.IsZero() && time.Now().After(r.Until) {
				break
			}
			next := r.Now() + r.Every
			n++
			if err := r.rotate(n); err != nil {
				r.fail("rotation %d: %v", n, err)
				return
			}
			r.res.Rotations++
			for r.Now() < next {
				time.Sleep(200 * time.Microsecond)
			}
		}
		r.res.RotationTime += r.Now() - began
		r.rotating.Store(false)
	}
}

func (r *run) fail(text string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.t.Context().Err() == nil {
		r.res.Failures = append(r.res.Failures, fmt.Sprintf(text, args...))
	}
}

// rotate puts certificate n in force: its serial number is n, and its issuer one of two
// by turns, so that a chain of another certificate shows.
func (r *run) rotate(n int64) error {
	mid := r.mids[n%2]
	leaf := mid.Issue(r.t, mgmttest.Spec{Name: "leaf", Hosts: []string{Host}, Change: func(x *x509.Certificate) { x.SerialNumber = big.NewInt(n) }})
	if err := r.plane.Stage("certificates/default", leaf.Bundle(r.t, mid)); err != nil {
		return err
	}
	r.asked.Store(n)
	if err := r.plane.Commit(); err != nil {
		return err
	}
	r.answered.Store(n)
	return nil
}

// shakes makes handshakes, one after the other: of TLS 1.2 and 1.3, by turns new ones
// and with a ticket, if it is still good.
func (r *run) shakes(ctx context.Context, client int) {
	cache := tls.NewLRUClientSessionCache(1)
	for i := client; ctx.Err() == nil; i++ {
		cfg := &tls.Config{RootCAs: r.pool, ServerName: Host}
		if i%4 == 0 {
			cfg.MaxVersion = tls.VersionTLS12
		}
		if i%8 == 1 {
			cfg.ClientSessionCache = cache
		}
		quiet := !r.rotating.Load()
		low, began := r.answered.Load(), r.Now()
		c, err := r.shake(ctx, cfg)
		took := r.Now() - began
		if err == nil {
			err = say(c, fmt.Sprintf("client %d, handshake %d", client, i))
		}
		if err != nil {
			if ctx.Err() == nil {
				r.fail("handshake %d of client %d: %v", i, client, err)
			}
			continue
		}
		state := c.ConnectionState()
		c.Close()
		serial := state.PeerCertificates[0].SerialNumber.Int64()
		if high := r.asked.Load(); serial < low || serial > high {
			r.fail("a handshake that began after commit %d and ended before commit %d has certificate %d", low, high+1, serial)
		}
		r.mu.Lock()
		r.seen[serial] = true
		switch {
		case state.DidResume || state.Version == tls.VersionTLS12: // others are compared
		case quiet && !r.rotating.Load():
			r.res.Quiet = append(r.res.Quiet, took)
		case !quiet && r.rotating.Load():
			r.res.Rotated = append(r.res.Rotated, took)
		}
		r.mu.Unlock()
	}
}

// shake connects and makes the handshake, with a key share that all servers take. That
// certificate and chain belong together, and the key to both, is the client's to check.
func (r *run) shake(ctx context.Context, cfg *tls.Config) (*tls.Conn, error) {
	nc, err := r.Dial(ctx, "tcp", r.Service)
	if err != nil {
		return nil, err
	}
	nc.SetDeadline(time.Now().Add(time.Minute))
	c := tls.Client(nc, cfg)
	if err := c.Handshake(); err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

// say has a line echoed.
func say(c net.Conn, line string) error {
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		return err
	}
	got := make([]byte, len(line)+1)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != line+"\n" {
		return fmt.Errorf("%q is echoed as %q: %w", line, got, err)
	}
	return nil
}

// stream holds a connection and has lines echoed on it until ctx is done.
func (r *run) stream(ctx context.Context, stream int) {
	c, err := r.shake(ctx, &tls.Config{RootCAs: r.pool, ServerName: Host})
	if err != nil {
		r.fail("stream %d: %v", stream, err)
		return
	}
	defer c.Close()
	for i := 0; ; i++ {
		c.SetDeadline(time.Now().Add(time.Minute))
		if err := say(c, fmt.Sprintf("stream %d, line %d", stream, i)); err != nil {
			r.fail("stream %d broke at line %d: %v", stream, i, err)
			return
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			r.mu.Lock()
			r.res.Lines += i + 1
			r.mu.Unlock()
			return
		}
	}
}

// Plane is a client of a management plane, on one connection as long as it lives.
type Plane struct {
	http       *http.Client
	addr       string
	generation uint64
}

// NewPlane makes a client of the plane at addr. It does not check whom it talks to.
func NewPlane(t testing.TB, dial func(ctx context.Context, network, addr string) (net.Conn, error), addr string, who *mgmttest.Pair) *Plane {
	cfg := &tls.Config{InsecureSkipVerify: true}
	if who != nil {
		// Even one that the server does not ask for.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			c := who.TLS()
			return &c, nil
		}
	}
	tr := &http.Transport{DialContext: dial, TLSClientConfig: cfg, MaxIdleConns: 1}
	t.Cleanup(tr.CloseIdleConnections)
	return &Plane{http: &http.Client{Transport: tr, Timeout: time.Minute}, addr: addr}
}

// Do makes a request and returns status and body.
func (p *Plane) Do(method, path, ifMatch, body string) (int, string, error) {
	req, err := http.NewRequest(method, "https://"+p.addr+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	if ifMatch != "" {
		req.Header.Set("If-Match", ifMatch)
	}
	res, err := p.http.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, string(text), err
}

// Stage stages a value: kind/slot; nil is to go.
func (p *Plane) Stage(name string, data []byte) error {
	method := "PUT"
	if data == nil {
		method = "DELETE"
	}
	return p.change(method, "/v1/staged/"+name, "", string(data))
}

// Commit commits what is staged against the generation that was in force when this
// client last saw one.
func (p *Plane) Commit() error {
	return p.change("POST", "/v1/staged/commit", fmt.Sprintf(`"%d"`, p.generation), "")
}

// Generation is the number of the last generation that this client saw.
func (p *Plane) Generation() uint64 { return p.generation }

func (p *Plane) change(method, path, ifMatch, body string) error {
	status, text, err := p.Do(method, path, ifMatch, body)
	if err != nil {
		return err
	}
	var answer struct{ Generation *uint64 }
	if err := json.Unmarshal([]byte(text), &answer); err != nil || status/100 != 2 || answer.Generation == nil {
		return fmt.Errorf("%s %s: %d %s", method, path, status, text)
	}
	p.generation = *answer.Generation
	return nil
}
