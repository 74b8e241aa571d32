//go:build ampoule

package platform

import (
	"sync/atomic"

	"ampoule/libos/pvboot"
)

// clock is the runtime's own.
type clock struct{}

func (clock) Monotonic() int64 { return nanotime() }

func (clock) Wall() (int64, int32) {
	sec, ns, _ := now()
	return sec, ns
}

// calls counts what is asked of the hypervisor.
type calls struct{ notifies atomic.Uint64 }

func (c *calls) read() pvboot.Calls {
	_, _, sleeps := ampStats()
	return pvboot.Calls{Sleeps: sleeps, Notifies: c.notifies.Load()}
}

// entropy is the generator that boot seeded; see libos/rt/_runtime/amp_rand.go.
type entropy struct{}

func (entropy) Read(p []byte) (int, error) {
	getrandom(p)
	return len(p), nil
}
