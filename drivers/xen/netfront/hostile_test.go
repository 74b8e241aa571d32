package netfront

import (
	"errors"
	"strings"
	"testing"
	"time"

	"ampoule/drivers/xen/abi"
	"ampoule/drivers/xen/xentest"
	"ampoule/libos/device"
)

// breaks checks that the device has found a breach of the protocol and is out of
// use, and that it works again once the toolstack has made the backend anew, but
// not before.
func (r *rig) breaks(name, want string) {
	r.Helper()
	var f [1]device.Frame
	for range 2 {
		if n, _ := r.dev.Recv(f[:]); n == 1 {
			f[0].Buf.Release() // came before the breach
		}
		r.dev.Send(nil)
		r.dev.tx.mu.Lock()
		if !r.dev.gone.Load() {
			r.dev.reap()
		}
		r.dev.tx.mu.Unlock()
	}
	if !r.gone() || !strings.Contains(r.dev.Cause().Error(), want) {
		r.Fatalf("%s: gone %v, %v; want mention of %q", name, r.gone(), r.dev.Cause(), want)
	}
	if n := r.dev.Stats().Breaches; n == 0 {
		r.Errorf("%s: not counted", name)
	}
	r.until("closed", func() bool { return r.back.State() == "6" })
	r.back.SetState(abi.StateInitWait)
	time.Sleep(5 * time.Millisecond)
	if !r.gone() {
		r.Fatalf("%s: in use again with a backend that broke the protocol", name)
	}
	r.back.Detach()
	r.back.Attach(xentest.Linux())
	r.until("back", r.here)
	r.works()
}

// rx are responses to two pages that the backend has taken, in slots 0 and 1.
func rxBreach(entries ...uint64) func(*rig) {
	return func(r *rig) {
		r.back.RX.Skip(len(entries))
		for _, e := range entries {
			r.back.RX.Respond(e)
		}
		r.back.RX.Publish()
	}
}

// txBreach answers two frames of one page each, whose ids are 0 and 1.
func txBreach(entries ...uint64) func(*rig) {
	return func(r *rig) {
		for range 2 {
			r.send(packet(false, protoUDP, nil, 80), device.Meta{})
		}
		for _, e := range entries {
			r.back.TX.Respond(e)
		}
		r.back.TX.Publish()
	}
}

// many repeats an entry with the id of each slot.
func many(n int, offset, flags uint16, status int16) (e []uint64) {
	for i := range n {
		e = append(e, xentest.Response(uint16(i), offset, flags, status))
	}
	return e
}

func TestBreaches(t *testing.T) {
	rx, tx := xentest.Response, xentest.TxResponse
	extra := xentest.ExtraGSO(1448, 1) | 1<<8 // and more of them
	for name, c := range map[string]struct {
		do   func(*rig)
		want string
	}{
		"bad id, receive":                  {rxBreach(rx(7, 0, 0, 60)), "id 7 in slot 0"},
		"bad id beyond the ring":           {rxBreach(rx(256, 0, 0, 60)), "id 256 in slot 0"},
		"ring ids reused":                  {rxBreach(rx(0, 0, 0, 60), rx(0, 0, 0, 60)), "id 0 in slot 1"},
		"bad length":                       {rxBreach(rx(0, 0, 0, 4097)), "4097 bytes at 0"},
		"bad length, largest":              {rxBreach(rx(0, 0, 0, 32767)), "32767 bytes at 0"},
		"bad offset":                       {rxBreach(rx(0, 4095, 0, 2)), "2 bytes at 4095"},
		"bad offset beyond the page":       {rxBreach(rx(0, 65535, 0, 0)), "0 bytes at 65535"},
		"bad length of a further page":     {rxBreach(rx(0, 0, abi.RxMore, 100), rx(1, 1, 0, 4096)), "4096 bytes at 1"},
		"frame without end":                {rxBreach(many(40, 0, abi.RxMore, 100)...), "more than 18 pages"},
		"extra info without end":           {rxBreach(rx(0, 0, abi.RxExtra, 100), extra, extra, extra, extra, extra, extra), "more than 4 extra"},
		"extra info in the midst":          {rxBreach(rx(0, 0, abi.RxMore, 100), rx(1, 0, abi.RxExtra, 100)), "in the midst"},
		"producer index jump, receive":     {func(r *rig) { r.back.RX.SetRspProd(65) }, "jumped by 65"},
		"producer index back, receive":     {func(r *rig) { r.back.RX.SetRspProd(0xffffffff) }, "jumped"},
		"producer index jump, transmit":    {func(r *rig) { r.back.TX.SetRspProd(1) }, "jumped by 1"},
		"bad id, transmit":                 {txBreach(tx(9, 0)), "id 9 is not in flight"},
		"bad id beyond the ring, transmit": {txBreach(tx(0xffff, 0)), "id 65535 is not in flight"},
		"replayed completion":              {txBreach(tx(0, 0), tx(0, 0)), "id 0 is not in flight"},
		"extra info that was not sent":     {txBreach(tx(0, abi.RspNull)), "extra info that is not in flight"},
		"nothing but malformed frames": {func(r *rig) {
			for range maxBad/16 + 1 {
				for range 16 {
					r.back.Deliver(make([]byte, 13), device.Meta{})
				}
				r.dev.Recv(make([]device.Frame, 1))
			}
		}, "malformed frames in a row"},
	} {
		t.Run(name, func(t *testing.T) {
			r := setup{}.open(t)
			c.do(r)
			r.breaks(name, c.want)
		})
	}
}

// TestMalformed: frames that make no sense are dropped and counted; those around
// them arrive, and no page is lost.
func TestMalformed(t *testing.T) {
	rx := xentest.Response
	tcp := packet(false, protoTCP, nil, 200)
	for name, c := range map[string]struct {
		content []byte
		entries []uint64
		failed  bool
	}{
		"short":                      {tcp, []uint64{rx(0, 0, 0, 13)}, false},
		"empty":                      {tcp, []uint64{rx(0, 0, 0, 0)}, false},
		"empty page":                 {tcp, []uint64{rx(0, 0, abi.RxMore, 100), rx(1, 0, 0, 0)}, false},
		"error":                      {tcp, []uint64{rx(0, 0, 0, abi.RspError)}, true},
		"error with an offset":       {tcp, []uint64{rx(0, 65535, 0, -32768)}, true},
		"error of a further page":    {tcp, []uint64{rx(0, 0, abi.RxMore, 100), rx(1, 0, 0, abi.RspDropped)}, true},
		"blank checksum of nothing":  {make([]byte, 200), []uint64{rx(0, 0, abi.RxChecksumBlank, 200)}, false},
		"blank checksum cut off":     {tcp, []uint64{rx(0, 0, abi.RxChecksumBlank, 40)}, false},
		"prefix that is not ours":    {tcp, []uint64{rx(0, 0, abi.RxGSOPrefix, 200)}, false},
		"segments of no size":        {tcp, []uint64{rx(0, 0, abi.RxExtra|abi.RxChecksumBlank, 200), xentest.ExtraGSO(0, 1)}, false},
		"segments of another kind":   {tcp, []uint64{rx(0, 0, abi.RxExtra|abi.RxChecksumBlank, 200), xentest.ExtraGSO(1448, 2)}, false},
		"segments of no kind":        {tcp, []uint64{rx(0, 0, abi.RxExtra|abi.RxChecksumBlank, 200), xentest.ExtraGSO(1448, 9)}, false},
		"extra info of no kind":      {tcp, []uint64{rx(0, 0, abi.RxExtra, 200), 0}, false},
		"extra info of kind 255":     {tcp, []uint64{rx(0, 0, abi.RxExtra, 200), 255}, false},
		"larger than any IP packet":  {tcp, many(17, 0, abi.RxMore, 4096), false},
		"header over two pages":      {tcp, []uint64{rx(0, 0, abi.RxChecksumBlank|abi.RxMore, 40), rx(1, 0, 0, 160)}, false},
		"TCP header beyond its page": {tcp, []uint64{rx(0, 0, abi.RxExtra|abi.RxChecksumBlank, 60), xentest.ExtraGSO(100, 1)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := setup{}.open(t)
			entries := c.entries
			if n := len(entries); n == 17 {
				entries = append(entries, rx(17, 0, 0, 4096))
			}
			for i := range c.content {
				b := r.dev.rx.bufs[0]
				b.Page()[i] = c.content[i]
			}
			rxBreach(entries...)(r)
			f := packet(false, protoUDP, nil, 99)
			r.receives("the next", f, device.Meta{})
			s := r.dev.Stats()
			if c.failed && s.RxErrors != 1 || !c.failed && s.RxMalformed != 1 || s.RxFrames != 1 {
				t.Errorf("counted %+v", s)
			}
			r.whole(0)
		})
	}
}

// TestOtherExtras: kinds of extra info that nobody asked for are passed over.
func TestOtherExtras(t *testing.T) {
	r := setup{}.open(t)
	rxBreach(xentest.Response(0, 0, abi.RxExtra, 60), 4|1<<8, 2|1<<8, 3)(r)
	r.recv("with other extra info").Buf.Release()
	r.whole(0)
}

// TestFrameInPieces: a frame whose responses are shown one by one is received
// when it is whole, and not waited for in a circle.
func TestFrameInPieces(t *testing.T) {
	r := setup{}.open(t)
	var f [2]device.Frame
	for i, e := range []uint64{
		xentest.Response(0, 0, abi.RxMore|abi.RxExtra, 100), 4, xentest.Response(2, 50, abi.RxMore, 200), xentest.Response(3, 0, 0, 300),
	} {
		if i > 0 {
			if n, err := r.dev.Recv(f[:]); n != 0 || !errors.Is(err, device.ErrAgain) {
				t.Fatalf("with %d responses: Recv = %d, %v", i, n, err)
			}
			if r.dev.Ready().Ready() {
				t.Fatalf("ready with a part of a frame, %d responses", i)
			}
		}
		rxBreach(e)(r)
		if !r.dev.Ready().Ready() {
			t.Fatalf("not ready with response %d", i)
		}
	}
	got := r.recv("in pieces")
	if n := len(content(got.Buf)); n != 600 {
		t.Errorf("%d bytes", n)
	}
	got.Buf.Release()
	r.whole(0)
}

// TestEventStorm (CVE-2021-28712): events without responses wake nobody, and
// responses that are worthless cost one ring of work per call.
func TestEventStorm(t *testing.T) {
	r := setup{}.open(t)
	_, tx, rx := r.back.Frontend()
	for range 1000 {
		// An event is a wake-up of the VM; sources are looked at, no more.
		if r.dev.Ready().Ready() || r.dev.TxReady().Ready() {
			t.Fatal("ready without a response")
		}
	}
	kicks := r.d.Notifies(tx) + r.d.Notifies(rx)
	var f [4]device.Frame
	for range maxBad/64 - 1 {
		for r.back.Deliver(make([]byte, 10), device.Meta{}) {
		}
		before := r.dev.rx.ring.Taken()
		if n, err := r.dev.Recv(f[:]); n != 0 || !errors.Is(err, device.ErrAgain) {
			t.Fatalf("Recv = %d, %v", n, err)
		}
		if done := r.dev.rx.ring.Taken() - before; done > ringSize {
			t.Fatalf("%d responses taken in one call", done)
		}
	}
	if k := r.d.Notifies(tx) + r.d.Notifies(rx) - kicks; k > maxBad/64 {
		t.Errorf("%d notifications", k)
	}
	r.works()
}

// TestDoubleFetch: what was checked is what is used, whatever the backend writes
// between two looks.
func TestDoubleFetch(t *testing.T) {
	r := setup{}.open(t)
	f := packet(false, protoTCP, nil, 100)
	if !r.back.Deliver(f, gso(device.GSOTCP4, 34)) {
		t.Fatal("no room")
	}
	rcv := &r.dev.rx
	n := rcv.ring.Sync()
	w, ok := rcv.parse(n)
	if !ok || w.total != 100 || w.parts != 1 || w.extras != 1 {
		t.Fatalf("parse: %+v, %v", w, ok)
	}
	// All that the responses said is changed.
	for i := range r.back.RX.Page[abi.RingEntries:] {
		r.back.RX.Page[abi.RingEntries+i] = 0xff
	}
	head, spare := rcv.unhook(&w)
	if head == nil || head.Len() != 100 || head.HeadRoom() != 0 || head.Next() != nil || spare == nil || spare.Next() != nil {
		t.Errorf("page %v, spare %v", head, spare)
	}
	// The frame itself may change too: metadata stays within it.
	p := head.Page()
	for v := range 256 {
		p[46] = byte(v) // TCP data offset
		if m, ok := decode(w.flags, &w.gso, p[:100], allOffloads); ok && (int(m.HeaderLen) > 100 || m.HeaderLen < 54) {
			t.Fatalf("data offset %#x: headers of %d", v, m.HeaderLen)
		}
	}
	rcv.ring.Take(w.entries)
	r.dev.putBack(head)
	r.dev.putBack(spare)
	r.whole(0)
}

// TestOldData (XSA-403, CVE-2022-33741): requests name no byte that the sender
// has not written, and ring pages start empty each time.
func TestOldData(t *testing.T) {
	r := setup{}.open(t)
	for i := range r.d.IO {
		r.d.IO[i] = 0xee // what pages held before
	}
	for _, size := range []int{14, 60, 100, 4095, 4096} {
		f := packet(false, protoUDP, nil, size)
		var m device.Meta
		if size > 1514 {
			f, m = packet(false, protoTCP, nil, size), gso(device.GSOTCP4, 34)
		}
		r.send(f, m)
		got, _, ok := r.back.Take()
		if !ok || string(got) != string(f) {
			t.Errorf("%d bytes sent, %d on the wire, or others", size, len(got))
		}
	}
	r.back.Detach()
	r.until("gone", r.gone)
	tx, rx := r.dev.wire.txPage.Bytes(), r.dev.wire.rxPage.Bytes()
	for i := range tx {
		tx[i], rx[i] = 0xee, 0xee
	}
	r.back.Attach(xentest.Linux())
	r.until("back", r.here)
	for i := abi.RingEntries; i < len(tx); i++ {
		used := r.dev.rx.ring.InFlight()*8 + abi.RingEntries
		if tx[i] != 0 || i >= used && rx[i] != 0 {
			t.Fatalf("byte %d of the rings is %#x and %#x", i, tx[i], rx[i])
		}
	}
	r.works()
}

// TestAnswersOutOfOrder: a backend may answer in any order.
func TestAnswersOutOfOrder(t *testing.T) {
	r := setup{}.open(t)
	for range 50 {
		var reqs []xentest.Request
		for i := range 5 {
			f := packet(false, protoTCP, nil, 6000)
			r.send(f, gso(device.GSOTCP4, 34))
			if i%2 == 0 {
				_, reqs, _, _ = r.back.Hold(nil, reqs)
			}
		}
		for {
			var ok bool
			if _, reqs, _, ok = r.back.Hold(nil, reqs); !ok {
				break
			}
		}
		r.back.AnswerLast(reqs)
		r.whole(0)
	}
	if s := r.dev.Stats(); s.TxFrames != 250 || s.TxErrors != 0 {
		t.Errorf("counted %+v", s)
	}
}

// TestSendErrors: a backend that could not send says so; that is counted.
func TestSendErrors(t *testing.T) {
	r := setup{}.open(t)
	txBreach(xentest.TxResponse(0, abi.RspError), xentest.TxResponse(1, abi.RspDropped))(r)
	r.whole(0)
	if s := r.dev.Stats(); s.TxErrors != 2 {
		t.Errorf("counted %+v", s)
	}
}
