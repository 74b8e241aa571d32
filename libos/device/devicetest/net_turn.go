package devicetest

import (
	"bytes"
	"errors"

	"ampoule/libos/device"
)

// sorter is a fast path whose verdict a frame's byte 20 tells; 9 makes it panic. It
// marks what it replies to.
type sorter struct{}

func (sorter) Frame(f *device.Frame) device.Verdict {
	b := f.Buf.Bytes()
	if b[20] == 9 {
		panic("sorter")
	}
	v := device.Verdict(b[20] % 3)
	if v == device.Reply {
		b[21] = 0xaa
	}
	return v
}

// turner returns the device as a Turner.
func (t *netTest) turner() device.Turner {
	d, ok := t.Dev.(device.Turner)
	if !ok {
		t.Skip("the device is no Turner")
	}
	return d
}

// turn shows bursts of frames to a fast path: each goes where its verdict says, and
// in order. In between are frames that come through Recv and go through Send.
func (t *netTest) turn() {
	d := t.turner()
	before := t.drain()
	var frames [16]device.Frame
	for round := range 300 {
		var replied, passed [][]byte
		count := 0
		for i := range 1 + round%12 {
			size := 60 + (round*17+i*5)%1200
			if round%50 == 49 && i == 3 && t.Dev.Info().Offload&device.LRO4 != 0 {
				size = 9000
			}
			b := t.frame(round+i, size)
			m := device.Meta{}
			if size == 9000 {
				b, m = t.packet(round, tcp, false, size), large(false)
			}
			b[20] = byte(round+i) % 3
			if !t.Peer.Deliver(b, m) {
				break
			}
			count++
			switch device.Verdict(b[20]) {
			case device.Pass:
				passed = append(passed, b)
			case device.Reply:
				b[21] = 0xaa
				replied = append(replied, b)
			}
		}
		got, err := d.Turn(sorter{}, frames[:count]) // the last may have several buffers
		want := device.Turned{Passed: len(passed), Replied: len(replied), Dropped: count - len(passed) - len(replied)}
		if got != want || err != nil {
			t.Fatalf("round %d: %+v, %v, want %+v", round, got, err, want)
		}
		for i, f := range frames[:got.Passed] {
			if !bytes.Equal(content(f.Buf), passed[i]) {
				t.Fatalf("round %d: frame %d passed is not the one delivered", round, i)
			}
			f.Buf.Release()
		}
		for _, b := range replied {
			t.took(b)
		}
		t.quiet()
		t.deliver(t.frame(round, 60), device.Meta{})
		t.send(t.recv())
		t.took(t.frame(round, 60))
	}
	if got, err := d.Turn(sorter{}, frames[:]); got != (device.Turned{}) || !errors.Is(err, device.ErrAgain) {
		t.Errorf("Turn without a frame = %+v, %v", got, err)
	}
	if after := t.drain(); after < before {
		t.Errorf("%d pages could be had at first, %d after 300 rounds", before, after)
	}
}

// turnPanics has the fast path panic: what it replied to before is sent, no page is
// lost, and the device goes on.
func (t *netTest) turnPanics() {
	d := t.turner()
	before := t.drain()
	var frames [4]device.Frame
	for range 300 {
		var sent []byte
		for i, v := range []byte{2, 0, 9, 2} {
			b := t.frame(i, 60)
			b[20] = v
			t.deliver(b, device.Meta{})
			if i == 0 {
				sent = b
				sent[21] = 0xaa
			}
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Fatal("the panic went no further")
				}
				d.Abandon(frames[:])
			}()
			d.Turn(sorter{}, frames[:])
		}()
		t.took(sent)
		if got, err := d.Turn(sorter{}, frames[:]); got.Replied != 1 || err != nil {
			t.Fatalf("Turn after a panic = %+v, %v", got, err)
		}
		t.Peer.Take()
	}
	if after := t.drain(); after < before {
		t.Errorf("%d pages could be had at first, %d after 300 panics", before, after)
	}
}

// turnGone has the backend break its protocol before a Turn.
func (t *netTest) turnGone() {
	d := t.turner()
	t.Peer.Break()
	var frames [4]device.Frame
	if got, err := d.Turn(sorter{}, frames[:]); got != (device.Turned{}) || !errors.Is(err, device.ErrGone) {
		t.Errorf("Turn after a breach of the protocol = %+v, %v", got, err)
	}
	if got, err := d.Turn(sorter{}, frames[:]); got != (device.Turned{}) || !errors.Is(err, device.ErrGone) {
		t.Errorf("Turn of a device that is gone = %+v, %v", got, err)
	}
}
