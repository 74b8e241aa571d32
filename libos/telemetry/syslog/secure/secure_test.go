package secure

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ampoule/libos/mgmt/mgmttest"
	"ampoule/libos/telemetry"
	"ampoule/libos/telemetry/syslog"
)

// collector takes connections through a function in the place of a network.
type collector struct {
	t     *testing.T
	cfg   *tls.Config
	deaf  bool // it takes connections and says nothing
	dies  int  // the first connection is cut after so many octets, and what came is lost
	dials int
	conns []net.Conn
	got   chan string

	doomed *mortal
	last   *tls.Conn // of the latest connection
}

// goodbye ends the latest connection in good order.
func (c *collector) goodbye() { c.last.Close() }

// mortal is a connection whose end dies when it has read so many octets: it says nothing
// more, not even goodbye.
type mortal struct {
	net.Conn
	left int
	dead bool
}

func (m *mortal) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p[:min(len(p), m.left)])
	if m.left -= n; m.left == 0 {
		m.dead = true
		m.Conn.(*buffered).Conn.Close()
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}

func (c *collector) dial(_ context.Context, network, address string) (net.Conn, error) {
	if network != "tcp" || address != "192.0.2.10:6514" {
		return nil, errors.New("dialled " + network + " " + address)
	}
	c.dials++
	near, far := net.Pipe()
	c.conns = append(c.conns, far)
	if !c.deaf {
		b := &buffered{far, make(chan []byte, 100)}
		go b.copy()
		if c.dies > 0 && c.dials == 1 {
			c.doomed = &mortal{Conn: b, left: c.dies}
			go func(m *mortal) {
				io.Copy(io.Discard, tls.Server(m, c.cfg))
				m.Close()
			}(c.doomed)
			return near, nil
		}
		c.last = tls.Server(b, c.cfg)
		go c.read(c.last)
	}
	return near, nil
}

// buffered is an end of a pipe whose Write does not wait.
type buffered struct {
	net.Conn
	out chan []byte
}

func (b *buffered) Write(p []byte) (int, error) {
	b.out <- append([]byte(nil), p...)
	return len(p), nil
}

func (b *buffered) copy() {
	for p := range b.out {
		if p == nil {
			break
		}
		b.Conn.Write(p)
	}
	b.Conn.Close()
}

// Close lets out what was written.
func (b *buffered) Close() error {
	b.out <- nil
	return nil
}

// read takes messages apart by their length (RFC 5425, section 4.3).
func (c *collector) read(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		length, err := r.ReadString(' ')
		if err != nil {
			return
		}
		n, err := strconv.Atoi(strings.TrimSuffix(length, " "))
		if err != nil || length[0] == '0' {
			c.t.Errorf("length %q", length)
			return
		}
		m := make([]byte, n)
		if _, err := io.ReadFull(r, m); err != nil {
			return
		}
		c.got <- string(m)
	}
}

// close ends all connections, as a collector that restarts does.
func (c *collector) close() {
	for _, conn := range c.conns {
		conn.Close()
	}
	c.conns = nil
}

// run is a Sink and its collector, within synctest.
func run(t *testing.T, secure TLS, c *collector, queue int, test func(s *syslog.Sink, reports *[]string)) {
	synctest.Test(t, func(t *testing.T) {
		c.got = make(chan string, 100)
		s := syslog.New(syslog.Config{Server: netip.MustParseAddrPort("192.0.2.10:6514"), Queue: queue, Enterprise: 32473, Secure: secure}, "edge", "dns", time.Now)
		ctx, cancel := context.WithCancel(t.Context())
		var reports []string
		done := make(chan struct{})
		go func() {
			s.Run(ctx, c.dial, func(err error) {
				if err == nil {
					reports = append(reports, "")
				} else {
					reports = append(reports, err.Error())
				}
			})
			close(done)
		}()
		test(s, &reports)
		cancel()
		<-done
		c.close()
		time.Sleep(time.Minute)
	})
}

func event(s *syslog.Sink, text string) { s.Event(time.Now(), telemetry.Info, text, nil) }

// peers are an authority, a collector's configuration, and what fits it.
func peers(t *testing.T) (root *mgmttest.Pair, server *tls.Config, client TLS) {
	span := mgmttest.Spec{Name: "c", Hosts: []string{"logs.example", "192.0.2.10"}, From: time.Unix(0, 0), Until: time.Now().Add(1e6 * time.Hour)}
	root = (*mgmttest.Pair)(nil).Issue(t, mgmttest.Spec{Name: "root", CA: true, From: span.From, Until: span.Until})
	return root, &tls.Config{Certificates: []tls.Certificate{root.Issue(t, span).TLS()}}, TLS{Authorities: string(root.Cert()), Name: "logs.example"}
}

// TestMessages: messages come whole and in order, whatever version of TLS; a collector
// that restarts is found again and nothing is lost that was said when it was away.
func TestMessages(t *testing.T) {
	_, server, client := peers(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cfg := server.Clone()
		cfg.MaxVersion = version
		c := &collector{t: t, cfg: cfg}
		run(t, client, c, 10, func(s *syslog.Sink, reports *[]string) {
			for _, text := range []string{"one", "two", "three"} {
				event(s, text)
			}
			for _, text := range []string{"one", "two", "three"} {
				if m := <-c.got; !strings.HasSuffix(m, "] "+text) || !strings.HasPrefix(m, "<6>1 ") {
					t.Errorf("%q, want %q", m, text)
				}
			}
			time.Sleep(time.Minute)
			c.close()
			synctest.Wait()
			event(s, "four")
			if m := <-c.got; !strings.HasSuffix(m, "] four") {
				t.Errorf("%q", m)
			}
			synctest.Wait()
			if c.dials != 2 || len(*reports) > 0 || s.Stats() != (syslog.Stats{Sent: 4}) {
				t.Errorf("%d connections, %q, %+v", c.dials, *reports, s.Stats())
			}
		})
	}
}

// TestRefused: nothing is said to who is not the collector, and nothing waits; the
// reason is told once; attempts become rare; and all goes on when it is mended.
func TestRefused(t *testing.T) {
	root, server, client := peers(t)
	other, _, _ := peers(t)
	with := func(change func(*tls.Config)) *tls.Config {
		cfg := server.Clone()
		change(cfg)
		return cfg
	}
	mine := root.Issue(t, mgmttest.Spec{Name: "edge", Client: true, From: time.Unix(0, 0), Until: time.Now().Add(1e6 * time.Hour)})
	certified := client
	certified.Certificate, certified.Key = string(mine.Cert()), string(mine.KeyPEM(t))
	asks := with(func(c *tls.Config) { c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, mgmttest.Pool(root) })
	named := client
	named.Name = "other.example"
	address := client
	address.Name = "192.0.2.10"
	for what, c := range map[string]struct {
		server *tls.Config
		client TLS
		want   string // in the reason; "": none
	}{
		"another name": {server, named, "not other.example"},
		"an address":   {server, address, ""},
		"another authority": {with(func(c *tls.Config) {
			c.Certificates = []tls.Certificate{other.Issue(t, mgmttest.Spec{Hosts: []string{"logs.example"}, From: time.Unix(0, 0), Until: time.Now().Add(1e6 * time.Hour)}).TLS()}
		}), client, "unknown authority"},
		"expired": {with(func(c *tls.Config) {
			c.Certificates = []tls.Certificate{root.Issue(t, mgmttest.Spec{Hosts: []string{"logs.example"}, From: time.Unix(0, 0), Until: time.Unix(1, 0)}).TLS()}
		}), client, "expired"},
		"a client's certificate": {with(func(c *tls.Config) {
			c.Certificates = []tls.Certificate{mine.TLS()}
		}), client, "certificate"},
		"TLS 1.1":                         {with(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }), client, "protocol version"},
		"no certificate where one is due": {asks, client, "certificate required"},
		"our certificate":                 {asks, certified, ""},
		"our certificate, damaged":        {asks, TLS{client.Authorities, client.Name, certified.Certificate, certified.Key[:60]}, "can't be read"},
		"no authorities":                  {server, TLS{Name: client.Name}, "no authorities"},
	} {
		col := &collector{t: t, cfg: c.server}
		run(t, c.client, col, 3, func(s *syslog.Sink, reports *[]string) {
			for range 20 {
				event(s, "text")
				time.Sleep(time.Minute)
			}
			if c.want == "" {
				if s.Stats().Sent != 20 || len(col.got) != 20 || len(*reports) > 0 {
					t.Errorf("%s: %+v, %q", what, s.Stats(), *reports)
				}
				return
			}
			if len(col.got) > 0 || len(*reports) != 1 || !strings.Contains((*reports)[0], c.want) {
				t.Errorf("%s: %d messages came, reports %q, want %q", what, len(col.got), *reports, c.want)
			}
			if col.dials > 40 {
				t.Errorf("%s: %d attempts in 20 minutes", what, col.dials)
			}
			for _, r := range *reports {
				if strings.Contains(r, certified.Key[30:60]) {
					t.Errorf("%s: the key is in %q", what, r)
				}
			}
			before := s.Stats()
			col.cfg = server
			if c.client != client {
				return // nothing can be mended there
			}
			time.Sleep(2 * time.Minute)
			event(s, "text")
			time.Sleep(2 * time.Minute)
			event(s, "text")
			time.Sleep(time.Minute)
			if s.Stats().Sent < before.Sent+2 || len(col.got) == 0 || len(*reports) != 2 || (*reports)[1] != "" {
				t.Errorf("%s: when mended: %+v after %+v, %q", what, s.Stats(), before, *reports)
			}
		})
	}
}

// TestDeaf: a collector that does not answer, or stops reading, holds up nothing but
// the queue, which is bounded.
func TestDeaf(t *testing.T) {
	_, server, client := peers(t)
	c := &collector{t: t, cfg: server, deaf: true}
	run(t, client, c, 5, func(s *syslog.Sink, reports *[]string) {
		begin := time.Now()
		for range 100 {
			event(s, "text")
		}
		if time.Since(begin) != 0 {
			t.Error("an event waited")
		}
		synctest.Wait()
		if n := s.Stats().Dropped; n < 90 {
			t.Errorf("%d dropped", n)
		}
		time.Sleep(time.Minute)
		if len(*reports) != 1 {
			t.Errorf("reports %q", *reports)
		}
	})
}

// TestDies: whatever octet is the last that a collector reads, and though all that came is
// lost with it, the next connection has each message, in order and with its number.
func TestDies(t *testing.T) {
	_, server, client := peers(t)
	const messages = 5
	died := 0
	for dies := 1; ; dies++ {
		c := &collector{t: t, cfg: server, dies: dies}
		run(t, client, c, 10, func(s *syslog.Sink, _ *[]string) {
			for range messages {
				event(s, "text")
				synctest.Wait()
			}
			time.Sleep(2 * time.Minute)
			if !c.doomed.dead {
				return
			}
			died++
			for i := range messages {
				if m := <-c.got; !strings.Contains(m, fmt.Sprintf(`sequenceId="%d"`, i+1)) {
					t.Errorf("dead after %d octets: message %d is %q", dies, i+1, m)
				}
			}
			if len(c.got) > 0 || c.dials != 2 {
				t.Errorf("dead after %d octets: %d more, %d connections", dies, len(c.got), c.dials)
			}
		})
		if !c.doomed.dead || t.Failed() {
			break
		}
	}
	if died < messages*60 {
		t.Errorf("it died at %d octets only", died)
	}
}

// TestGoodbye: what was written a while before a collector's goodbye is not sent again,
// what was written just before is.
func TestGoodbye(t *testing.T) {
	_, server, client := peers(t)
	for idle, want := range map[time.Duration]int{time.Second: 2, time.Minute: 1} {
		c := &collector{t: t, cfg: server}
		run(t, client, c, 10, func(s *syslog.Sink, reports *[]string) {
			time.Sleep(time.Minute)
			event(s, "one")
			<-c.got
			time.Sleep(idle)
			c.goodbye()
			time.Sleep(time.Minute)
			if got := 1 + len(c.got); got != want || s.Stats() != (syslog.Stats{Sent: 1, Repeated: uint64(want - 1)}) {
				t.Errorf("idle for %v: %d times, %+v", idle, got, s.Stats())
			}
		})
	}
}

// TestKeptBound: no more is kept than is said, and that is the last.
func TestKeptBound(t *testing.T) {
	_, server, client := peers(t)
	c := &collector{t: t, cfg: server}
	run(t, client, c, 10, func(s *syslog.Sink, _ *[]string) {
		const all = 120
		for range all {
			event(s, strings.Repeat("x", 800))
			<-c.got
		}
		c.close()
		time.Sleep(time.Minute)
		size, n := 0, len(c.got)
		for i := range n {
			m := <-c.got
			size += len(m)
			if !strings.Contains(m, fmt.Sprintf(`sequenceId="%d"`, all-n+i+1)) {
				t.Errorf("%d of %d: %.120q", i, n, m)
			}
		}
		if size > 32<<10 || size < 31<<10 || s.Stats().Repeated != uint64(n) {
			t.Errorf("%d messages of %d octets were sent again, %+v", n, size, s.Stats())
		}
	})
}
