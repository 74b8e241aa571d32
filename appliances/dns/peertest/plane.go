package peertest

import (
	"context"
	"net"
	"strings"
	"testing"

	"ampoule/libos/telemetry/metrics"
)

// Plane is a management plane that takes what it is told.
type Plane struct {
	collectors []metrics.Collector
	ready      []func() string
}

// Serve implements plane.Plane.
func (p *Plane) Serve(ctx context.Context) error { <-ctx.Done(); return nil }

// Secure implements plane.Plane; there are no certificates.
func (p *Plane) Secure(l net.Listener, _ ...string) net.Listener { return l }

// Collect implements plane.Plane.
func (p *Plane) Collect(c metrics.Collector) { p.collectors = append(p.collectors, c) }

// Ready implements plane.Plane.
func (p *Plane) Ready(ready func() string) { p.ready = append(p.ready, ready) }

// Missing is what is missing for the server to be ready.
func (p *Plane) Missing() (all string) {
	for _, f := range p.ready {
		all += f()
	}
	return all
}

// Metrics is what all collectors write.
func (p *Plane) Metrics() string {
	var w metrics.Writer
	for _, c := range p.collectors {
		c(&w)
	}
	return string(w.Bytes())
}

// Want wants lines in the metrics.
func (p *Plane) Want(t testing.TB, lines ...string) {
	t.Helper()
	text := p.Metrics()
	for _, l := range lines {
		if !strings.Contains("\n"+text, "\n"+l+"\n") {
			t.Errorf("the metrics lack %s:\n%s", l, text)
		}
	}
}
