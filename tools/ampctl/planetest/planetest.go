// Package planetest runs management planes on the loopback, for tests of what
// talks to them. They are libos/mgmt as appliances have it; only what is beneath it
// (console, clock, network) is the host's.
package planetest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ampoule/libos/mgmt"
	"ampoule/libos/mgmt/capture"
	"ampoule/libos/mgmt/certs"
	"ampoule/libos/mgmt/mgmttest"
	"ampoule/libos/mgmt/own"
	"ampoule/libos/mgmt/plane"
	"ampoule/libos/mgmt/profile"
	"ampoule/libos/telemetry"
	"ampoule/libos/telemetry/recent"
)

// Plane is a management plane. It ends with the test.
type Plane struct {
	Name   string
	Addr   string // host:port
	Server *mgmt.Server
	Log    *mgmttest.Buffer
	Ready  *Missing
	Logger *telemetry.Logger
	frames *frames
	stop   func()
	ended  atomic.Bool
}

// Options say how a plane differs from others.
type Options struct {
	Clients  string // authorities, as PEM
	Own      mgmt.Own
	Grants   []mgmt.Grant
	Required []certs.Required
	Keep     mgmt.Keeper
	Now      func() time.Time
	Bare     bool // without profiles and capture
}

// Missing is what an appliance lacks to be ready.
type Missing struct {
	mu   sync.Mutex
	text string
}

// Set sets it; empty: nothing.
func (m *Missing) Set(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.text = text
}

func (m *Missing) get() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.text
}

// frames is a network of which every tap sees one DNS query a while.
type frames struct {
	mu  sync.Mutex
	tap func([]byte, int, bool)
}

func (f *frames) SetTap(tap func([]byte, int, bool)) {
	f.mu.Lock()
	f.tap = tap
	f.mu.Unlock()
}

// Frame shows a frame to who captures.
func (p *Plane) Frame(b []byte) {
	p.frames.mu.Lock()
	tap := p.frames.tap
	p.frames.mu.Unlock()
	if tap != nil {
		tap(b, len(b), false)
	}
}

// Capturing says whether somebody captures.
func (p *Plane) Capturing() bool {
	p.frames.mu.Lock()
	defer p.frames.mu.Unlock()
	return p.frames.tap != nil
}

// Start starts a plane.
func Start(t testing.TB, name string, o Options) *Plane {
	t.Helper()
	p := &Plane{Name: name, Log: &mgmttest.Buffer{}, Ready: &Missing{}, frames: &frames{}}
	if o.Own == nil {
		o.Own = own.SelfSigned{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	cfg := &mgmt.Config{Clients: o.Clients, Own: o.Own, Grants: o.Grants, Required: o.Required, Keep: o.Keep,
		Slots: 4, Connections: 16, Handshakes: 1000, Parts: []mgmt.Part{profile.Part{}, capture.Part{}}}
	if o.Bare {
		cfg.Parts = nil
	}
	lines := recent.New(p.Log, 64<<10)
	p.Logger = telemetry.New(lines, o.Now, telemetry.Info)
	opened, err := cfg.Open(&plane.Host{Appliance: "test", Hostname: name, Platform: "host", Build: "b", Configuration: "c",
		Listen: func(string, string) (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") },
		Log:    p.Logger, Recent: lines, Rand: rand.Reader, Now: o.Now, Up: func() time.Duration { return time.Minute },
		Memory: 32 << 20, Frames: p.frames})
	if err != nil {
		t.Fatal(err)
	}
	p.Server = opened.(*mgmt.Server)
	p.Server.Ready(p.Ready.get)
	p.Addr = p.Server.Addr().String()
	p.serve(t)
	return p
}

// serve serves until Stop, or the end of the test.
func (p *Plane) serve(t testing.TB) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- p.Server.Serve(ctx) }()
	p.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(p.stop)
}

// Stop ends it at once, as when a VM is destroyed.
func (p *Plane) Stop() {
	p.ended.Store(true)
	p.stop()
}

// Stopped says whether Stop was called.
func (p *Plane) Stopped() bool { return p.ended.Load() }

// Generation is the number of the one in force.
func (p *Plane) Generation() uint64 { return p.Server.Certificates().Current().Number }

// Leaf names the certificate in force in a slot, by its common name; "": none.
func (p *Plane) Leaf(slot string) string {
	if c := p.Server.Certificates().Current().Certificates[slot]; c != nil {
		return c.Leaf().Subject.CommonName
	}
	return ""
}

// Staged is how many values are staged.
func (p *Plane) Staged() int {
	_, _, all := p.Server.Certificates().Staged()
	return len(all)
}

// Fleet is several planes with the same authority, and the files that ampctl needs:
// fleet.toml, ca.pem, operate.pem and read.pem.
type Fleet struct {
	Dir    string
	CA     *mgmttest.Pair
	Planes []*Plane
	File   string // fleet.toml
}

// NewFleet starts planes named ns1, ns2 and so on. change may change the options of
// each.
func NewFleet(t testing.TB, n int, change func(i int, o *Options)) *Fleet {
	t.Helper()
	f := &Fleet{Dir: t.TempDir(), CA: mgmttest.Root(t, "management")}
	f.Write(t, "ca.pem", f.CA.Cert())
	f.Client(t, "operate", "ampoule-operate")
	f.Client(t, "read", "ampoule-read")
	var text strings.Builder
	text.WriteString("ca = \"ca.pem\"\ncert = \"operate.pem\"\ntimeout = \"20s\"\n")
	for i := range n {
		name := fmt.Sprintf("ns%d", i+1)
		server := f.CA.Issue(t, mgmttest.Spec{Name: name, Hosts: []string{name + ".example.org"}})
		o := Options{Clients: string(f.CA.Cert()), Own: own.Given(server.Bundle(t, f.CA))}
		if change != nil {
			change(i, &o)
		}
		p := Start(t, name, o)
		f.Planes = append(f.Planes, p)
		fmt.Fprintf(&text, "[appliances.%s]\naddress = %q\nserver_name = %q\n", name, p.Addr, name+".example.org")
	}
	f.File = f.Write(t, "fleet.toml", []byte(text.String()))
	return f
}

// Client makes NAME.pem for a client with an organizational unit.
func (f *Fleet) Client(t testing.TB, name, unit string) *mgmttest.Pair {
	t.Helper()
	c := f.CA.Issue(t, mgmttest.Spec{Name: name, Unit: unit, Client: true})
	f.Write(t, name+".pem", c.Bundle(t))
	return c
}

// Write makes a file and returns its path.
func (f *Fleet) Write(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(f.Dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Hook is an http.RoundTripper that has Do make the request.
type Hook struct {
	Under http.RoundTripper
	Do    func(under http.RoundTripper, r *http.Request) (*http.Response, error)
}

// RoundTrip implements http.RoundTripper.
func (h Hook) RoundTrip(r *http.Request) (*http.Response, error) { return h.Do(h.Under, r) }

// Own is a plane's own certificate, whatever its dates.
func Own(bundle []byte) mgmt.Own { return own.Given(bundle) }
