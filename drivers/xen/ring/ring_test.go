package ring

import (
	"testing"

	"ampoule/drivers/xen"
	"ampoule/drivers/xen/abi"
)

// page gives a page on a page boundary; the slice keeps it alive.
func page(tb testing.TB) xen.Page {
	tb.Helper()
	p, err := xen.NewPages(alignedPage(), 8, 100, 0)
	if err != nil {
		tb.Fatal(err)
	}
	pg, _, err := p.Take()
	if err != nil {
		tb.Fatal(err)
	}
	return pg
}

func TestStart(t *testing.T) {
	p := page(t)
	for i := range p.Bytes() {
		p.Bytes()[i] = 0xee
	}
	var tx Tx
	var rx Rx
	tx.Start(p)
	if tx.Size() != 256 || tx.Room() != 256 || tx.InFlight() != 0 {
		t.Errorf("transmit ring of %d slots, room for %d", tx.Size(), tx.Room())
	}
	for i, b := range p.Bytes() {
		want := byte(0)
		if i == abi.RingReqEvent || i == abi.RingRspEvent {
			want = 1
		}
		if b != want {
			t.Fatalf("byte %d of a fresh ring is %#x", i, b)
		}
	}
	rx.Start(p)
	if rx.Size() != 256 {
		t.Errorf("receive ring of %d slots", rx.Size())
	}
}

// TestIndexWrap runs rings over the end of the index space.
func TestIndexWrap(t *testing.T) {
	p := page(t)
	var tx Tx
	tx.Start(p)
	const start = 0xffffff80
	tx.made, tx.shown, tx.taken = start, start, start
	p.Store32(abi.RingRspProd, start)
	done := uint32(start)
	for round := range 100 {
		for i := range 5 {
			tx.Put(abi.TxRequest{Ref: 7, ID: uint16(round + i)})
		}
		tx.Flush()
		if got := p.Load32(abi.RingReqProd); got != tx.made {
			t.Fatalf("req_prod %#x, want %#x", got, tx.made)
		}
		for i := range 5 {
			p.Store32(abi.RingEntries+(done&255)*12, uint32(round+i)|3<<16)
			done++
		}
		p.Store32(abi.RingRspProd, done)
		if n := tx.Sync(); n != 5 {
			t.Fatalf("round %d: %d responses, %v", round, n, tx.Err())
		}
		for i := range 5 {
			if r := tx.Next(); r.ID != uint16(round+i) || r.Status != 3 {
				t.Fatalf("round %d: response %+v", round, r)
			}
		}
	}
	if tx.InFlight() != 0 || done > start {
		t.Errorf("in flight %d, index %#x", tx.InFlight(), done)
	}
}

// TestNotify is RING_PUSH_REQUESTS_AND_CHECK_NOTIFY.
func TestNotify(t *testing.T) {
	for _, c := range []struct {
		from, n, event uint32
		want           bool
	}{
		{0, 1, 1, true},
		{0, 1, 2, false},
		{0, 5, 3, true},
		{0, 5, 5, true},
		{0, 5, 6, false},
		{10, 5, 10, false}, // long passed
		{10, 5, 11, true},
		{0xfffffffe, 4, 1, true},
		{0xfffffffe, 4, 0xffffffff, true},
		{0xfffffffe, 4, 0xfffffffe, false},
		{0xfffffffe, 4, 3, false},
		{7, 0, 8, false},
	} {
		p := page(t)
		var tx Tx
		tx.Start(p)
		tx.made, tx.shown, tx.taken = c.from, c.from, c.from
		p.Store32(abi.RingReqEvent, c.event)
		for range c.n {
			tx.Put(abi.TxRequest{})
		}
		if got := tx.Flush(); got != c.want {
			t.Errorf("%d requests after %d with req_event %d: notify %v", c.n, c.from, c.event, got)
		}
		if tx.Flush() {
			t.Error("a second Flush notifies")
		}
	}
}

// TestProducerJump: more responses than requests put the ring out of use.
func TestProducerJump(t *testing.T) {
	for _, c := range []struct {
		made, unseen int
		prod         uint32
		n            int
		bad          bool
	}{
		{made: 3, prod: 3, n: 3},
		{made: 3, prod: 0, n: 0},
		{made: 3, prod: 4, bad: true},
		{made: 3, prod: 257, bad: true},
		{made: 3, prod: 0xffffffff, bad: true},
		{made: 3, unseen: 2, prod: 5, bad: true}, // made but not shown
		{made: 256, prod: 256, n: 256},
		{made: 256, prod: 257, bad: true},
		{prod: 1, bad: true},
	} {
		p := page(t)
		var rx Rx
		rx.Start(p)
		for range c.made {
			rx.Offer(1)
		}
		rx.Flush()
		for range c.unseen {
			rx.Offer(1)
		}
		p.Store32(abi.RingRspProd, c.prod)
		if n := rx.Sync(); n != c.n || (rx.Err() != nil) != c.bad {
			t.Errorf("%+v: Sync = %d, %v", c, n, rx.Err())
		}
		p.Store32(abi.RingRspProd, 0)
		if c.bad && rx.Sync() != 0 {
			t.Error("a ring that was out of use works again")
		}
	}
}

// TestOldDataTx: nothing of a former entry is left in a slot (XSA-403).
func TestOldDataTx(t *testing.T) {
	p := page(t)
	var tx Tx
	tx.Start(p)
	for range tx.Size() {
		tx.Put(abi.TxRequest{Ref: 0xffffffff, Offset: 0xffff, Flags: 0xffff, ID: 0xffff, Size: 0xffff})
	}
	tx.Flush()
	p.Store32(abi.RingRspProd, 256)
	for range tx.Sync() {
		tx.Next()
	}
	tx.PutExtra(abi.Extra{Type: 1, Size: 0x1234, GSO: 2})
	want := [12]byte{1, 0, 0x34, 0x12, 2}
	if got := [12]byte(p.Bytes()[64:76]); got != want {
		t.Errorf("extra info is % x, want % x", got, want)
	}
	var rx Rx
	rx.Start(p)
	for i := range p.Bytes()[64:] {
		p.Bytes()[64+i] = 0xff
	}
	rx.Offer(0x01020304)
	if got, want := [8]byte(p.Bytes()[64:72]), [8]byte{0, 0, 0, 0, 4, 3, 2, 1}; got != want {
		t.Errorf("receive request is % x, want % x", got, want)
	}
}

func TestEntry(t *testing.T) {
	p := page(t)
	var rx Rx
	rx.Start(p)
	rx.Offer(1)
	rx.Flush()
	copy(p.Bytes()[64:], []byte{1, 2, 3, 4, 5, 6, 7, 0x88})
	e, slot := rx.Peek(0)
	r := e.Response()
	if r.ID != 0x0201 || r.Offset != 0x0403 || r.Flags != 0x0605 || r.Status != -0x77f9 || slot != 0 {
		t.Errorf("response %+v in slot %d", r, slot)
	}
	if x := e.Extra(); x.Type != 1 || x.Flags != 2 || x.Size != 0x0403 || x.GSO != 5 || x.Features != 0x8807 {
		t.Errorf("extra info %+v", x)
	}
}

func TestFullRing(t *testing.T) {
	var tx Tx
	tx.Start(page(t))
	for tx.Room() > 0 {
		tx.Put(abi.TxRequest{})
	}
	defer func() {
		if recover() == nil {
			t.Error("a request without room did not panic")
		}
	}()
	tx.Put(abi.TxRequest{})
}

// FuzzRing lets a backend do anything with its page between the frontend's
// calls. Whatever it does, no call does more work than there are slots, the
// counts stay within the ring, and what was out of use stays so.
func FuzzRing(f *testing.F) {
	f.Add([]byte{0, 3, 1, 0, 2, 3, 3, 0})
	f.Add([]byte{0, 255, 1, 0, 4, 8, 5, 0, 2, 200, 3, 0})
	p := page(f)
	f.Fuzz(func(t *testing.T, prog []byte) {
		var tx Tx
		var rx Rx
		tx.Start(p)
		front := &tx.Front
		if len(prog)%2 == 1 {
			rx.Start(p)
			front = &rx.Front
		}
		for i := 0; i+1 < len(prog) && i < 512; i += 2 {
			play(t, p, &tx, &rx, front, prog[i], uint32(prog[i+1]))
		}
	})
}

func play(t *testing.T, p xen.Page, tx *Tx, rx *Rx, f *Front, op byte, arg uint32) {
	broken := f.err != nil
	switch op % 6 {
	case 0: // make requests
		for range min(arg, uint32(f.Room())) {
			if f == &tx.Front {
				tx.Put(abi.TxRequest{ID: uint16(arg)})
			} else {
				rx.Offer(xen.Ref(arg))
			}
		}
	case 1:
		f.Flush()
	case 2: // answer some
		p.Store32(abi.RingRspProd, p.Load32(abi.RingRspProd)+arg)
	case 3:
		n := f.Sync()
		if n > f.Size() || broken && n != 0 {
			t.Fatalf("Sync = %d of %d", n, f.Size())
		}
		for i := range n {
			if f == &tx.Front {
				tx.Next()
			} else if _, slot := rx.Peek(i); int(slot) >= f.Size() {
				t.Fatalf("slot %d", slot)
			}
		}
		if f == &rx.Front {
			rx.Take(n)
		}
	case 4: // write anywhere
		p.Store32(arg*16, arg*0x01010101)
	case 5:
		p.Store32(arg%4*4, ^arg)
	}
	if f.InFlight() < 0 || f.InFlight() > f.Size() || f.Room() < 0 || f.InFlight()+f.Room() != f.Size() {
		t.Fatalf("in flight %d, room %d of %d", f.InFlight(), f.Room(), f.Size())
	}
	if broken && f.err == nil {
		t.Fatal("a ring that was out of use works again")
	}
}
