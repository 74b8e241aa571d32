package virtionet

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"ampoule/drivers/virtio"
	"ampoule/drivers/virtio/virtiotest"
	"ampoule/libos/device"
	"ampoule/libos/iopage"
)

// FuzzDevice plays the device by what the input says: completions that are right
// or wrong in any way, metadata, stalls. Whatever happens, the driver neither
// panics nor violates the gate, and hands out only windows within pages.
func FuzzDevice(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 8 {
		p := make([]byte, 400)
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
		f.Add(uint16(rng.Uint32()), p)
	}
	f.Add(uint16(0), []byte{0, 0, 60, 0, 1, 2, 1, 0, 2, 0, 3, 0})
	f.Add(uint16(1), bytes.Repeat([]byte{0, 1, 72, 0}, 40))
	f.Fuzz(func(t *testing.T, kind uint16, script []byte) {
		s := setup{pages: 96, queue: 64, conf: Config{RxBuffers: 24, RxLow: 17, TxReserve: 16}}
		if kind&1 != 0 {
			s.features = Accept(Features &^ FeatureMergeable)
		}
		if kind&2 != 0 {
			s.features = Accept(Features &^ virtio.FeatureEventIndex)
		}
		z := &fuzzer{rig: s.open(t), script: script}
		for len(z.script) > 0 {
			z.step()
		}
		for _, b := range z.held {
			b.Release()
		}
	})
}

type fuzzer struct {
	*rig
	script []byte
	held   []*iopage.Buf
}

func (z *fuzzer) byte() (b byte) {
	if len(z.script) > 0 {
		b, z.script = z.script[0], z.script[1:]
	}
	return b
}

func (z *fuzzer) u16() uint16 { return uint16(z.byte()) | uint16(z.byte())<<8 }

func (z *fuzzer) step() {
	rx, tx := z.peer.RX, z.peer.TX
	switch op := z.byte(); op % 12 {
	case 0, 1, 2: // a frame as it should be, with metadata as it likes
		h := virtiotest.NetHeader{Flags: op >> 6, GSO: op >> 4 & 3}
		if op&8 != 0 {
			h.HeaderLen, h.SegmentSize, h.CsumStart, h.CsumOffset = z.u16(), z.u16(), z.u16(), z.u16()
		}
		z.peer.Deliver(h, make([]byte, z.u16()%9000))
	case 3: // any header, id and length
		if id, ok := rx.Next(); ok {
			p := rx.Buffer(id)
			for i := range headerLen {
				p[i] = z.byte()
			}
			n := uint32(z.u16()) % 4200
			if op > 200 {
				id, n = id^uint16(z.byte()), n<<16
			}
			z.complete(virtiotest.ParseHeader(p), uint32(id), n)
		}
	case 4:
		rx.SetUsed(rx.UsedIndex() + z.u16()%3)
	case 5:
		rx.SetAvailEvent(z.u16())
		tx.SetAvailEvent(z.u16())
	case 6: // transmit completions in any order, with any length
		if id, ok := tx.Next(); ok {
			tx.Complete(id^uint16(op>>7), int(z.byte()))
		}
	case 7:
		z.peer.Take(nil)
	default:
		z.drive(op)
	}
}

// drive is the operating system's part.
func (z *fuzzer) drive(op byte) {
	var f [5]device.Frame
	n, _ := z.dev.Recv(f[:1+op%5])
	for _, f := range f[:n] {
		total := 0
		for b := f.Buf; b != nil; b = b.Next() {
			total += len(b.Bytes())
		}
		if total < etherLen || total > maxFrame || f.Buf.HeadRoom() < HeadRoom {
			z.Fatalf("a frame of %d bytes, head room %d", total, f.Buf.HeadRoom())
		}
		if f.State == device.ChecksumPartial && int(f.CsumStart)+int(f.CsumOffset)+2 > total {
			z.Fatalf("checksum field outside the frame: %+v of %d", f.Meta, total)
		}
		switch op >> 6 {
		case 0:
			z.held = append(z.held, f.Buf)
		case 1:
			f.Buf.Release()
		default:
			if k, _ := z.dev.Send([]device.Frame{f}); k == 0 {
				f.Buf.Release()
			}
		}
	}
	if b, err := z.dev.Alloc(); err == nil {
		b.SetWindow(HeadRoom, int(binary.LittleEndian.Uint16([]byte{op, 1})))
		if k, _ := z.dev.Send([]device.Frame{{Buf: b}}); k == 0 {
			b.Release()
		}
	}
	if op > 240 {
		for _, b := range z.held {
			b.Release()
		}
		z.held = z.held[:0]
	}
}
