package virtionet

import (
	"errors"
	"sync/atomic"
	"testing"

	"ampoule/drivers/virtio/virtiotest"
	"ampoule/libos/device"
)

// TestHostileDoubleFetchUsedEntry changes an entry of the used ring all the
// time while the driver looks at it: what was checked must be what is used.
func TestHostileDoubleFetchUsedEntry(t *testing.T) {
	var whole, refused int
	for range 300 {
		r := setup{pages: 64, queue: 32, conf: Config{RxBuffers: 17, RxLow: 17, TxReserve: 8}}.open(t)
		q := r.peer.RX
		id := r.next()
		copy(q.Buffer(uint16(id)), oneBuffer.Bytes())
		q.PutUsed(0, id, 72)
		q.SetUsed(1)
		var stop atomic.Bool
		started, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			for i := 0; !stop.Load(); i++ {
				if i == 1 {
					close(started)
				}
				q.PutUsed(0, 0xffff0000|id, 0xfffffff0)
				q.PutUsed(0, id, 72)
			}
		}()
		<-started
		var f [4]device.Frame
		n, err := r.dev.Recv(f[:])
		stop.Store(true)
		<-done
		switch {
		case n == 1 && err == nil:
			whole++
			if got := f[0].Buf.Len(); got != 60 {
				t.Fatalf("a frame of %d bytes: the length was not the one checked", got)
			}
			f[0].Buf.Release()
		case n == 0 && errors.Is(err, device.ErrGone):
			refused++
		default:
			t.Fatalf("Recv = %d, %v", n, err)
		}
	}
	t.Logf("%d frames, %d refused", whole, refused)
}

// TestHostileDoubleFetchHeader does the same with num_buffers and the checksum
// fields in the page.
func TestHostileDoubleFetchHeader(t *testing.T) {
	for range 300 {
		r := setup{pages: 64, queue: 32, conf: Config{RxBuffers: 17, RxLow: 17, TxReserve: 8}}.open(t)
		q := r.peer.RX
		good := virtiotest.NetHeader{N: 1, Flags: 1, CsumStart: 34, CsumOffset: 6}
		bad := virtiotest.NetHeader{N: 65535, Flags: 1, CsumStart: 60000, CsumOffset: 60000}
		id := r.next()
		page := q.Buffer(uint16(id))
		good.Store(page)
		q.PutUsed(0, id, 72)
		q.SetUsed(1)
		var stop atomic.Bool
		started, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			for i := 0; !stop.Load(); i++ {
				if i == 1 {
					close(started)
				}
				bad.Store(page)
				good.Store(page)
			}
		}()
		<-started
		var f [4]device.Frame
		n, err := r.dev.Recv(f[:])
		stop.Store(true)
		<-done
		switch {
		case n == 1 && err == nil:
			if m := f[0].Meta; m.CsumStart != 34 || m.CsumOffset != 6 || f[0].Buf.Next() != nil {
				t.Fatalf("metadata %+v was not what was checked", m)
			}
		case n == 0 && (errors.Is(err, device.ErrGone) || errors.Is(err, device.ErrAgain)):
		default:
			t.Fatalf("Recv = %d, %v", n, err)
		}
	}
}
