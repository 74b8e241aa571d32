package appliance

import (
	"context"
	"time"

	"ampoule/libos/config"
	"ampoule/libos/mgmt/plane"
	"ampoule/libos/netif"
	"ampoule/libos/telemetry"
	"ampoule/libos/telemetry/metrics"
	"ampoule/libos/telemetry/syslog"
)

// collect sends the log of the appliance app to the collector as well, through a Sink
// that it makes. The function that it returns ends that, and lets out what is still
// queued.
func collect(log *telemetry.Logger, sys config.System, app string, stack *netif.Stack, to **syslog.Sink) (end func()) {
	sink := syslog.New(*sys.Syslog, sys.Hostname, app, time.Now)
	*to = sink
	log.Also(sink, sys.Syslog.Level)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		sink.Run(ctx, stack.DialContext, func(err error) {
			if err != nil {
				log.Warn("the log does not reach its collector", "error", err)
				return
			}
			log.Info("the log reaches its collector again")
		})
	}()
	return func() {
		cancel()
		<-done
	}
}

// count adds what the Sink counts to the plane's metrics; nil: there is none.
func count(p plane.Plane, sink *syslog.Sink) {
	if sink == nil {
		return
	}
	p.Collect(func(w *metrics.Writer) {
		n := sink.Stats()
		w.Family("ampoule_syslog_messages_total", metrics.Counter, "Messages of the log for the collector.")
		w.Value(n.Sent, metrics.Label{Name: "outcome", Value: "sent"})
		w.Value(n.Dropped, metrics.Label{Name: "outcome", Value: "dropped"})
		w.Value(n.Repeated, metrics.Label{Name: "outcome", Value: "repeated"})
	})
}
