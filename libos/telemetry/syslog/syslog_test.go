package syslog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ampoule/libos/telemetry"
)

var cfg = Config{Server: netip.MustParseAddrPort("192.0.2.10:514"), Facility: 16, Level: telemetry.Info, Queue: 4, Enterprise: 32473}

var at = time.Date(2026, 3, 4, 5, 6, 7, 89e6, time.UTC)

func newSink(c Config) *Sink { return New(c, "ns1", "dns", func() time.Time { return at }) }

func TestMessage(t *testing.T) {
	const head = "1 2026-03-04T05:06:07.089000Z ns1 dns - - "
	for _, c := range []struct {
		level telemetry.Level
		msg   string
		pairs []telemetry.Pair
		want  string
	}{
		{telemetry.Info, "serving", nil, `<134>` + head + `[meta sequenceId="1"] serving`},
		{telemetry.Error, "broken", []telemetry.Pair{{Key: "port", Value: "53"}, {Key: "e", Value: "a b"}},
			`<131>` + head + `[meta sequenceId="1"][ampoule@32473 port="53" e="a b"] broken`},
		{telemetry.Warn, "odd", []telemetry.Pair{{Key: "", Value: ""}, {Key: `k=]"`, Value: `a"b\c]d`}},
			`<132>` + head + `[meta sequenceId="1"][ampoule@32473 -="" k___="a\"b\\c\]d"] odd`},
		{telemetry.Debug, "line\nforged <13>1", []telemetry.Pair{{Key: "v", Value: "\n\x00é"}},
			`<135>` + head + `[meta sequenceId="1"][ampoule@32473 v="\\x0a\\x00\\xc3\\xa9"] line\x0aforged <13>1`},
	} {
		got := newSink(cfg).message(at, c.level, c.msg, c.pairs)
		if string(got) != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
		if _, err := parse(got); err != nil {
			t.Error(err)
		}
	}
}

// FuzzMessage has every message read by the grammar, within its size, with what
// was put in when there is room.
func FuzzMessage(f *testing.F) {
	f.Add("h", "a", "serving", "port", "53", uint32(0))
	f.Add("", "", "\n", "", `"]\`, uint32(1<<31-2))
	f.Add(strings.Repeat("h", 300), " ", strings.Repeat("é", 3000), strings.Repeat("k", 40), strings.Repeat("]", 3000), uint32(1<<32-1))
	f.Fuzz(func(t *testing.T, host, app, msg, key, value string, seq uint32) {
		s := New(cfg, host, app, time.Now)
		s.seq.Store(seq)
		pairs := []telemetry.Pair{{Key: key, Value: value}, {Key: "last", Value: "x"}}
		b := s.message(at, telemetry.Info, msg, pairs)
		p, err := parse(b)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > maxMessage || p.pri != 134 || !p.at.Equal(at) {
			t.Errorf("%d bytes, %+v", len(b), p)
		}
		n := p.data["meta"][0][1]
		if n == "0" || len(n) > 10 || len(n) == 10 && n > "2147483647" {
			t.Errorf("sequenceId %s", n)
		}
		if len(host)+len(app)+len(msg)+len(value) < 100 && len(p.data["ampoule@32473"]) != 2 {
			t.Errorf("pairs lost: %+v", p)
		}
	})
}

// TestLong wants a long message cut, never its structured data.
func TestLong(t *testing.T) {
	var pairs []telemetry.Pair
	for i := range 100 {
		pairs = append(pairs, telemetry.Pair{Key: fmt.Sprint("k", i), Value: strings.Repeat("]", 500)})
	}
	b := newSink(cfg).message(at, telemetry.Info, strings.Repeat("\n", 2000), pairs)
	p, err := parse(b)
	if err != nil || len(b) > maxMessage || len(p.data["ampoule@32473"]) < 3 || len(p.msg) < 200 || len(p.msg)%4 != 0 {
		t.Errorf("%d bytes, %d pairs, %d of message, %v", len(b), len(p.data["ampoule@32473"]), len(p.msg), err)
	}
}

// collector is a connection that keeps what is written to it.
type collector struct {
	net.Conn
	mu   sync.Mutex
	got  []parsed
	fail error
}

func (c *collector) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail != nil {
		return 0, c.fail
	}
	p, err := parse(bytes.Clone(b))
	if err != nil {
		return 0, err
	}
	c.got = append(c.got, p)
	return len(b), nil
}

func (c *collector) Close() error { return nil }

func (c *collector) dial(_ context.Context, network, address string) (net.Conn, error) {
	if network != "udp" || address != "192.0.2.10:514" {
		return nil, errors.New("dialled " + network + " " + address)
	}
	return c, nil
}

// TestQueue fills the queue while nobody sends, and wants the excess dropped at
// once, counted, told, and visible in the sequence.
func TestQueue(t *testing.T) {
	var s *Sink
	c := new(collector)
	synctest.Test(t, func(t *testing.T) {
		s = newSink(cfg)
		log := telemetry.New(new(bytes.Buffer), func() time.Time { return at }, telemetry.Error)
		log.Also(s, cfg.Level)
		log = log.With("host", "ns1")
		log.Debug("not sent")
		for i := range 10 {
			log.Info("event", "i", i)
		}
		if st := s.Stats(); st != (Stats{Sent: 0, Dropped: 6}) {
			t.Errorf("%+v", st)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { s.Run(ctx, c.dial, func(error) {}); close(done) }()
		synctest.Wait()
		log.Info("after")
		synctest.Wait()
		cancel()
		<-done
	})
	var got []string
	for _, p := range c.got {
		got = append(got, fmt.Sprint(p.msg, p.data["meta"][0][1], p.data["ampoule@32473"]))
	}
	want := []string{"event1[[host ns1] [i 0]]", "event2[[host ns1] [i 1]]", "event3[[host ns1] [i 2]]", "event4[[host ns1] [i 3]]",
		"log messages dropped11[[now 6] [ever 6]]", "after12[[host ns1]]"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if st := s.Stats(); st != (Stats{Sent: 6, Dropped: 6}) {
		t.Errorf("%+v", st)
	}
}

// TestNoWay has no route to the collector for a while, and a connection that
// fails: nothing that there was room for is lost.
func TestNoWay(t *testing.T) {
	var s *Sink
	c := new(collector)
	synctest.Test(t, func(t *testing.T) {
		s = newSink(cfg)
		ctx, cancel := context.WithCancel(t.Context())
		dials := 0
		dial := func(ctx context.Context, network, address string) (net.Conn, error) {
			if dials++; dials < 10 {
				return nil, errors.New("no route")
			}
			if dials == 10 {
				return &collector{fail: errors.New("our address is gone")}, nil
			}
			return c.dial(ctx, network, address)
		}
		done := make(chan struct{})
		go func() { s.Run(ctx, dial, func(error) {}); close(done) }()
		began := time.Now()
		s.Event(at, telemetry.Info, "first", nil)
		if time.Since(began) > 0 {
			t.Error("Event waited")
		}
		time.Sleep(20 * time.Second)
		s.Event(at, telemetry.Info, "second", nil)
		synctest.Wait()
		cancel()
		<-done
	})
	if len(c.got) != 2 || c.got[0].msg != "first" || s.Stats() != (Stats{Sent: 2}) {
		t.Errorf("%+v, %+v", c.got, s.Stats())
	}
}

// TestEnd wants what is queued to go out at the end, and no wait when it can't.
func TestEnd(t *testing.T) {
	s, c := newSink(cfg), new(collector)
	s.Event(at, telemetry.Info, "last words", nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.flush(c)
	if len(c.got) != 1 {
		t.Errorf("%+v", c.got)
	}
	s.Event(at, telemetry.Info, "lost", nil)
	s.Run(ctx, func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no route") }, func(error) {})
	if s.Stats() != (Stats{Sent: 1, Dropped: 1}) {
		t.Errorf("%+v", s.Stats())
	}
}
