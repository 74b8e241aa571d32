package httpd

import (
	"runtime"
	"runtime/debug"
	"slices"
)

const (
	// fullAt is the share of the memory limit, in percent, above which no connections
	// are taken and stalled ones are ended. The rest is for what comes between two looks.
	fullAt = 88
	// every is how many connections come between two looks, and few how many need none.
	every, few = 16, 64
)

// memory guards against connections that together hold more than there is. Each by
// itself is bounded, but a crowd that takes no responses fills its buffers.
type memory struct {
	limit uint64
	read  func() uint64 // bytes in use, with what was not collected yet
	full  bool
	last  int64 // the tick in which the collector ran last
	since int   // connections since the last look
}

func newMemory() memory { return memory{limit: uint64(debug.SetMemoryLimit(-1)), read: inUse} }

func inUse() uint64 {
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc + s.StackInuse
}

// look finds out whether memory is short. Much of what seems to be in use may be
// garbage, so the collector runs before it is believed; while it is, once in a tick.
func (m *memory) look(now int64) {
	m.since = 0
	n := m.read()
	if n > m.limit/100*fullAt && (now != m.last || !m.full) {
		m.last = now
		runtime.GC()
		n = m.read()
	}
	m.full = n > m.limit/100*fullAt
}

// room says whether there is memory for one more connection. It is called with s.mu
// held.
func (s *server) room() bool {
	m := &s.memory
	if m.since++; len(s.conns) >= few && m.since >= every {
		m.look(s.clock.ticks.Load())
	}
	return !m.full
}

// relieve looks at the memory once in a tick, and when it is short ends some of the
// connections that have not taken a response, or sent a whole request, for longest. It is called with s.mu held.
func (s *server) relieve(now int64) {
	if len(s.conns) < few {
		s.memory.full = false
		return
	}
	s.memory.look(now)
	if !s.memory.full {
		return
	}
	var stalled []*conn
	for _, c := range s.conns {
		if c != nil && c.stalled.Load() > 0 {
			stalled = append(stalled, c)
		}
	}
	slices.SortFunc(stalled, func(a, b *conn) int { return int(a.stalled.Load() - b.stalled.Load()) })
	if len(stalled) == 0 {
		return // connections with a goroutine end by their time-outs
	}
	stalled = stalled[:(len(stalled)+7)/8]
	for _, c := range stalled {
		c.Abort()
	}
	s.log.Warn("memory is short", "connections", len(s.conns), "ended", len(stalled))
	if s.counts != nil {
		s.counts.shed.Add(uint64(len(stalled)))
	}
}
