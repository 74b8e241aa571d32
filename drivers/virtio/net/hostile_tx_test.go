package virtionet

import (
	"bytes"
	"errors"
	"testing"

	"ampoule/drivers/virtio/virtiotest"
	"ampoule/libos/device"
)

// The transmit side takes at most one ring of completions per Send too.
func TestHostileTransmitStorm(t *testing.T) {
	r := setup{}.open(t)
	r.peer.TX.Kick = func() {
		for {
			if _, _, ok := r.peer.Take(nil); !ok {
				return
			}
		}
	}
	r.peer.TX.Rearm()
	for range 3000 {
		b, err := r.dev.Alloc()
		if err != nil {
			t.Fatal(err)
		}
		b.SetWindow(HeadRoom, 60)
		if n, err := r.dev.Send([]device.Frame{{Buf: b}}); n != 1 || err != nil {
			t.Fatalf("Send = %d, %v", n, err)
		}
	}
}

func TestHostileTransmitCompletions(t *testing.T) {
	for name, attack := range map[string]func(q *virtiotest.Queue, head uint16){
		"bad id":        func(q *virtiotest.Queue, _ uint16) { q.PutUsed(0, 999, 0); q.SetUsed(1) },
		"not in flight": func(q *virtiotest.Queue, h uint16) { q.PutUsed(0, uint32(h)+1, 0); q.SetUsed(1) },
		"replayed": func(q *virtiotest.Queue, h uint16) {
			q.PutUsed(0, uint32(h), 0)
			q.PutUsed(1, uint32(h), 0)
			q.SetUsed(2)
		},
		"middle of a chain": func(q *virtiotest.Queue, h uint16) { q.PutUsed(0, uint32(h)+1, 0); q.SetUsed(1) },
		"jumped":            func(q *virtiotest.Queue, _ uint16) { q.SetUsed(3) },
	} {
		t.Run(name, func(t *testing.T) {
			r := setup{}.open(t)
			for i := range 2 {
				head, _ := r.dev.Alloc()
				next, _ := r.dev.Alloc()
				head.SetWindow(HeadRoom, 60)
				next.SetWindow(0, 60)
				head.SetNext(next)
				if n, err := r.dev.Send([]device.Frame{{Buf: head}}); n != 1 || err != nil {
					t.Fatalf("Send %d = %d, %v", i, n, err)
				}
			}
			head, _ := r.peer.TX.Next()
			attack(r.peer.TX, head)
			// The next look at the ring is when pages run out.
			for {
				b, err := r.dev.Alloc()
				if err != nil {
					if !errors.Is(err, device.ErrGone) {
						t.Fatalf("Alloc: %v, want ErrGone", err)
					}
					break
				}
				_ = b
			}
			r.gone("virtio: queue")
		})
	}
}

// A transmit completion may state any length: nothing uses it.
func TestHostileTransmitLength(t *testing.T) {
	r := setup{}.open(t)
	for range 1000 {
		b, err := r.dev.Alloc()
		if err != nil {
			t.Fatal(err)
		}
		b.SetWindow(HeadRoom, 60)
		if n, err := r.dev.Send([]device.Frame{{Buf: b}}); n != 1 || err != nil {
			t.Fatalf("Send = %d, %v", n, err)
		}
		head, _ := r.peer.TX.Next()
		r.peer.TX.Complete(head, -1)
	}
}

// TestTransmitShowsOnlyWhatWasWritten fills all pages with a pattern as old
// content: no byte of it may be within a transmit descriptor.
func TestTransmitShowsOnlyWhatWasWritten(t *testing.T) {
	r := setup{}.open(t)
	for i := range r.m.IO {
		r.m.IO[i] = 0xdd
	}
	for size := 14; size < 1514; size += 7 {
		head, err := r.dev.Alloc()
		if err != nil {
			t.Fatal(err)
		}
		head.SetWindow(HeadRoom+size%5, size)
		for i := range head.Bytes() {
			head.Bytes()[i] = 1
		}
		next, _ := r.dev.Alloc()
		next.SetWindow(size, 9)
		copy(next.Bytes(), "\x01\x01\x01\x01\x01\x01\x01\x01\x01")
		if size%2 == 0 && size+9 <= 1514 {
			head.SetNext(next)
		} else {
			next.Release()
		}
		f := device.Frame{Buf: head}
		if size >= 60 && size%3 == 0 {
			f.Meta = device.Meta{State: device.ChecksumPartial, CsumStart: 34, CsumOffset: 6}
		}
		if n, err := r.dev.Send([]device.Frame{f}); n != 1 || err != nil {
			t.Fatalf("Send = %d, %v", n, err)
		}
		at, ok := r.peer.TX.Next()
		if !ok {
			t.Fatal("nothing sent")
		}
		r.peer.TX.Buffers(at, func(p []byte, _ bool) bool {
			if bytes.IndexByte(p, 0xdd) >= 0 {
				t.Fatalf("size %d: old content of a page goes out", size)
			}
			return true
		})
		r.peer.TX.Complete(at, 0)
	}
}
