package dnsd

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"ampoule/appliances/dns/answer"
	"ampoule/libos/appliance"
	"ampoule/libos/config/zone"
	"ampoule/libos/netif"
	"ampoule/libos/telemetry"

	"github.com/miekg/dns"
)

// record parses one record.
func record(t testing.TB, text string) zone.Record {
	t.Helper()
	rr, err := dns.NewRR(text)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1024)
	n, err := dns.PackRR(rr, b, 0, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	_, owner, err := dns.UnpackDomainName(b, 0)
	if err != nil {
		t.Fatal(err)
	}
	return zone.Record{Owner: b[:owner], Type: rr.Header().Rrtype, TTL: rr.Header().Ttl, Data: b[owner+10 : n]}
}

func testConfig(t testing.TB) Config {
	t.Helper()
	records := []zone.Record{
		record(t, "example. 60 SOA ns.example. h.example. 1 2 3 4 5"),
		record(t, "example. 60 NS ns.example."),
		record(t, "ns.example. 60 A 192.0.2.1"),
	}
	for _, s := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		records = append(records, record(t, "large.example. 60 TXT "+strings.Repeat(s, 250)))
	}
	z, err := zone.Compile(records[0].Owner, records)
	if err != nil {
		t.Fatal(err)
	}
	return Config{Zones: []zone.Zone{z}, TCPConnections: 4, TCPIdle: 10 * time.Second}
}

// hostNet is the host's loopback interface, with ports of its choice.
type hostNet struct {
	appliance.Network
	udp net.PacketConn
	tcp net.Listener
}

func (h *hostNet) ListenPacket(network, _ string) (c net.PacketConn, err error) {
	h.udp, err = net.ListenPacket(network, "127.0.0.1:0")
	return h.udp, err
}

func (h *hostNet) Listen(network, _ string) (l net.Listener, err error) {
	if h.tcp, err = net.Listen(network, h.udp.LocalAddr().String()); err != nil {
		h.tcp, err = net.Listen(network, "127.0.0.1:0") // only a validator wants one port
	}
	return h.tcp, err
}

func (h *hostNet) SetFastPath(netif.FastPath) {}

// start runs a server until the test ends and returns its addresses.
func start(t *testing.T, cfg Config) (udp, tcp string) {
	t.Helper()
	var h hostNet
	a, err := New(cfg)(&appliance.Env{Net: &h, Log: telemetry.New(os.Stderr, time.Now, telemetry.Info)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- a.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Serve: %v", err)
			}
		case <-time.After(5 * time.Second):
			t.Error("Serve does not return")
		}
	})
	return h.udp.LocalAddr().String(), h.tcp.Addr().String()
}

func query(t testing.TB, name string, qtype uint16, id uint16) []byte {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	m.Id = id
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// framed puts the length before a message.
func framed(msg []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)
}

func readFrame(t testing.TB, c net.Conn) *dns.Msg {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	var length [2]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatal(err)
	}
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		t.Fatal(err)
	}
	return m
}

func dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// closed says whether the server ends the connection within d.
func closed(c net.Conn, d time.Duration) bool {
	c.SetReadDeadline(time.Now().Add(d))
	_, err := io.Copy(io.Discard, c)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

func TestUDPThenTCP(t *testing.T) {
	udp, tcp := start(t, testConfig(t))
	m := new(dns.Msg)
	m.SetQuestion("large.example.", dns.TypeTXT)
	r, err := dns.Exchange(m, udp)
	if err != nil || !r.Truncated || len(r.Answer) != 0 {
		t.Fatalf("over UDP: %v, %v", r, err)
	}
	r, _, err = (&dns.Client{Net: "tcp"}).Exchange(m, tcp)
	if err != nil || r.Truncated || len(r.Answer) != 8 || !r.Authoritative {
		t.Fatalf("over TCP: %v, %v", r, err)
	}
}

// TestUDPSurvives sends what is no query and then a query.
func TestUDPSurvives(t *testing.T) {
	udp, _ := start(t, testConfig(t))
	c, err := net.Dial("udp", udp)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, b := range [][]byte{{}, {1}, bytes.Repeat([]byte{0xff}, 6000), make([]byte, 12)} {
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	m := new(dns.Msg)
	m.SetQuestion("ns.example.", dns.TypeA)
	if r, err := dns.Exchange(m, udp); err != nil || len(r.Answer) != 1 {
		t.Fatalf("%v, %v", r, err)
	}
}

// TestPipelining sends many queries at once, cut at odd places, and wants the
// answers in their order, the one before an incomplete query without delay.
func TestPipelining(t *testing.T) {
	_, tcp := start(t, testConfig(t))
	c := dial(t, tcp)
	var all []byte
	const count = 200
	for id := range count {
		name, qtype := "ns.example.", dns.TypeA
		if id%10 == 0 {
			name, qtype = "large.example.", dns.TypeTXT
		}
		all = append(all, framed(query(t, name, qtype, uint16(id)))...)
	}
	go func() {
		for len(all) > 0 {
			n := min(len(all), 701)
			c.Write(all[:n])
			all = all[n:]
		}
	}()
	for id := range count {
		if m := readFrame(t, c); int(m.Id) != id || len(m.Answer) == 0 {
			t.Fatalf("answer %d has identifier %d and %d records", id, m.Id, len(m.Answer))
		}
	}
	whole, half := framed(query(t, "ns.example.", dns.TypeA, 1)), framed(query(t, "ns.example.", dns.TypeA, 2))
	if _, err := c.Write(append(whole, half[:20]...)); err != nil {
		t.Fatal(err)
	}
	if m := readFrame(t, c); m.Id != 1 {
		t.Fatalf("identifier %d", m.Id)
	}
	if _, err := c.Write(half[20:]); err != nil {
		t.Fatal(err)
	}
	if m := readFrame(t, c); m.Id != 2 {
		t.Fatalf("identifier %d", m.Id)
	}
}

func TestTCPIdle(t *testing.T) {
	cfg := testConfig(t)
	cfg.TCPIdle = 300 * time.Millisecond
	_, tcp := start(t, cfg)
	silent, slow := dial(t, tcp), dial(t, tcp)
	go func() { // never a whole message, but always something
		for _, b := range framed(query(t, "ns.example.", dns.TypeA, 1)) {
			if _, err := slow.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	if !closed(silent, 3*time.Second) {
		t.Error("a silent connection stays open")
	}
	if !closed(slow, 3*time.Second) {
		t.Error("a connection that takes forever for a message stays open")
	}
}

// TestTCPConnections opens more connections than there may be: the one that was
// idle for longest goes, and new ones are served.
func TestTCPConnections(t *testing.T) {
	cfg := testConfig(t)
	_, tcp := start(t, cfg)
	var conns []net.Conn
	ask := func(c net.Conn) {
		t.Helper()
		if _, err := c.Write(framed(query(t, "ns.example.", dns.TypeA, 7))); err != nil {
			t.Fatal(err)
		}
		readFrame(t, c)
	}
	for range cfg.TCPConnections {
		c := dial(t, tcp)
		ask(c)
		conns = append(conns, c)
	}
	ask(conns[0]) // so that conns[1] is the oldest
	ask(dial(t, tcp))
	if !closed(conns[1], 3*time.Second) {
		t.Error("the connection that was idle for longest stays open")
	}
	for _, i := range []int{0, 2, 3} {
		ask(conns[i])
	}
}

func TestTCPFraming(t *testing.T) {
	_, tcp := start(t, testConfig(t))
	c := dial(t, tcp)
	if _, err := c.Write(framed(make([]byte, maxQuery+1))); err != nil {
		t.Fatal(err)
	}
	if !closed(c, 3*time.Second) {
		t.Error("a message that is too long does not end the connection")
	}
	c = dial(t, tcp)
	long := query(t, "ns.example.", dns.TypeA, 3)
	long = append(long, make([]byte, maxQuery-len(long))...) // malformed, of the longest length
	if _, err := c.Write(append(framed(long), framed(query(t, "ns.example.", dns.TypeA, 4))...)); err != nil {
		t.Fatal(err)
	}
	if m := readFrame(t, c); m.Id != 3 || m.Rcode != dns.RcodeFormatError {
		t.Errorf("%v", m)
	}
	if m := readFrame(t, c); m.Id != 4 || len(m.Answer) != 1 {
		t.Errorf("%v", m)
	}
}

// TestReplyPanic checks that a query which makes the server panic is dropped.
func TestReplyPanic(t *testing.T) {
	var log bytes.Buffer
	s := &server{log: telemetry.New(&log, time.Now, telemetry.Info)} // no zones: Answer panics
	for range 2 {
		if n := s.reply(make([]byte, 4096), query(t, "ns.example.", dns.TypeA, 1), overUDP, answer.Client{}); n != 0 {
			t.Errorf("%d bytes", n)
		}
	}
	if lines := strings.Count(log.String(), "\n"); lines != 1 || !strings.Contains(log.String(), "query=0001") {
		t.Errorf("log: %q", log.String())
	}
}

func TestNewRefuses(t *testing.T) {
	good := testConfig(t)
	for what, change := range map[string]func(*Config){
		"no zones":       func(c *Config) { c.Zones = nil },
		"a broken zone":  func(c *Config) { c.Zones = []zone.Zone{"x"} },
		"no connections": func(c *Config) { c.TCPConnections = 0 },
		"no idle time":   func(c *Config) { c.TCPIdle = 0 },
		"a tiny UDPSize": func(c *Config) { c.UDPSize = 100 },
	} {
		cfg := good
		change(&cfg)
		var h hostNet
		if _, err := New(cfg)(&appliance.Env{Net: &h}); err == nil {
			t.Errorf("%s: taken", what)
		}
		if _, err := h.tcp.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: the listener stays open", what)
		}
	}
}
