package netfront

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"ampoule/drivers/xen/abi"
	"ampoule/drivers/xen/xentest"
	"ampoule/libos/device"
	"ampoule/libos/iopage"
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

// FuzzNetfront lets a backend do anything with both rings and the pages between
// the driver's calls: nothing panics or loops, and no page is lost or given
// twice.
func FuzzNetfront(f *testing.F) {
	f.Add([]byte{0, 3, 1, 3, 2, 0, 3, 5, 4, 9, 5, 0})
	f.Add([]byte{6, 100, 0, 1, 1, 200, 7, 3, 1, 3, 8, 40, 9, 2})
	r := bare(f, 128)
	frame := packet(false, protoTCP, nil, 9000)
	var frames [8]device.Frame
	f.Fuzz(func(t *testing.T, prog []byte) {
		before, _ := r.pool.Free() // less than all, once an input has failed
		r.restart(t)
		var held []device.Frame
		for i := 0; i+1 < len(prog) && i < 256; i += 2 {
			held = r.play(prog[i], int(prog[i+1]), frame, frames[:], held)
		}
		for _, h := range held {
			h.Buf.Release()
		}
		r.dev.out(errors.New("end"))
		r.dev.reclaim(false)
		if n, _ := r.pool.Free(); n != before {
			t.Fatalf("%d pages of %d are left", n, before)
		}
	})
}

// bare is a device without a store, not yet connected: what the bus does, the
// test does.
func bare(tb testing.TB, pages int) *rig {
	tb.Helper()
	d := xentest.New(tb, pages)
	dev, err := newDevice("net0", Config{Gate: d, Pages: d.Pages, Pool: d.Pool})
	if err != nil {
		tb.Fatal(err)
	}
	dev.info = device.NetInfo{MAC: [6]byte{2}, MTU: 1500, Offload: allOffloads, Batch: batch}
	dev.wire.rxPort, _ = d.Alloc()
	dev.wire.txPort, _ = d.Alloc()
	return &rig{TB: tb, dev: dev, d: d, back: d.NewNetback(), pool: d.Pool}
}

// restart connects the device and its backend.
func (r *rig) restart(tb testing.TB) {
	r.TB = tb
	r.dev.startRings(true)
	w := &r.dev.wire
	if err := r.back.Bare(uint32(w.txRef), uint32(w.rxRef), w.txPort, w.rxPort); err != nil {
		tb.Fatal(err)
	}
	r.dev.enable()
}

// deliver delivers a frame, unless the backend has destroyed its own requests.
func (r *rig) deliver(frame []byte) {
	defer func() {
		if e := recover(); e != nil {
			if _, ok := e.(xentest.Violation); !ok {
				panic(e)
			}
		}
	}()
	r.back.Deliver(frame, device.Meta{})
}

// play does one step of a fuzzer's program.
func (r *rig) play(op byte, arg int, frame []byte, frames, held []device.Frame) []device.Frame {
	b, tx, rx := r.back, r.back.TX.Page, r.back.RX.Page
	put := func(page []byte, at, v uint32) { binary.LittleEndian.PutUint32(page[at&4092:], v) }
	get := func(page []byte, at uint32) uint32 { return binary.LittleEndian.Uint32(page[at&4092:]) }
	switch op % 12 {
	case 0: // receive
		n, _ := r.dev.Recv(frames[:1+arg%len(frames)])
		held = append(held, frames[:n]...)
	case 1: // send back what was received, as it is
		n, _ := r.dev.Send(held[:min(len(held), arg)])
		held = held[n:]
	case 2: // send
		if buf, err := r.dev.Alloc(); err == nil {
			buf.SetWindow(0, min(14+arg*5, iopage.Size))
			held = append(held, device.Frame{Buf: buf})
		}
	case 3: // release
		if len(held) > 0 {
			held[0].Buf.Release()
			held = held[1:]
		}
	case 4: // a proper frame
		if b.RX.RspProd() == get(rx, abi.RingRspProd) && !r.gone() {
			r.deliver(frame[:60+arg*16])
		}
	case 5: // a response of anything, in its slot
		b.RX.Skip(1)
		b.RX.Respond(xentest.Response(uint16(b.RX.RspProd()&255), uint16(op)<<4, uint16(arg), int16(arg*40)))
		b.RX.Publish()
	case 6: // an index moves
		put(rx, abi.RingRspProd, get(rx, abi.RingRspProd)+uint32(arg)/16)
	case 7:
		put(tx, abi.RingRspProd, get(tx, abi.RingRspProd)+uint32(arg)/16)
	case 8: // answer a request to send
		b.TX.Respond(xentest.TxResponse(uint16(arg), int16(op>>6)))
		b.TX.Publish()
	case 9: // write anything anywhere
		put(rx, uint32(arg)*8, uint32(arg)*0x9e3779b9)
	case 10:
		put(tx, uint32(arg)*12, uint32(arg)*0x9e3779b9)
	case 11: // into the pages
		r.d.IO[(arg*int(op)*61)%len(r.d.IO)] ^= byte(arg)
	}
	return held
}
