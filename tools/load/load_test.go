package load

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// server answers datagrams on loopback with what f makes of them; nil is no
// answer.
func server(t *testing.T, f func(n int, request []byte) []byte) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 65536)
		for i := 0; ; i++ {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			if a := f(i, b[:n]); a != nil {
				c.WriteTo(a, from)
			}
		}
	}()
	return c.LocalAddr().String()
}

func dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, addr)
}

// answerDNS is a good answer with one (unchecked) record.
func answerDNS(_ int, q []byte) []byte {
	a := append([]byte(nil), q...)
	a[2], a[3], a[7] = 0x84, 0, 1
	return append(a, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1)
}

func TestProbe(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	start := time.Now()
	late := server(t, func(_ int, q []byte) []byte {
		if time.Since(start) < 100*time.Millisecond {
			return nil
		}
		return q
	})
	at, err := Probe(ctx, dial, late, Echo(64), 5*time.Millisecond)
	if d := at.Sub(start); err != nil || d < 100*time.Millisecond || d > time.Second {
		t.Errorf("answer after %v, %v", d, err)
	}
	if _, err := Probe(ctx, dial, server(t, answerDNS), DNS("www.example.org"), 5*time.Millisecond); err != nil {
		t.Error(err)
	}
}

func TestProbeSaysWhatIsWrong(t *testing.T) {
	for name, tc := range map[string]struct {
		s    Service
		f    func(int, []byte) []byte
		want string
	}{
		"silence": {Echo(64), func(int, []byte) []byte { return nil }, "silence"},
		"short":   {Echo(64), func(_ int, q []byte) []byte { return q[:10] }, "10 bytes came back of 64"},
		"refused": {DNS("a.b"), func(_ int, q []byte) []byte { a := answerDNS(0, q); a[3] = 5; return a }, "flags 0x8405"},
		"empty":   {DNS("a.b"), func(_ int, q []byte) []byte { a := answerDNS(0, q); a[7] = 0; return a }, "without records"},
		"other":   {DNS("a.b"), func(_ int, q []byte) []byte { a := answerDNS(0, q); a[13] = 'x'; return a }, "another question"},
		"no name": {DNS("a..b"), answerDNS, "not a domain name"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		_, err := Probe(ctx, dial, server(t, tc.f), tc.s, 5*time.Millisecond)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLoop(t *testing.T) {
	var served atomic.Int64
	addr := server(t, func(n int, q []byte) []byte { served.Add(1); return q })
	r, err := Loop{Requests: 500, Clients: 16}.Run(t.Context(), dial, addr, Echo(64))
	if err != nil || r.Answered != 500 || r.Failed != 0 || served.Load() != int64(500+r.Retries) {
		t.Errorf("%+v, %v, %d served", r, err, served.Load())
	}
}

func TestLoopCountsTrouble(t *testing.T) {
	l := Loop{Requests: 20, Clients: 1, Timeout: 20 * time.Millisecond, Retries: 1}
	r, err := l.Run(t.Context(), dial, server(t, func(n int, q []byte) []byte {
		if n%4 == 0 {
			return nil
		}
		return q
	}), Echo(64))
	if err != nil || r.Answered != 20 || r.Retries < 5 {
		t.Errorf("a quarter lost: %+v, %v", r, err)
	}
	r, _ = l.Run(t.Context(), dial, server(t, func(_ int, q []byte) []byte { return q[1:] }), Echo(64))
	if r.Answered != 0 || r.Failed != 20 || r.First == nil {
		t.Errorf("wrong answers: %+v", r)
	}
}

func TestLateAnswersAreNotCounted(t *testing.T) {
	var before []byte
	addr := server(t, func(_ int, q []byte) []byte { // one behind
		a := before
		before = append([]byte(nil), q...)
		return a
	})
	r, _ := Loop{Requests: 5, Clients: 1, Timeout: 20 * time.Millisecond, Retries: 1}.Run(t.Context(), dial, addr, Echo(64))
	if r.Retries == 0 || r.Answered != 5 {
		t.Errorf("%+v", r)
	}
}

func TestStream(t *testing.T) {
	for _, s := range []Service{Echo(100), DNS("www.example.org")} {
		a, b := net.Pipe()
		go func() {
			buf := make([]byte, 1000)
			n, _ := b.Read(buf)
			if s.Name == "dns" {
				b.Write(s.Stream(answerDNS(0, buf[2:n])))
			} else {
				b.Write(buf[:n])
			}
		}()
		if err := Stream(a, s, 77); err != nil {
			t.Errorf("%s: %v", s.Name, err)
		}
		a.Close()
	}
}

// streamServer echoes connections on loopback; each answer goes through f.
func streamServer(t *testing.T, f func([]byte) []byte) (string, *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var conns atomic.Int64
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Add(1)
			go func() {
				defer c.Close()
				for b := make([]byte, 65536); ; {
					n, err := c.Read(b)
					if err != nil {
						return
					}
					c.Write(f(b[:n]))
				}
			}()
		}
	}()
	return l.Addr().String(), &conns
}

func same(b []byte) []byte { return b }

func TestStreams(t *testing.T) {
	for _, tc := range []struct {
		fresh bool
		conns int64
	}{{false, 4}, {true, 100}} {
		addr, conns := streamServer(t, same)
		l := Streams{Requests: 100, Clients: 4, Fresh: tc.fresh}
		if err := l.Run(t.Context(), dial, addr, Echo(1024)); err != nil || conns.Load() != tc.conns {
			t.Errorf("fresh %v: %v, %d connections", tc.fresh, err, conns.Load())
		}
	}
	spoil := func(b []byte) []byte { b[0] ^= 1; return b }
	addr, _ := streamServer(t, spoil)
	if err := (Streams{Requests: 10, Clients: 2}).Run(t.Context(), dial, addr, Echo(1024)); err == nil {
		t.Error("wrong answers are no error")
	}
}

func TestBulk(t *testing.T) {
	n := 0
	late := func(b []byte) []byte {
		if n += len(b); n > 1<<20 {
			b[0] ^= 1
		}
		return b
	}
	for name, f := range map[string]func([]byte) []byte{"": same, "other bytes": late} {
		addr, _ := streamServer(t, f)
		c, err := dial(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if err := Bulk(c, 2<<20+7); (err != nil) != (name != "") || err != nil && !strings.Contains(err.Error(), name) {
			t.Errorf("%q: %v", name, err)
		}
		c.Close()
	}
}
