package tlsd

import (
	"cmp"
	"slices"

	"ampoule/libos/appliance"
	"ampoule/libos/memory"
)

// collectAt is how much garbage there may be beside what is in use, in percent of that,
// before the collector runs. The memory limit is what bounds it: the VM's memory serves
// nobody else.
const collectAt = 400

// guard has the memory of m guarded: connections that together hold more than there is
// are ended.
func (t *Terminator) guard(m memory.Machine, net appliance.Network) {
	t.memory = memory.New(m, t, t.log)
	if n, ok := net.(appliance.Gated); ok {
		n.SetGate(t.memory.Gate)
	}
}

// Shed implements memory.Shedder. Who takes nothing is a client or backend amid a write;
// those who are missed least are those in their handshake, the oldest first, and then
// those that have been idle for longest.
func (t *Terminator) Shed(n int, any bool) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []burden
	for c := range t.conns {
		stuck := c.stuck()
		if !c.over.Load() && (any || stuck) {
			all = append(all, burden{c, c.burden(stuck)})
		}
	}
	slices.SortFunc(all, func(a, b burden) int { return cmp.Compare(b.n, a.n) })
	all = all[:min(n, len(all))]
	for _, b := range all {
		b.c.abort()
	}
	t.stats.Shed.Add(int64(len(all)))
	return len(all)
}

// burden is a connection, and a number that is the higher the sooner it is to be ended.
type burden struct {
	c *conn
	n int64
}

// stuck says whether the client or the backend takes nothing.
func (c *conn) stuck() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.front.Stuck() || c.back != nil && c.back.Stuck()
}

func (c *conn) burden(stuck bool) int64 {
	const kind = 1 << 40 // ticks
	switch {
	case stuck:
		return 2*kind + c.act.Stalled()
	case c.phase.Load() == shaking:
		return kind + c.t.clock.Load() - c.born
	}
	return c.act.Idle()
}
