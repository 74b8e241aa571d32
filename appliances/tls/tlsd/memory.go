package tlsd

import (
	"runtime"
	"runtime/debug"
	"slices"
	"time"
)

// Shares of the memory limit, in percent, above which the terminator has the collector
// see what is in use, and above which it takes no connections and ends stalled ones. The
// rest is for what comes between two looks.
const (
	lookAt = 92
	fullAt = 88
)

// memory guards against connections that together hold more than there is. Each by
// itself is bounded, but the bounds of all of them are more than a small VM has: most
// connections are idle most of the time, and hold next to nothing.
type memory struct {
	limit uint64
	read  func() uint64 // bytes in use, with what was not collected yet
	full  bool
	last  int64 // when the collector was last made to run, by the clock
}

func newMemory() memory {
	return memory{limit: uint64(debug.SetMemoryLimit(-1)), read: inUse}
}

func inUse() uint64 {
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc + s.StackInuse
}

// look finds out whether memory is short. It is called with Terminator.mu held.
func (m *memory) look(now int64) {
	n := m.read()
	if n > m.limit/100*lookAt && (now != m.last || !m.full) {
		m.last = now
		runtime.GC()
		n = m.read()
	}
	m.full = n > m.limit/100*fullAt
}

// every is how many connections are taken between two looks at the memory.
const every = 16

// shed ends connections whose client or backend takes nothing, those that have done so
// for longest first, an eighth of them at a time. It is called with t.mu held.
func (t *Terminator) shed() {
	var stalled []*conn
	for c := range t.conns {
		if c.act.Stalled() > 0 {
			stalled = append(stalled, c)
		}
	}
	if len(stalled) == 0 {
		return
	}
	slices.SortFunc(stalled, func(a, b *conn) int { return int(b.act.Stalled() - a.act.Stalled()) })
	n := len(stalled)/8 + 1
	t.log.Warn("memory is short: ending connections that take nothing", "connections", n, "stalled", len(stalled),
		"after", time.Duration(stalled[0].act.Stalled())*t.tick)
	for _, c := range stalled[:n] {
		c.abort()
	}
	t.stats.Shed.Add(int64(n))
}
