package appliance

import (
	"context"
	"io"
	"runtime"
	"time"

	"ampoule/libos/config"
	"ampoule/libos/config/feature"
	"ampoule/libos/device"
	"ampoule/libos/mgmt/plane"
	"ampoule/libos/netif"
	"ampoule/libos/pvboot"
	"ampoule/libos/telemetry/metrics"
	"ampoule/libos/telemetry/recent"
)

// recentSize is how many bytes of the log are kept for management clients.
const recentSize = 32 << 10

// remember keeps the last lines of what goes to w.
func remember(w io.Writer) io.Writer { return recent.New(w, recentSize) }

// manage brings up the management plane of the appliance app and gives it to env.
// The function that it returns ends it. The plane serves beside the appliance: when
// it fails while running, the appliance goes on.
func manage(env *Env, m *pvboot.Machine, sys *config.System, app string, stack *netif.Stack, log io.Writer, start time.Time) (end func(), err error) {
	h := &plane.Host{
		Appliance: app, Hostname: sys.Hostname, Platform: m.Name, Build: build, Configuration: configuration,
		Listen: stack.Listen, Log: env.Log, Rand: m.Entropy, Now: time.Now,
		Up: func() time.Duration { return sinceBoot(m, start) }, Memory: m.Memory,
	}
	if sys.Disk != nil {
		h.Command, h.Disk = m.Command, func(ctx context.Context) (device.Block, error) { return sys.Disk(ctx, m) }
	}
	h.Recent, _ = log.(*recent.Lines)
	if feature.Capture {
		h.Frames = stack
	}
	p, err := sys.Management.Open(h)
	if err != nil {
		return nil, err
	}
	env.Management = p
	lag := &lag{}
	p.Collect(func(w *metrics.Writer) {
		collectRuntime(w)
		collectNetwork(w, stack.Stats())
		collectMachine(w, m, lag)
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go lag.watch(ctx)
	go func() {
		defer close(done)
		if err := p.Serve(ctx); err != nil {
			env.Log.Error("the management plane has ended", "error", err)
		}
	}()
	return func() {
		cancel()
		<-done
	}, nil
}

// collectRuntime writes what Go's runtime counts, with the names that Prometheus'
// library for Go has for it.
func collectRuntime(w *metrics.Writer) {
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	for _, g := range []struct {
		name, help string
		n          uint64
	}{
		{"go_goroutines", "Number of goroutines.", uint64(runtime.NumGoroutine())},
		{"go_memstats_heap_alloc_bytes", "Bytes of the heap in use.", s.HeapAlloc},
		{"go_memstats_heap_objects", "Objects of the heap.", s.HeapObjects},
		{"go_memstats_stack_inuse_bytes", "Bytes of goroutines' stacks.", s.StackInuse},
		{"go_memstats_sys_bytes", "Bytes taken from the machine.", s.Sys},
		{"go_memstats_next_gc_bytes", "Size of the heap at which the next collection begins.", s.NextGC},
	} {
		w.One(g.name, metrics.Gauge, g.help, g.n)
	}
	w.One("go_memstats_alloc_bytes_total", metrics.Counter, "Bytes ever allocated.", s.TotalAlloc)
	w.One("go_memstats_mallocs_total", metrics.Counter, "Objects ever allocated.", s.Mallocs)
	w.One("ampoule_gc_cycles_total", metrics.Counter, "Collections.", uint64(s.NumGC))
	w.Family("ampoule_gc_pause_seconds_total", metrics.Counter, "Time for which collections stopped everything.")
	w.Seconds(int64(s.PauseTotalNs))
	w.Family("ampoule_gc_pause_last_seconds", metrics.Gauge, "The pauses of the last collection.")
	w.Seconds(int64(s.PauseNs[(s.NumGC+255)%256]))
}

// collectNetwork writes the network's counters.
func collectNetwork(w *metrics.Writer, s netif.Stats) {
	w.Family("ampoule_net_frames_total", metrics.Counter, "Frames by direction and fate.")
	for _, f := range []struct {
		way, fate string
		n         uint64
	}{
		{"rx", "received", s.RxFrames}, {"rx", "invalid", s.RxInvalid}, {"rx", "fragment", s.RxFragments},
		{"rx", "foreign", s.RxForeign}, {"rx", "unresolved", s.RxUnresolved}, {"rx", "no_memory", s.RxNoMemory},
		{"rx", "answered", s.FastReplied}, {"rx", "ignored", s.FastDropped},
		{"tx", "sent", s.TxFrames}, {"tx", "dropped", s.TxDropped}, {"tx", "invalid", s.TxInvalid},
	} {
		w.Value(f.n, metrics.Label{Name: "direction", Value: f.way}, metrics.Label{Name: "fate", Value: f.fate})
	}
	w.One("ampoule_net_panics_total", metrics.Counter, "Frames that made the network panic.", s.Panics)
	w.One("ampoule_net_datagrams_dropped_total", metrics.Counter, "Datagrams for which a socket had no room.", s.UDPDropped)
	w.One("ampoule_tcp_connections", metrics.Gauge, "TCP connections.", uint64(max(s.Conns, 0)))
	w.One("ampoule_tcp_refused_total", metrics.Counter, "TCP connections beyond the limit.", s.Refused)
}

// collectMachine writes what the machine counts.
func collectMachine(w *metrics.Writer, m *pvboot.Machine, l *lag) {
	w.One("ampoule_memory_bytes", metrics.Gauge, "RAM of the machine.", m.Memory)
	if m.Pool != nil {
		free, low := m.Pool.Free()
		w.One("ampoule_io_pages_free", metrics.Gauge, "Pages for packets that are free.", uint64(free))
		w.One("ampoule_io_pages_free_lowest", metrics.Gauge, "Pages for packets that were free at least.", uint64(low))
	}
	if m.Calls != nil {
		c := m.Calls()
		w.Family("ampoule_hypervisor_calls_total", metrics.Counter, "Exits to the hypervisor that the program asked for.")
		w.Value(c.Sleeps, metrics.Label{Name: "call", Value: "sleep"})
		w.Value(c.Notifies, metrics.Label{Name: "call", Value: "notify"})
	}
	last, most := l.read()
	w.Family("ampoule_event_loop_lag_seconds", metrics.Gauge, "How late a timer of one second was, last.")
	w.Seconds(last)
	w.Family("ampoule_event_loop_lag_most_seconds", metrics.Gauge, "How late it was at most since this was last asked for.")
	w.Seconds(most)
}
