package iopage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"sync"
	"testing"
)

func newPool(pages int) *Pool { return NewPool(make([]byte, pages*Size+17)) }

func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s: no panic", what)
		}
	}()
	f()
}

func TestPoolHandsOutEachPageOnce(t *testing.T) {
	p := newPool(5)
	if p.Len() != 5 {
		t.Fatalf("Len() = %d for five and a bit pages", p.Len())
	}
	seen := map[uint32]bool{}
	for range 5 {
		b, err := p.Get()
		if err != nil {
			t.Fatal(err)
		}
		if seen[b.Index()] {
			t.Fatalf("page %d handed out twice", b.Index())
		}
		seen[b.Index()] = true
	}
	if _, err := p.Get(); !errors.Is(err, ErrExhausted) {
		t.Fatalf("Get() on an empty pool: %v", err)
	}
	if now, low := p.Free(); now != 0 || low != 0 {
		t.Fatalf("Free() = %d, %d", now, low)
	}
}

func TestGetBatch(t *testing.T) {
	for _, c := range []struct{ pages, want, keep, got int }{
		{8, 3, 0, 3},
		{8, 8, 0, 8},
		{8, 9, 0, 8},
		{8, 8, 3, 5},
		{8, 2, 6, 2},
		{8, 3, 8, 0},
		{8, 3, 99, 0},
		{8, 3, -1, 3},
		{0, 1, 0, 0},
		{8, 0, 0, 0},
	} {
		p := newPool(c.pages)
		dst := make([]*Buf, c.want)
		if got := p.GetBatch(dst, c.keep); got != c.got {
			t.Errorf("GetBatch(%d pages, keep %d) of %d = %d, want %d", c.want, c.keep, c.pages, got, c.got)
		}
		for i, b := range dst {
			if (b != nil) != (i < c.got) {
				t.Errorf("%+v: dst[%d] = %v", c, i, b)
			}
			if b != nil {
				if b.Next() != nil || b.Len() != 0 || b.HeadRoom() != 0 {
					t.Errorf("%+v: dst[%d] is not fresh: %+v", c, i, b)
				}
				b.Release()
			}
		}
		if now, low := p.Free(); now != c.pages || low != c.pages-c.got {
			t.Errorf("%+v: Free() = %d, %d", c, now, low)
		}
	}
}

func TestGetChain(t *testing.T) {
	for _, c := range []struct{ pages, head, n, want int }{
		{4, 0, 0, 1},
		{4, 12, 0, 1},
		{4, 12, 1, 1},
		{4, 12, Size - 12, 1},
		{4, 12, Size - 11, 2},
		{4, 0, 4 * Size, 4},
		{4, 1, 4 * Size, 0},
		{0, 0, 1, 0},
	} {
		p := newPool(c.pages)
		b, err := p.GetChain(c.head, c.n)
		if now, _ := p.Free(); now != c.pages-c.want {
			t.Errorf("%+v: %d free", c, now)
		}
		if c.want == 0 {
			if !errors.Is(err, ErrExhausted) {
				t.Errorf("%+v: %v", c, err)
			}
			continue
		}
		total, pages, head := 0, 0, c.head
		for q := b; q != nil; q = q.Next() {
			if q.HeadRoom() != head || q.Next() != nil && head+q.Len() != Size {
				t.Errorf("%+v: page %d has %d at %d", c, pages, q.Len(), q.HeadRoom())
			}
			total, pages, head = total+q.Len(), pages+1, 0
		}
		if total != c.n || pages != c.want {
			t.Errorf("%+v: %d bytes on %d pages", c, total, pages)
		}
		b.Release()
		if now, low := p.Free(); now != c.pages || low != c.pages-c.want {
			t.Errorf("%+v: Free() = %d, %d", c, now, low)
		}
	}
	p := newPool(2)
	mustPanic(t, "head as large as a page", func() { p.GetChain(Size, 1) })
	mustPanic(t, "head before the page", func() { p.GetChain(-1, 1) })
	mustPanic(t, "fewer than no bytes", func() { p.GetChain(0, -1) })
}

func TestReleaseGivesBackTheWholeChain(t *testing.T) {
	p := newPool(4)
	bufs := make([]*Buf, 4)
	p.GetBatch(bufs, 0)
	bufs[0].SetNext(bufs[1])
	bufs[1].SetNext(bufs[2])
	bufs[0].Release()
	if now, _ := p.Free(); now != 3 {
		t.Fatalf("%d pages free after releasing a chain of three", now)
	}
	mustPanic(t, "second release", bufs[1].Release)
	if now, _ := p.Free(); now != 3 {
		t.Fatalf("%d pages free after a refused release", now)
	}
	bufs[3].Release()
}

func TestWindow(t *testing.T) {
	p := newPool(2)
	b, _ := p.Get()
	other, _ := p.Get()
	b.SetWindow(12, 60)
	if b.Len() != 60 || b.HeadRoom() != 12 || len(b.Bytes()) != 60 {
		t.Fatalf("window %d+%d, %d bytes", b.HeadRoom(), b.Len(), len(b.Bytes()))
	}
	if want := b.Index()*Size + 12; b.Offset() != want {
		t.Fatalf("Offset() = %d, want %d", b.Offset(), want)
	}
	if c := cap(b.Bytes()); c != Size-12 {
		t.Fatalf("the window's capacity is %d: an append could reach the next page", c)
	}
	for i := range b.Page() {
		b.Page()[i] = 0xee
	}
	if bytes.Contains(other.Page(), []byte{0xee}) {
		t.Fatal("writing one page changed another")
	}
	for _, w := range [][2]int{{-1, 1}, {0, -1}, {0, Size + 1}, {Size + 1, 0}, {Size, 1}, {1, Size}} {
		mustPanic(t, "SetWindow", func() { b.SetWindow(w[0], w[1]) })
	}
	b.SetWindow(Size, 0)
	b.SetWindow(0, Size)
}

func TestPoolFromManyGoroutines(t *testing.T) {
	p := newPool(16)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			var dst [3]*Buf
			for range 500 {
				n := p.GetBatch(dst[:], 0)
				for _, b := range dst[:n] {
					b.SetWindow(0, 1)
					b.Bytes()[0] = byte(g)
				}
				for _, b := range dst[:n] {
					if b.Bytes()[0] != byte(g) {
						t.Errorf("page %d has two owners", b.Index())
					}
					b.Release()
				}
			}
		})
	}
	wg.Wait()
	if now, _ := p.Free(); now != 16 {
		t.Fatalf("%d of 16 pages came back", now)
	}
}

type udp [8]byte

func (h *udp) DstPort() uint16 { return binary.BigEndian.Uint16(h[2:]) }

func TestTypedAccessInPlace(t *testing.T) {
	p := newPool(1)
	b, _ := p.Get()
	b.SetWindow(12, 42)
	copy(b.Bytes()[34:], []byte{0, 7, 0, 53})
	if got := (*udp)(b.Bytes()[34:42]).DstPort(); got != 53 {
		t.Fatalf("DstPort() = %d", got)
	}
	mustPanic(t, "structure beyond the window", func() { _ = (*udp)(b.Bytes()[36:]) })
}

func TestNothingAllocates(t *testing.T) {
	p := newPool(8)
	dst := make([]*Buf, 4)
	if n := testing.AllocsPerRun(100, func() {
		p.GetBatch(dst, 0)
		for _, b := range dst {
			b.Release()
		}
		b, _ := p.Get()
		b.Release()
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkGetRelease(b *testing.B) {
	p := newPool(64)
	b.ReportAllocs()
	for b.Loop() {
		buf, _ := p.Get()
		buf.Release()
	}
}

// TestTail: a tail is the chain's until its pages are released, whichever way they are
// taken again.
func TestTail(t *testing.T) {
	p := NewPool(make([]byte, 2*Size))
	fresh := func(how string, b *Buf) {
		t.Helper()
		if off, n := b.Tail(); n != 0 || b.Tailed() {
			t.Errorf("%s: a page with a tail of %d bytes at %d", how, n, off)
		}
		b.SetTail(77, 65535)
		if off, n := b.Tail(); off != 77 || n != 65535 || !b.Tailed() {
			t.Errorf("%s: a tail of %d bytes at %d", how, n, off)
		}
	}
	for range 2 {
		b, _ := p.Get()
		fresh("Get", b)
		b.Release()
		var batch [2]*Buf
		p.GetBatch(batch[:], 0)
		for _, b := range batch {
			fresh("GetBatch", b)
			b.Release()
		}
		b, _ = p.GetChain(100, Size)
		fresh("GetChain", b)
		fresh("GetChain, second", b.Next())
		b.Release()
	}
	b, _ := p.Get()
	for _, n := range []int{-1, 65536} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a tail of %d bytes is taken", n)
				}
			}()
			b.SetTail(0, n)
		}()
	}
}
