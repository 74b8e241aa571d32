package appliance

import (
	"runtime"
	"strconv"
	"strings"
	"time"

	"ampoule/libos/netif"
	"ampoule/libos/pvboot"
	"ampoule/libos/telemetry"
)

// statsKey on the kernel command line, stats=SECONDS, asks for a line of
// memory figures, calls of the hypervisor and frames in the log every so often.
// It is a tool for soak tests and for the operator who looks for a leak or a
// loss; it changes nothing else.
const statsKey = "stats="

// statsInterval reads the interval from a kernel command line; 0 means none.
func statsInterval(command string) time.Duration {
	for _, word := range strings.Fields(command) {
		if v, ok := strings.CutPrefix(word, statsKey); ok {
			if n, err := strconv.ParseUint(v, 10, 16); err == nil {
				return time.Duration(n) * time.Second
			}
		}
	}
	return 0
}

// logStats logs memory figures for ever, and what became of all frames since the
// start: rx were received, of which fast were answered by the fast path and shed
// were dropped by it, tx were sent by the stack, lost are those that could not be
// sent.
func logStats(log *telemetry.Logger, m *pvboot.Machine, stack *netif.Stack, every time.Duration) {
	for {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		free, low := m.Pool.Free()
		about := []any{"heap", s.HeapAlloc, "sys", s.Sys, "pages_free", free, "pages_low", low,
			"goroutines", runtime.NumGoroutine(), "gc", s.NumGC}
		if m.Calls != nil {
			c := m.Calls()
			about = append(about, "sleeps", c.Sleeps, "notifies", c.Notifies)
		}
		n := stack.Stats()
		log.Info("memory", append(about, "rx", n.RxFrames, "fast", n.FastReplied, "shed", n.FastDropped,
			"tx", n.TxFrames, "lost", n.TxDropped)...)
		time.Sleep(every)
	}
}
