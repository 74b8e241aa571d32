package echod

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"ampoule/libos/appliance"
	"ampoule/libos/netif"
	"ampoule/libos/netif/netiftest"
)

func stack(t *testing.T, dev *netiftest.Device, v4, v6 string) *netif.Stack {
	t.Helper()
	s, err := netif.New(dev, netif.Config{
		IPv4: netip.MustParsePrefix(v4), IPv6: []netip.Prefix{netip.MustParsePrefix(v6)},
	}, netif.Options{Limits: netif.DefaultLimits(32 << 20), Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestEcho asks the appliance over both protocols and both address families,
// and stops it.
func TestEcho(t *testing.T) {
	da, db := netiftest.Pair(netiftest.Options{}, netiftest.Options{})
	client, server := stack(t, da, "10.0.2.2/24", "fec0::2/64"), stack(t, db, "10.0.2.15/24", "fec0::15/64")
	e, err := New(Config{Port: 7})(&appliance.Env{Net: server})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- e.Serve(ctx) }()
	for _, network := range []string{"udp", "tcp"} {
		for _, addr := range []string{"10.0.2.15:7", "[fec0::15]:7"} {
			ask(t, client, network, addr)
		}
	}
	stop()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("Serve: %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("Serve does not end")
	}
	client.Close()
	server.Close()
	da.Check(t)
	db.Check(t)
}

func ask(t *testing.T, s *netif.Stack, network, addr string) {
	t.Helper()
	c, err := s.DialContext(context.Background(), network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	for _, n := range []int{1, 100, 1400} {
		if err := exchange(c, bytes.Repeat([]byte{byte(n)}, n)); err != nil {
			t.Errorf("%s %s: %d bytes: %v", network, addr, n, err)
		}
	}
}

func exchange(c net.Conn, p []byte) error {
	if _, err := c.Write(p); err != nil {
		return err
	}
	got := make([]byte, len(p))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if !bytes.Equal(got, p) {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// TestPortInUse wants a constructor that fails to leave nothing bound.
func TestPortInUse(t *testing.T) {
	dev, _ := netiftest.Pair(netiftest.Options{}, netiftest.Options{})
	s := stack(t, dev, "10.0.2.15/24", "fec0::15/64")
	defer s.Close()
	l, err := s.Listen("tcp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{Port: 7})(&appliance.Env{Net: s}); err == nil {
		t.Fatal("no error with the TCP port in use")
	}
	l.Close()
	if _, err := New(Config{Port: 7})(&appliance.Env{Net: s}); err != nil {
		t.Errorf("after the port is free: %v", err)
	}
}
