package netif

import (
	"context"
	"testing"

	"ampoule/libos/netif/netiftest"
)

// TestStuck: a Write is stuck while the peer takes nothing and there is no room, and at no
// other time.
func TestStuck(t *testing.T) {
	a, b := pair(t, netiftest.Options{}, netiftest.Options{})
	l, err := b.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	nc, err := a.DialContext(context.Background(), "tcp", addrB4+":80")
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	c := nc.(*Conn)
	if _, err := c.Write([]byte("small")); err != nil || c.Stuck() {
		t.Fatalf("a write of a few bytes: %v, stuck %v", err, c.Stuck())
	}
	const size = 4 << 20
	done := make(chan error, 1)
	go func() {
		_, err := c.Write(make([]byte, size))
		done <- err
	}()
	eventually(t, "a write waits", c.Stuck)
	for got, buf := 0, make([]byte, 64<<10); got < size; {
		n, err := peer.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		got += n
	}
	if err := <-done; err != nil || c.Stuck() {
		t.Errorf("when all is read: %v, stuck %v", err, c.Stuck())
	}
}
