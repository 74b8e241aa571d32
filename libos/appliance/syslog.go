package appliance

import (
	"context"
	"time"

	"ampoule/libos/config"
	"ampoule/libos/netif"
	"ampoule/libos/telemetry"
	"ampoule/libos/telemetry/syslog"
)

// collect sends the log of the appliance app to the collector as well. The
// function that it returns ends that, and lets out what is still queued.
func collect(log *telemetry.Logger, sys config.System, app string, stack *netif.Stack) (end func()) {
	sink := syslog.New(*sys.Syslog, sys.Hostname, app, time.Now)
	log.Also(sink, sys.Syslog.Level)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		sink.Run(ctx, stack.DialContext)
		close(done)
	}()
	return func() {
		cancel()
		<-done
	}
}
