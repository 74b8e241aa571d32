package appliance

import (
	"context"
	"errors"
	"testing"
)

func TestLoops(t *testing.T) {
	broken := errors.New("broken")
	quit := make(chan struct{})
	stops := 0
	stop := func() {
		if stops++; stops == 1 {
			close(quit)
		}
	}
	other := false
	err := Loops(context.Background(), stop, func() error { return broken }, func() error {
		<-quit
		other = true
		return errors.New("closed")
	})
	if err != broken || !other || stops != 1 {
		t.Errorf("error %v, other loop ended %v, %d stops", err, other, stops)
	}
	ctx, cancel := context.WithCancel(context.Background())
	quit, stops = make(chan struct{}), 0
	cancel()
	if err := Loops(ctx, stop, func() error { <-quit; return broken }); err != nil {
		t.Errorf("asked to end: error %v", err)
	}
}
