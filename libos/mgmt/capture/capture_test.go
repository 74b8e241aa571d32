package capture

import (
	"testing"
	"testing/synctest"
	"time"

	"ampoule/libos/mgmt/plane"
)

// frames is a network whose tap can be looked at.
type frames struct{ tap func([]byte, int, bool) }

func (f *frames) SetTap(tap func([]byte, int, bool)) { f.tap = tap }

// TestTimer: a capture ends in its time, and not in that of the one before, whose
// timer may have fired just when it was replaced.
func TestTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &frames{}
		c := &capture{host: &plane.Host{Frames: f, Now: time.Now, Port: 9443}}
		c.begin(4096, 64, 0, time.Second)
		late := c.runs
		c.begin(4096, 64, 0, time.Minute)
		c.done(late) // what the first one's timer does
		if f.tap == nil {
			t.Fatal("the timer of one capture ended the next")
		}
		time.Sleep(59 * time.Second)
		synctest.Wait()
		if f.tap == nil {
			t.Fatal("it has ended early")
		}
		f.tap(make([]byte, 60), 60, false)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if f.tap != nil {
			t.Error("it does not end")
		}
		if n := len(c.buf); n != 24+16+60 {
			t.Errorf("%d bytes kept", n)
		}
	})
}
