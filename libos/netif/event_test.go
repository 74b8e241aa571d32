package netif

import (
	"bytes"
	"io"
	"testing"
	"time"
)

// TestWatch: a write that does not fit goes on when there is room, a peer's bytes and
// its end are told, and nothing is told after that without a reason.
func TestWatch(t *testing.T) {
	a, b := connected(t)
	told := make(chan struct{}, 100)
	b.Watch(func() {
		select {
		case told <- struct{}{}:
		default:
		}
	})
	await := func() {
		t.Helper()
		select {
		case <-told:
		case <-time.After(20 * time.Second):
			t.Fatal("nothing is told")
		}
	}
	want := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	got := make(chan []byte)
	go func() {
		time.Sleep(100 * time.Millisecond)
		all := make([]byte, len(want))
		n, _ := io.ReadFull(a, all)
		got <- all[:n]
	}()
	rest, short := [][]byte{want[:3], want[3:70000], nil, want[70000:]}, 0
	for len(rest) > 0 {
		n, err := b.TryWrite(rest)
		if err != nil {
			t.Fatal(err)
		}
		for len(rest) > 0 && n >= len(rest[0]) {
			n, rest = n-len(rest[0]), rest[1:]
		}
		if len(rest) > 0 {
			rest[0] = rest[0][n:]
			short++
			await()
		}
	}
	if !bytes.Equal(<-got, want) || short == 0 {
		t.Errorf("other bytes came, or all fitted (%d waits)", short)
	}
	for len(told) > 0 {
		<-told
	}
	if _, err := a.Write([]byte("abc")); err != nil {
		t.Fatal(err)
	}
	await()
	if n, err := b.TryRead(make([]byte, 10)); n != 3 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if err := a.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	await()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if n, err := b.TryRead(make([]byte, 10)); err == io.EOF {
			break
		} else if n > 0 || err != nil || time.Now().After(end) {
			t.Fatalf("%d, %v", n, err)
		}
	}
}

// TestTryWriteBroken: a reset is an error.
func TestTryWriteBroken(t *testing.T) {
	a, b := connected(t)
	a.Abort()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := b.TryWrite([][]byte{{1}}); err != nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal("no error after a reset")
		}
	}
}
