package devicetest

import (
	"errors"

	"ampoule/libos/device"
)

// dead checks that no method works, or blocks.
func (t *netTest) dead(held []device.Frame) {
	t.Helper()
	var f [2]device.Frame
	for range 2 {
		if n, err := t.Dev.Recv(f[:]); n != 0 || !errors.Is(err, device.ErrGone) {
			t.Errorf("Recv = %d, %v", n, err)
		}
		if n, err := t.Dev.Send(held); n != 0 || !errors.Is(err, device.ErrGone) {
			t.Errorf("Send = %d, %v", n, err)
		}
		if _, err := t.Dev.Alloc(); !errors.Is(err, device.ErrGone) {
			t.Errorf("Alloc: %v", err)
		}
	}
	// What Send refused is still the caller's.
	for _, h := range held {
		h.Buf.Release()
	}
}

func (t *netTest) gone() {
	t.deliver(t.frame(1, 60), device.Meta{})
	held := []device.Frame{t.recv()}
	t.Peer.Break()
	var f [2]device.Frame
	if n, err := t.Dev.Recv(f[:]); n != 0 || !errors.Is(err, device.ErrGone) {
		t.Fatalf("Recv after a breach of the protocol = %d, %v", n, err)
	}
	t.dead(held)
	if err := t.Dev.Close(); err != nil {
		t.Errorf("Close of a device that is gone: %v", err)
	}
}

// goneWakes: whoever waits to receive learns that the device is gone.
func (t *netTest) goneWakes() {
	t.waits(t.Dev.Ready(), t.Peer.Break)
	var f [1]device.Frame
	if n, err := t.Dev.Recv(f[:]); n != 0 || !errors.Is(err, device.ErrGone) {
		t.Fatalf("Recv after a breach of the protocol = %d, %v", n, err)
	}
}

func (t *netTest) close() {
	t.deliver(t.frame(1, 60), device.Meta{})
	held := []device.Frame{t.recv(), {Buf: t.buf(t.frame(2, 60))}}
	t.waits(t.Dev.Ready(), func() {
		if err := t.Dev.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	t.dead(held)
	if err := t.Dev.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}
