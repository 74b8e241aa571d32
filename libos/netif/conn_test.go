package netif

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"ampoule/libos/netif/netiftest"
)

// connected is both ends of one connection.
func connected(t *testing.T) (a, b *Conn) {
	t.Helper()
	return joined(t, netiftest.Options{}, netiftest.Options{}, addrB4)
}

// joined is both ends of a connection to host, on devices with these options.
func joined(t *testing.T, oa, ob netiftest.Options, host string) (a, b *Conn) {
	t.Helper()
	sa, sb := pair(t, oa, ob)
	l, err := sb.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := sa.DialContext(ctx, "tcp", net.JoinHostPort(host, "80"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	return c.(*Conn), s.(*Conn)
}

// waits asks c to say when there is something to read.
func waits(c *Conn) <-chan struct{} {
	done := make(chan struct{})
	c.NotifyRead(func() { close(done) }) // would panic at a second call
	return done
}

func TestNotifyRead(t *testing.T) {
	a, b := connected(t)
	buf := make([]byte, 4)
	for _, text := range []string{"one", "two"} {
		if n, err := b.TryRead(buf); n != 0 || err != nil {
			t.Fatalf("with nothing there: %d, %v", n, err)
		}
		done := waits(b)
		select {
		case <-done:
			t.Fatal("NotifyRead calls with nothing there")
		case <-time.After(50 * time.Millisecond):
		}
		if _, err := a.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		arrives(t, done)
		if n, err := b.TryRead(buf); string(buf[:n]) != text || err != nil {
			t.Fatalf("%q, %v, want %q", buf[:n], err, text)
		}
	}
	done := waits(b)
	a.CloseWrite()
	arrives(t, done)
	if n, err := b.TryRead(buf); n != 0 || err != io.EOF {
		t.Errorf("at the end: %d, %v", n, err)
	}
}

func arrives(t *testing.T, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Fatal("NotifyRead does not call")
	}
}

// TestNotifyReadEnds: whoever ends the connection, it is said.
func TestNotifyReadEnds(t *testing.T) {
	for name, end := range map[string]func(a, b *Conn){
		"close":      func(_, b *Conn) { b.Close() },
		"abort":      func(_, b *Conn) { b.Abort() },
		"peer abort": func(a, _ *Conn) { a.Abort() },
	} {
		t.Run(name, func(t *testing.T) {
			a, b := connected(t)
			done := waits(b)
			time.Sleep(20 * time.Millisecond)
			end(a, b)
			arrives(t, done)
			if n, err := b.TryRead(make([]byte, 1)); n != 0 || err == nil {
				t.Errorf("afterwards: %d, %v", n, err)
			}
		})
	}
}
