package backend

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"ampoule/libos/telemetry"
)

// farm stands for backends that a test can break.
type farm struct {
	mu     sync.Mutex
	down   map[string]bool
	dialed []string
}

var errDown = errors.New("refused")

func (f *farm) dial(_ context.Context, _, address string) (net.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dialed = append(f.dialed, address)
	if f.down[address] {
		return nil, errDown
	}
	a, b := net.Pipe()
	go func() { // takes what comes
		buf := make([]byte, 64)
		for {
			if _, err := b.Read(buf); err != nil {
				return
			}
		}
	}()
	return a, nil
}

func (f *farm) set(address string, down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down[address] = down
}

func newPool(t *testing.T, change func(*Config), addresses ...string) (*Pool, *farm) {
	t.Helper()
	f := &farm{down: map[string]bool{}}
	cfg := Config{Connect: time.Second, Attempt: 500 * time.Millisecond,
		Health: Health{Every: 10 * time.Millisecond, Timeout: time.Second, Fall: 2, Rise: 2}}
	for _, a := range addresses {
		cfg.Servers = append(cfg.Servers, Server{Address: a})
	}
	if change != nil {
		change(&cfg)
	}
	p, err := New(cfg, f.dial, []byte("hello"), new(telemetry.Logger))
	if err != nil {
		t.Fatal(err)
	}
	return p, f
}

func connect(t *testing.T, p *Pool) *Conn {
	t.Helper()
	c, err := p.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestNoBackends(t *testing.T) {
	if _, err := New(Config{}, nil, nil, nil); err == nil {
		t.Error("a pool of nothing")
	}
}

func TestLeastConnections(t *testing.T) {
	p, _ := newPool(t, nil, "a", "b", "c")
	var held []*Conn
	count := map[string]int{}
	for range 9 {
		c := connect(t, p)
		count[c.Backend()]++
		held = append(held, c)
	}
	for _, a := range []string{"a", "b", "c"} {
		if count[a] != 3 {
			t.Errorf("connections: %v", count)
		}
	}
	for _, c := range held {
		if c.Backend() == "b" {
			c.Release()
			c.Release() // counts once
		}
	}
	for range 3 {
		if got := connect(t, p).Backend(); got != "b" {
			t.Errorf("%s gets a connection, b has fewest", got)
		}
	}
	if s := p.States(); s[1].Active != 3 {
		t.Errorf("states %v", s)
	}
}

// TestRetry: a client does not notice that one backend is down, nor the restart of
// all.
func TestRetry(t *testing.T) {
	p, f := newPool(t, nil, "a", "b")
	f.set("a", true)
	for range 6 {
		if got := connect(t, p).Backend(); got != "b" {
			t.Errorf("connected to %s", got)
		}
	}
	f.set("b", true)
	time.AfterFunc(200*time.Millisecond, func() { f.set("b", false) })
	if got := connect(t, p).Backend(); got != "b" {
		t.Errorf("connected to %s", got)
	}
	f.set("b", true)
	start := time.Now()
	if _, err := p.Connect(t.Context()); !errors.Is(err, errDown) {
		t.Errorf("with all down: %v", err)
	}
	if took := time.Since(start); took < 900*time.Millisecond {
		t.Errorf("given up after %v", took)
	}
	if s := p.States(); s[0].Active != 0 {
		t.Errorf("failures are counted as connections: %v", s)
	}
}

func TestBackupAndLimit(t *testing.T) {
	p, f := newPool(t, func(c *Config) { c.Servers[0].Connections = 1; c.Servers[1].Backup = true }, "a", "b")
	c := connect(t, p)
	if c.Backend() != "a" || connect(t, p).Backend() != "b" {
		t.Error("the backup is for when the first is full")
	}
	c.Release()
	if got := connect(t, p).Backend(); got != "a" {
		t.Errorf("%s gets the connection, a has room", got)
	}
	f.set("a", true)
	if !p.Drain("b", true) || p.Drain("x", true) {
		t.Error("Drain does not know the backends")
	}
	// b drains and a is full: whoever comes waits.
	time.AfterFunc(100*time.Millisecond, func() { p.Drain("b", false) })
	if got := connect(t, p).Backend(); got != "b" {
		t.Errorf("connected to %s", got)
	}
}

func TestDrain(t *testing.T) {
	p, _ := newPool(t, nil, "a", "b")
	p.Drain("a", true)
	for range 4 {
		if got := connect(t, p).Backend(); got != "b" {
			t.Errorf("connected to %s, which drains", got)
		}
	}
	p.Drain("b", true)
	if _, err := p.Connect(t.Context()); err == nil {
		t.Error("connected though all drain")
	}
}

// TestHealth: failed checks keep connections away, good ones bring them back.
func TestHealth(t *testing.T) {
	p, f := newPool(t, nil, "a", "b")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { p.Run(ctx); close(done) }()
	f.set("a", true)
	well := func(want bool) {
		t.Helper()
		for end := time.Now().Add(5 * time.Second); p.States()[0].Well != want; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("a is well: %t", !want)
			}
		}
	}
	well(false)
	f.mu.Lock()
	f.dialed = nil
	f.mu.Unlock()
	for range 4 {
		if got := connect(t, p).Backend(); got != "b" {
			t.Errorf("connected to %s", got)
		}
	}
	f.set("a", false)
	well(true)
	if got := connect(t, p).Backend(); got != "a" {
		t.Errorf("connected to %s", got)
	}
	cancel()
	<-done
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Contains(f.dialed, "a") || !slices.Contains(f.dialed, "b") {
		t.Errorf("checked: %v", f.dialed)
	}
}

// TestCancel: who gives up is not made to wait.
func TestCancel(t *testing.T) {
	p, f := newPool(t, func(c *Config) { c.Connect = time.Minute }, "a")
	f.set("a", true)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := p.Connect(ctx); err == nil {
		t.Error("connected")
	}
	if s := p.States(); s[0].Active != 0 {
		t.Errorf("states %v", s)
	}
}
