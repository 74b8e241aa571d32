package main

import (
	"context"
	"fmt"
	"time"

	"ampoule/tools/boottest/vm"
	"ampoule/tools/load"
)

// TCP is what TCP costs: requests on kept-alive connections, lone and one of 16
// under way; a request with a connection of its own, set-up and end included;
// and where the service returns what it is sent, a MiB that goes there and back.
type TCP struct {
	Lone      Point  `json:"lone"`
	Saturated Point  `json:"saturated"`
	Connect   Point  `json:"connection"`
	Bulk      *Point `json:"mib,omitempty"`
}

// stream is one point of TCP: how n units of it are asked for.
type stream struct {
	name  string // for -prof
	units func(requests int) int
	run   func(ctx context.Context, m *machine, n int) error
}

// streamOf makes a point of kept-alive or fresh connections.
func streamOf(name string, l load.Streams, of func(requests int) int) stream {
	return stream{name, of, func(ctx context.Context, m *machine, n int) error {
		l.Requests = n
		return l.Run(ctx, m.dial, m.tcpAddr, m.stream)
	}}
}

var (
	tcpLone      = streamOf("tcp-lone", load.Streams{Clients: 1, Pause: lone.Pause}, func(n int) int { return n })
	tcpSaturated = streamOf("tcp-saturated", load.Streams{Clients: 16}, func(n int) int { return n })
	tcpConnect   = streamOf("tcp-connect", load.Streams{Clients: 1, Fresh: true}, func(n int) int { return n / 2 })
	tcpBulk      = stream{"tcp-bulk", func(n int) int { return max(n/100, 1) }, bulk}
	streams      = []stream{tcpLone, tcpSaturated, tcpConnect, tcpBulk, httpLarge}
)

// bulk moves n MiB there and back.
func bulk(ctx context.Context, m *machine, n int) error {
	c, err := m.dial(ctx, "tcp", m.tcpAddr)
	if err != nil {
		return err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Now()) })
	defer stop()
	c.SetDeadline(time.Now().Add(time.Duration(n)*5*time.Second + bootLimit))
	return load.Bulk(c, n<<20)
}

// explained is err with what the guest said.
func (m *machine) explained(err error) error {
	if err == nil {
		return nil
	}
	return &vm.Error{Err: err, Command: m.Command(), Console: m.Console()}
}

// tcp measures app's TCP.
func (b *bench) tcp(ctx context.Context, app string) (*TCP, error) {
	var t TCP
	points := []struct {
		s  stream
		to *Point
	}{{tcpLone, &t.Lone}, {tcpSaturated, &t.Saturated}, {tcpConnect, &t.Connect}}
	if app == "echo" {
		t.Bulk = new(Point)
		points = append(points, struct {
			s  stream
			to *Point
		}{tcpBulk, t.Bulk})
	}
	for _, p := range points {
		var err error
		*p.to, err = b.count(ctx, app, p.s.units(b.requests), func(m *machine, n int) error {
			return m.explained(p.s.run(ctx, m, n))
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.s.name, err)
		}
	}
	return &t, nil
}
