package dnsd

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ampoule/libos/appliance"
	"ampoule/libos/mgmt"
	"ampoule/libos/mgmt/certs"
	"ampoule/libos/mgmt/mgmttest"
	"ampoule/libos/mgmt/own"
	"ampoule/libos/mgmt/plane"
	"ampoule/libos/telemetry"

	"github.com/miekg/dns"
)

// tlsNet is hostNet with the last listener remembered.
type tlsNet struct {
	hostNet
	last net.Listener
}

func (n *tlsNet) Listen(network, address string) (net.Listener, error) {
	l, err := n.hostNet.Listen(network, address)
	n.last = l
	return l, err
}

// TestOverTLS serves over TLS with a plane's certificates: a slow handshake ends,
// connections beyond the rate are refused, and the oldest gives way to a new one.
func TestOverTLS(t *testing.T) {
	var log bytes.Buffer
	env := &appliance.Env{Log: telemetry.New(&log, time.Now, telemetry.Info), Rand: rand.Reader, Now: time.Now}
	n := &tlsNet{}
	env.Net = n
	p, err := (&mgmt.Config{Clients: string(mgmttest.Root(t, "clients").Cert()), Own: own.SelfSigned{}, Slots: 2, Connections: 2, Handshakes: 2}).Open(
		&plane.Host{Hostname: "x", Listen: func(string, string) (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") },
			Log: env.Log, Rand: rand.Reader, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	env.Management = p
	root := mgmttest.Root(t, "root")
	store := p.(*mgmt.Server).Certificates()
	if err := store.Stage("me", certs.KindCertificate, "dot", root.Issue(t, mgmttest.Spec{Name: "dot", Hosts: []string{"ns.example"}}).Bundle(t, root), false); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Commit(certs.Client{Who: "me"}, 0); err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(t)
	cfg.TLSPort, cfg.TLSConnections, cfg.TLSHandshakes, cfg.TCPIdle = 853, 2, 4, 2*time.Second
	a, err := New(cfg)(env)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Serve(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	addr := n.last.Addr().String()
	dial := func() (*tls.Conn, error) {
		return tls.Dial("tcp", addr, &tls.Config{RootCAs: mgmttest.Pool(root), ServerName: "ns.example", NextProtos: []string{"dot"}})
	}
	silent, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	silent.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := silent.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("a client that makes no handshake: %v", err)
	}
	time.Sleep(time.Second)
	var conns []*tls.Conn
	for range 3 {
		c, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := c.Write(framed(query(t, "ns.example.", dns.TypeA, 9))); err != nil {
			t.Fatal(err)
		}
		if m := readFrame(t, c); m.Id != 9 || len(m.Answer) != 1 {
			t.Errorf("%v", m)
		}
		conns = append(conns, c)
	}
	if _, err := conns[0].Read(make([]byte, 1)); err == nil {
		t.Error("the oldest connection is still there")
	}
	var refused atomic.Int64
	var all sync.WaitGroup
	for range 30 { // at once, as a busy host makes few one after the other
		all.Go(func() {
			if c, err := dial(); err == nil {
				c.Close()
			} else {
				refused.Add(1)
			}
		})
	}
	all.Wait()
	if refused.Load() == 0 {
		t.Error("no connection is beyond the rate")
	}
}
