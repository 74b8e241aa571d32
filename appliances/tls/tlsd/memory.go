package tlsd

import (
	"runtime"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"
)

// fullAt is the share of the memory limit, in percent, that may be in use for good. Above
// it the terminator takes no connections and ends stalled ones. The rest is what the
// collector has to run ahead of: with less, it would run all the time.
const fullAt = 93

// collectAt is how much garbage there may be beside what is in use, in percent of that,
// before the collector runs. The memory limit is what bounds it: the VM's memory serves
// nobody else.
const collectAt = 400

// memory guards against connections that together hold more than there is. Each by
// itself is bounded, but the bounds of all of them are more than a small VM has: most
// connections are idle most of the time, and hold next to nothing.
type memory struct {
	limit   uint64
	read    func() uint64 // bytes in use, with what was not collected yet
	collect func()
	used    uint64 // when look was last called
	full    atomic.Bool
	next    time.Time // before which look does not collect
}

func newMemory() *memory {
	return &memory{limit: uint64(debug.SetMemoryLimit(-1)), read: inUse, collect: runtime.GC}
}

// inUse is what counts against the limit, less what the heap has free, be it between
// objects: the next connections have objects of the same sizes.
func inUse() uint64 {
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.Sys - s.HeapSys + s.HeapAlloc
}

// look finds out whether memory is short. What is in use above fullAt may be garbage,
// which a collection tells; as that takes long, what one told stands for four times as
// long. One goroutine looks, and holds no lock: connections can end meanwhile.
func (m *memory) look() {
	most := m.limit / 100 * fullAt
	if m.used = m.read(); m.used <= most {
		m.full.Store(false)
		return
	}
	begin := time.Now()
	if begin.Before(m.next) {
		return
	}
	m.collect()
	end := time.Now()
	m.next = end.Add(4 * end.Sub(begin))
	m.used = m.read()
	m.full.Store(m.used > most)
}

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
