package door

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// addressed is one end of a pipe, with an address.
type addressed struct {
	net.Conn
	from net.Addr
}

func (a addressed) RemoteAddr() net.Addr { return a.from }

// come is a connection from an address: the listener's end and the client's.
func come(t *testing.T, from string) (in, out net.Conn) {
	out, c := net.Pipe()
	t.Cleanup(func() { out.Close(); c.Close() })
	return addressed{c, net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 1))}, out
}

func enter(t *testing.T, d *Door, from string) (*Guest, net.Conn) {
	t.Helper()
	in, out := come(t, from)
	g, err := d.Enter(in)
	if err != nil {
		t.Fatal(err)
	}
	return g, out
}

// closed says whether a client's end was.
func closed(c net.Conn) bool {
	c.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := c.Read(make([]byte, 1))
	var e net.Error
	return err != nil && !(errors.As(err, &e) && e.Timeout())
}

// TestWhoGives: the order in which guests give way.
func TestWhoGives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := New(Config{Places: 6, Rate: 100}, time.Now)
		defer d.Close()
		operator, operatorEnd := enter(t, d, "192.0.2.1")
		operator.Known()
		_, again := enter(t, d, "192.0.2.1") // the operator's second, not authenticated
		spoke, spokeEnd := enter(t, d, "192.0.2.2")
		go spokeEnd.Write([]byte("x"))
		if _, err := spoke.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		_, silent := enter(t, d, "192.0.2.3")
		_, one := enter(t, d, "2001:db8::1")
		_, two := enter(t, d, "2001:db8::2") // of the same network
		for i, c := range []struct {
			from string
			goes net.Conn
		}{
			{"192.0.2.10", one},    // of the source with two
			{"192.0.2.11", silent}, // the oldest that is silent, of sources with one each
			{"192.0.2.12", two},
		} {
			enter(t, d, c.from)
			if !closed(c.goes) {
				t.Fatalf("newcomer %d: the wrong one went", i)
			}
		}
		for range 20 {
			enter(t, d, "198.51.100.1")
		}
		if closed(operatorEnd) || closed(again) {
			t.Error("the operator had to go")
		}
		if closed(spokeEnd) {
			t.Error("a flood from one source drove another out")
		}
	})
}

// TestFull: who has authenticated keeps the place, whoever comes.
func TestFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := New(Config{Places: 2, Rate: 100}, time.Now)
		defer d.Close()
		var all []*Guest
		for range 2 {
			g, _ := enter(t, d, "192.0.2.1")
			g.Known()
			all = append(all, g)
		}
		in, _ := come(t, "192.0.2.1")
		if _, err := d.Enter(in); !errors.Is(err, ErrFull) {
			t.Fatalf("a third: %v", err)
		}
		all[0].Leave()
		enter(t, d, "192.0.2.9")
	})
}

// TestTurns: handshakes are rationed, a flood from one source leaves half to others,
// and known sources have their own.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := New(Config{Places: 100, Rate: 4}, time.Now)
		defer d.Close()
		begin := time.Now()
		known, _ := enter(t, d, "192.0.2.1")
		known.Known()
		start := func(from string) chan time.Duration {
			g, end := enter(t, d, from)
			done := make(chan time.Duration, 1)
			go end.Write([]byte("x"))
			go func() {
				if _, err := g.Read(make([]byte, 1)); err == nil {
					done <- time.Since(begin)
				}
			}()
			synctest.Wait()
			return done
		}
		when := func(c chan time.Duration) time.Duration {
			select {
			case at := <-c:
				return at
			default:
				return -1
			}
		}
		var flood []chan time.Duration
		for range 10 {
			flood = append(flood, start("198.51.100.1"))
		}
		newcomer, operator := start("203.0.113.1"), start("192.0.2.1")
		if at := when(newcomer); at != 0 {
			t.Errorf("a newcomer beside a flood: %v", at)
		}
		if at := when(operator); at != 0 {
			t.Errorf("an operator beside a flood: %v", at)
		}
		time.Sleep(10 * time.Second)
		var at []time.Duration
		for _, c := range flood {
			at = append(at, when(c))
		}
		for i, got := range at {
			if want := time.Duration(i/2) * time.Second; got != want {
				t.Errorf("handshake %d of the flood began after %v, want %v: %v", i, got, want, at)
			}
		}
	})
}

// TestGaveWay: who waits for the handshake and has to go is told.
func TestGaveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := New(Config{Places: 2, Rate: 1}, time.Now)
		defer d.Close()
		result := make(chan error, 3)
		for range 2 {
			g, end := enter(t, d, "198.51.100.1")
			go end.Write([]byte("x"))
			go func() {
				_, err := g.Read(make([]byte, 1))
				result <- err
			}()
			synctest.Wait()
		}
		if err := <-result; err != nil {
			t.Fatal(err)
		}
		enter(t, d, "198.51.100.2") // ends the oldest, which has begun
		enter(t, d, "198.51.100.1")
		if err := <-result; !errors.Is(err, ErrGaveWay) {
			t.Error(err)
		}
	})
}

// TestForgets: nothing is kept of sources but what is bounded.
func TestForgets(t *testing.T) {
	d := New(Config{Places: 4, Rate: 1000}, time.Now)
	for i := range 3 * remembered {
		in, _ := come(t, netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}).String())
		g, err := d.Enter(in)
		if err != nil {
			t.Fatal(err)
		}
		g.Known()
		g.Leave()
	}
	if len(d.known) != remembered || len(d.guests) != 0 {
		t.Errorf("%d sources, %d guests", len(d.known), len(d.guests))
	}
}
