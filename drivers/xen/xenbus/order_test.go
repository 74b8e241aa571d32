package xenbus

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"ampoule/drivers/xen/abi"
)

// TestAnyOrder lets toolstack, backend and VM do anything in any order: the
// driver is called in an order that makes sense, and in the end the device works.
func TestAnyOrder(t *testing.T) {
	for seed := range uint64(6) {
		r := prepare(t)
		rnd := rand.New(rand.NewPCG(seed, 1))
		r.toolstack(abi.StateInitWait)
		r.start()
		for range 150 {
			switch rnd.IntN(12) {
			case 0:
				r.s.Remove(front)
				r.s.Remove(back)
			case 1:
				r.toolstack(abi.State(rnd.IntN(9)))
			case 2:
				r.s.Set(front+"/backend", back+strings.Repeat("x", rnd.IntN(2)))
			case 3:
				r.s.Set(back+"/online", fmt.Sprint(rnd.IntN(3)))
			case 4:
				r.s.Set(front+"/state", fmt.Sprint(rnd.IntN(9)))
			case 5:
				r.s.Conflict(rnd.IntN(20))
			case 6:
				r.dev.Broken(errors.New("breach"))
			case 7:
				restored := rnd.IntN(2) == 0
				if err := errors.Join(r.dev.Suspend(r.ctx), r.c.Suspend(r.ctx)); err != nil {
					t.Fatal(err)
				}
				if restored {
					r.d.Restore()
				}
				if err := errors.Join(r.c.Resume(r.ctx, restored), r.dev.Resume(r.ctx, restored)); err != nil {
					t.Fatal(err)
				}
			default:
				r.state(abi.State(rnd.IntN(9)))
			}
			if rnd.IntN(3) == 0 {
				time.Sleep(time.Duration(rnd.IntN(3)) * time.Millisecond)
			}
		}
		r.s.Conflict(0)
		r.s.Remove(front)
		r.s.Remove(back)
		r.until("free", func() bool { r.drv.mu.Lock(); defer r.drv.mu.Unlock(); return r.drv.state == "" })
		r.toolstack(abi.StateInitWait)
		r.until("linking", r.is(front+"/state", "4"))
		r.state(abi.StateConnected)
		if err := r.dev.Wait(r.ctx); err != nil {
			t.Fatal(err)
		}
	}
}
