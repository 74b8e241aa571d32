// Package peertest runs other name servers on the loopback interface, and ours
// beside them, for tests of what they say to each other. The programs are NSD,
// Knot DNS and dig, from Debian; a test that lacks one fails.
package peertest

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ampoule/appliances/dns/dnsd"
	"ampoule/libos/appliance"
	"ampoule/libos/config/zone"
	"ampoule/libos/config/zone/answers"
	"ampoule/libos/freeport"
	"ampoule/libos/netif"
	"ampoule/libos/telemetry"

	"github.com/miekg/dns"
)

// Secret is that of the key that all tests share.
var Secret = []byte("a secret of thirty-two octets...")

// Secret64 is Secret as configurations have it.
var Secret64 = base64.StdEncoding.EncodeToString(Secret)

// Port returns a port of 127.0.0.1 that is free for UDP and TCP, and t's until it ends.
func Port(t testing.TB) int {
	t.Helper()
	port, release, err := freeport.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { release() })
	return port
}

// Addr is a port of 127.0.0.1.
func Addr(port int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port))
}

// host is the loopback interface.
type host struct{ net.Dialer }

func (host) local(address string) string { return "127.0.0.1" + address }

func (h host) Listen(network, address string) (net.Listener, error) {
	return net.Listen(network, h.local(address))
}

func (h host) ListenPacket(network, address string) (net.PacketConn, error) {
	return net.ListenPacket(network, h.local(address))
}

func (host) SetFastPath(netif.FastPath) {}

// Server is ours.
type Server struct {
	t     testing.TB
	Log   *Log
	Plane *Plane
	stop  func()
}

// Stop ends the server, and waits for it.
func (s *Server) Stop() { s.stop() }

// Log keeps what is logged.
type Log struct{ lines chan string }

// Write implements io.Writer.
func (l *Log) Write(b []byte) (int, error) {
	select {
	case l.lines <- string(b):
	default: // more than a test can want to see
	}
	return len(b), nil
}

// Wait waits until a line has all words.
func (l *Log) Wait(t testing.TB, words ...string) {
	t.Helper()
	end := time.After(20 * time.Second)
	for {
		select {
		case line := <-l.lines:
			t.Log(strings.TrimSpace(line))
			all := true
			for _, w := range words {
				all = all && strings.Contains(line, w)
			}
			if all {
				return
			}
		case <-end:
			t.Fatalf("nothing with %q was logged", words)
		}
	}
}

// Start runs our server until the test ends.
func Start(t testing.TB, c dnsd.Config) *Server {
	t.Helper()
	if c.TCPConnections == 0 {
		c.TCPConnections, c.TCPIdle = 32, 5*time.Second
	}
	log := &Log{make(chan string, 10000)}
	ctx, cancel := context.WithCancel(context.Background())
	plane := &Plane{}
	a, err := dnsd.New(c)(&appliance.Env{Net: &host{}, Management: plane, Log: telemetry.New(log, time.Now, telemetry.Debug), Now: time.Now})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- a.Serve(ctx) }()
	ended := false
	s := &Server{t, log, plane, func() {
		cancel()
		if ended {
			return
		}
		ended = true
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Serve: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Serve does not return")
		}
	}}
	t.Cleanup(func() {
		s.stop()
		for t.Failed() {
			select {
			case line := <-log.lines:
				t.Log(strings.TrimSpace(line))
				continue
			default:
			}
			break
		}
	})
	return s
}

// Run starts a program that stays in the foreground, until the test ends or stop is
// called. Its output is shown when the test fails.
func Run(t testing.TB, dir, name string, args ...string) (stop func()) {
	t.Helper()
	out, err := os.Create(filepath.Join(dir, name+".out"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = out, out, dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v (tools/setup installs it)", err)
	}
	done := make(chan struct{})
	go func() { cmd.Wait(); close(done) }()
	stop = func() {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			cmd.Process.Kill()
			<-done
		}
	}
	t.Cleanup(func() {
		stop()
		out.Close()
		if b, _ := os.ReadFile(out.Name()); t.Failed() {
			t.Logf("%s:\n%s", name, b)
		}
	})
	return stop
}

// Write writes a file and returns its path.
func Write(t testing.TB, dir, name, text string) string {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

// Wire returns a name in wire format and lower case.
func Wire(t testing.TB, name string) string {
	t.Helper()
	b := make([]byte, 256)
	n, err := dns.PackDomainName(dns.CanonicalName(name), b, 0, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

// Compile makes a zone of a zone file's text.
func Compile(t testing.TB, origin, text string) zone.Zone {
	t.Helper()
	var records []zone.Record
	p := dns.NewZoneParser(strings.NewReader(text), origin, "")
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		records = append(records, Record(t, rr))
	}
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	z, err := zone.Compile([]byte(Wire(t, origin)), records)
	if err == nil {
		z, err = answers.Add(z)
	}
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// Record returns a record as compilers take it.
func Record(t testing.TB, rr dns.RR) zone.Record {
	t.Helper()
	b := make([]byte, dns.Len(rr)+256)
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

// Dig asks a server on a port with dig and returns what that prints.
func Dig(t testing.TB, port int, args ...string) string {
	t.Helper()
	args = append([]string{"@127.0.0.1", "-p", fmt.Sprint(port), "+norecurse", "+tries=1", "+time=3"}, args...)
	out, _ := exec.Command("dig", args...).CombinedOutput()
	return string(out)
}

// Until repeats a question until the answer is as wanted, for at most a time.
func Until(t testing.TB, most time.Duration, ask func() string, want func(string) bool) string {
	t.Helper()
	start := time.Now()
	for {
		got := ask()
		if want(got) {
			return got
		}
		if time.Since(start) > most {
			t.Fatalf("not within %v:\n%s", most, got)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// Has wants all texts to be in an answer.
func Has(texts ...string) func(string) bool {
	return func(s string) bool {
		for _, w := range texts {
			if !strings.Contains(s, w) {
				return false
			}
		}
		return true
	}
}
