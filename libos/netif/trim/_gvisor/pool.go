package sync

import (
	"sync"
	"sync/atomic"
)

// poolSize is how many objects a Pool has at hand.
const poolSize = 16

// Pool is sync.Pool with a short list in front of it. Most of the work of a
// small segment used to be sync.Pool's: it pins the goroutine to its P, of which
// there is one, with each call. The list outlives collections, so it is short;
// what does not fit goes to the sync.Pool.
//
// A goroutine that finds the list in use, because the one that uses it was
// interrupted, does without.
type Pool struct {
	New func() any
	// Max is the most objects in the list; 0 stands for poolSize.
	Max int

	busy atomic.Bool
	n    int
	list [poolSize]any
	rest sync.Pool
}

// Get takes an object, or makes one with New.
func (p *Pool) Get() any {
	if p.busy.CompareAndSwap(false, true) {
		if n := p.n - 1; n >= 0 {
			x := p.list[n]
			p.list[n] = nil
			p.n = n
			p.busy.Store(false)
			return x
		}
		p.busy.Store(false)
	}
	if x := p.rest.Get(); x != nil || p.New == nil {
		return x
	}
	return p.New()
}

// Put gives an object back.
func (p *Pool) Put(x any) {
	if p.busy.CompareAndSwap(false, true) {
		if n := p.n; n < poolSize && (p.Max == 0 || n < p.Max) {
			p.list[n] = x
			p.n = n + 1
			p.busy.Store(false)
			return
		}
		p.busy.Store(false)
	}
	p.rest.Put(x)
}
