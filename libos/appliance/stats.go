package appliance

import (
	"runtime"
	"strconv"
	"strings"
	"time"

	"ampoule/libos/pvboot"
	"ampoule/libos/telemetry"
)

// statsKey on the kernel command line, stats=SECONDS, asks for a line of
// memory figures and calls of the hypervisor in the log every so often. It is a tool for soak tests and
// for the operator who looks for a leak; it changes nothing else.
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

// logStats logs memory figures for ever.
func logStats(log *telemetry.Logger, m *pvboot.Machine, every time.Duration) {
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
		log.Info("memory", about...)
		time.Sleep(every)
	}
}
