package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ampoule/tools/xenrig/wire"
)

// agent serves on this machine and returns its address.
func agent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serveOn(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// give gives one order with its data, and collects the answer.
func give(t *testing.T, addr string, req wire.Request, input ...string) (string, wire.Outcome) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	wire.WriteJSON(c, wire.Order, req)
	for _, in := range input {
		wire.Write(c, wire.Data, []byte(in))
	}
	if input != nil {
		wire.Write(c, wire.End, nil)
	}
	r := wire.NewReader(c)
	var out strings.Builder
	for {
		k, body, err := r.Next()
		if err != nil {
			t.Fatalf("%+v: %v after %q", req, err, out.String())
		}
		if k == wire.Data {
			out.Write(body)
			continue
		}
		var res wire.Outcome
		if err := json.Unmarshal(body, &res); err != nil {
			t.Fatal(err)
		}
		return out.String(), res
	}
}

func TestRun(t *testing.T) {
	addr := agent(t)
	sh := func(s string) wire.Request {
		return wire.Request{Op: wire.OpRun, Command: []string{"sh", "-c", s}}
	}
	for _, tc := range []struct {
		req   wire.Request
		input []string
		out   string
		code  int
		err   string
	}{
		{req: sh("echo out; echo err >&2"), out: "out\nerr\n"},
		{req: sh("exit 3"), code: 3},
		{req: sh("kill -9 $$"), code: 128 + 9},
		{req: sh("cat; echo end"), input: []string{"a", "b"}, out: "abend\n"},
		{req: sh("sleep 20 & echo left"), out: "left\n"}, // its child holds the output open
		{req: wire.Request{Op: wire.OpRun}, err: "no command"},
		{req: wire.Request{Op: wire.OpRun, Command: []string{"/no/such"}}, err: "no such file"},
		{req: wire.Request{Op: "dance"}, err: `unknown order "dance"`},
	} {
		out, res := give(t, addr, tc.req, tc.input...)
		if out != tc.out || res.Code != tc.code || (tc.err == "") != (res.Error == "") || !strings.Contains(res.Error, tc.err) {
			t.Errorf("%+v: %q, %+v", tc.req, out, res)
		}
	}
}

// TestRunEndsWithConnection checks that a command and its children do not
// outlive the connection.
func TestRunEndsWithConnection(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "mark")
	c, err := net.Dial("tcp", agent(t))
	if err != nil {
		t.Fatal(err)
	}
	wire.WriteJSON(c, wire.Order, wire.Request{Op: wire.OpRun, Command: []string{"sh", "-c", "echo on; (sleep 1; echo late >" + mark + ") & wait"}})
	if k, body, err := wire.NewReader(c).Next(); k != wire.Data || string(body) != "on\n" {
		t.Fatalf("%c %q %v", k, body, err)
	}
	c.Close()
	time.Sleep(1500 * time.Millisecond)
	if _, err := os.Stat(mark); err == nil {
		t.Error("the child lived on")
	}
}

func TestStop(t *testing.T) {
	c, err := net.Dial("tcp", agent(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	wire.WriteJSON(c, wire.Order, wire.Request{Op: wire.OpRun, Command: []string{"sh", "-c", "trap 'echo stopped; exit 5' TERM; echo on; while :; do sleep 0.1; done"}})
	r := wire.NewReader(c)
	r.Next()
	wire.Write(c, wire.Stop, nil)
	var said string // what the shell says about the end of sleep comes too
	for {
		k, body, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if k == wire.Data {
			said += string(body)
			continue
		}
		var res wire.Outcome
		json.Unmarshal(body, &res)
		if !strings.HasSuffix(said, "stopped\n") || res.Code != 5 {
			t.Errorf("%q, %s", said, body)
		}
		return
	}
}

func TestFiles(t *testing.T) {
	addr := agent(t)
	name := filepath.Join(t.TempDir(), "file")
	if _, res := give(t, addr, wire.Request{Op: wire.OpPut, Path: name, Mode: 0o750}, "one ", "two"); res.Error != "" {
		t.Fatal(res.Error)
	}
	if st, err := os.Stat(name); err != nil || st.Mode().Perm() != 0o750 {
		t.Errorf("%v, %v", st, err)
	}
	for _, tc := range []struct {
		offset, limit int64
		want          string
	}{{0, 100, "one two"}, {4, 2, "tw"}, {-3, 100, "two"}, {-100, 3, "one"}, {100, 100, ""}} {
		out, res := give(t, addr, wire.Request{Op: wire.OpGet, Path: name, Offset: tc.offset, Limit: tc.limit})
		if out != tc.want || res.Size != 7 || res.Error != "" {
			t.Errorf("%+v: %q, %+v", tc, out, res)
		}
	}
	if _, res := give(t, addr, wire.Request{Op: wire.OpGet, Path: name + "x", Limit: 1}); res.Error == "" {
		t.Error("a file that is not there was read")
	}
	if _, res := give(t, addr, wire.Request{Op: wire.OpPut, Path: "/no/such/folder", Mode: 0o600}, "x"); res.Error == "" {
		t.Error("a file was written to nowhere")
	}
}

// echo answers on UDP and TCP with what change makes of the bytes.
func echo(t *testing.T, change func([]byte)) string {
	t.Helper()
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", u.LocalAddr().String())
	for try := 0; err != nil && try < 10; try++ { // the TCP port of that number was taken
		u.Close()
		if u, err = net.ListenPacket("udp", "127.0.0.1:0"); err == nil {
			l, err = net.Listen("tcp", u.LocalAddr().String())
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(); u.Close() })
	go func() {
		b := make([]byte, 65536)
		for {
			n, from, err := u.ReadFrom(b)
			if err != nil {
				return
			}
			change(b[:n])
			u.WriteTo(b[:n], from)
		}
	}()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				b := make([]byte, 4096)
				for {
					n, err := c.Read(b)
					if err != nil {
						return
					}
					change(b[:n])
					c.Write(b[:n])
				}
			}()
		}
	}()
	return l.Addr().String()
}

func TestDial(t *testing.T) {
	guest := echo(t, func([]byte) {})
	addr := agent(t)
	for _, network := range []string{"tcp", "udp"} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		wire.WriteJSON(c, wire.Order, wire.Request{Op: wire.OpDial, Network: network, Address: guest})
		r := wire.NewReader(c)
		if k, body, err := r.Next(); k != wire.Data || len(body) != 0 {
			t.Fatalf("%s: %c %q %v", network, k, body, err)
		}
		wire.Write(c, wire.Data, []byte("hello"))
		if k, body, err := r.Next(); k != wire.Data || string(body) != "hello" {
			t.Fatalf("%s: %c %q %v", network, k, body, err)
		}
		if network == "tcp" {
			wire.Write(c, wire.End, nil)
			if k, _, err := r.Next(); k != wire.End {
				t.Errorf("the end of the stream: %c %v", k, err)
			}
		}
	}
	if _, res := give(t, addr, wire.Request{Op: wire.OpDial, Network: "tcp", Address: "127.0.0.1:1"}); res.Error == "" {
		t.Error("connected to nothing")
	}
}

func TestLoads(t *testing.T) {
	good := echo(t, func([]byte) {})
	bad := echo(t, func(b []byte) { b[len(b)-1]++ })
	ctx := t.Context()
	if r, err := udpLoad(ctx, []string{"-addr", good, "-n", "200", "-clients", "4"}); err != nil || r.Answered != 200 || r.Failed != 0 {
		t.Errorf("load: %+v, %v", r, err)
	}
	if r, err := udpLoad(ctx, []string{"-addr", bad, "-n", "2", "-timeout", "50ms"}); err != nil || r.Answered != 0 || r.Failed != 2 || r.First == "" {
		t.Errorf("load with wrong answers: %+v, %v", r, err)
	}
	if r, err := stream(ctx, []string{"-addr", good, "-bytes", "1000000"}); err != nil || r.Bytes != 1000000 {
		t.Errorf("stream: %+v, %v", r, err)
	}
	if r, err := stream(ctx, []string{"-addr", bad, "-bytes", "1000000"}); err == nil {
		t.Errorf("stream with wrong bytes: %+v", r)
	}
	if r, err := keep(ctx, []string{"-addr", bad}, io.Discard); err != nil || r.RoundTrips != 0 || r.Error == "" {
		t.Errorf("keep with wrong bytes: %+v, %v", r, err)
	}
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if r, err := keep(short, []string{"-addr", good, "-every", "10ms"}, io.Discard); err != nil || r.RoundTrips < 3 || r.Error != "" {
		t.Errorf("keep: %+v, %v", r, err)
	}
}

func TestServices(t *testing.T) {
	for _, bad := range []string{"", "echo", "echo:3", "echo:x", "http:80"} {
		if _, err := service(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	s, err := service("dns:example.org")
	if err != nil || !bytes.Contains(s.Request(1), []byte("\x07example\x03org\x00")) {
		t.Errorf("dns: %v", err)
	}
	if err := run(t.Context(), []string{"nothing"}); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("unknown command: %v", err)
	}
}
