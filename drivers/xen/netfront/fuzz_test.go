package netfront

import (
	"encoding/binary"
	"errors"
	"testing"

	"ampoule/drivers/xen/abi"
	"ampoule/drivers/xen/xentest"
	"ampoule/libos/device"
	"ampoule/libos/iopage"
)

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
	dev.info = device.NetInfo{MTU: 1500, Offload: allOffloads, Batch: batch}
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
