// Package devicetest holds the conformance suites that every driver runs
// against a fake of its backend, so that one kind of device behaves alike
// whatever is below it.
//
// A driver's test calls the suite for its kind with a function that opens a
// fresh device and its peer:
//
//	func TestConformance(t *testing.T) { devicetest.Net(t, open) }
//
// A feature that the device under test does not offer is skipped by name.
package devicetest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
	"time"

	"ampoule/libos/device"
	"ampoule/libos/event"
	"ampoule/libos/iopage"
)

// NetPeer is the backend and the wire behind a device under test. The suite
// calls it from one goroutine at a time.
type NetPeer interface {
	// Deliver puts a frame on the wire towards the driver. It answers false,
	// and drops the frame, when the driver left no room.
	Deliver(frame []byte, m device.Meta) bool
	// Take takes the next frame that the driver sent and completes it. Until
	// Take the frame's pages are the backend's.
	Take() (frame []byte, m device.Meta, ok bool)
	// Break makes the backend break its protocol towards the direction that
	// receives, so that the driver must find out with its next Recv.
	Break()
}

// NetUnderTest is a fresh device. Pool is used by nobody else and has at least
// 128 pages.
type NetUnderTest struct {
	Dev  device.Net
	Pool *iopage.Pool
	Peer NetPeer
	// Marks says that metadata crosses the wire as it is. Without it both ends
	// find in the frame where a checksum goes, so only TCP and UDP have one.
	Marks bool
}

// Net runs the suite for device.Net.
func Net(t *testing.T, open func(t *testing.T) NetUnderTest) {
	for _, c := range []struct {
		name string
		run  func(*netTest)
	}{
		{"Info", (*netTest).info},
		{"RecvContent", (*netTest).recvContent},
		{"RecvOrderAndBatches", (*netTest).recvOrder},
		{"RecvEmpty", (*netTest).recvEmpty},
		{"RecvLarge", (*netTest).recvLarge},
		{"RecvMeta", (*netTest).recvMeta},
		{"ReadyWakes", (*netTest).readyWakes},
		{"SendContent", (*netTest).sendContent},
		{"SendChain", (*netTest).sendChain},
		{"SendOrderAndBatches", (*netTest).sendOrder},
		{"SendMeta", (*netTest).sendMeta},
		{"SendMalformed", (*netTest).sendMalformed},
		{"SendBackPressure", (*netTest).sendBackPressure},
		{"SendReceived", (*netTest).sendReceived},
		{"Turn", (*netTest).turn},
		{"TurnPanics", (*netTest).turnPanics},
		{"TurnGone", (*netTest).turnGone},
		{"AllocExhausted", (*netTest).allocExhausted},
		{"HeldFramesDontStarveSend", (*netTest).heldFrames},
		{"HeldPagesDontStopRecv", (*netTest).heldPages},
		{"DoubleRelease", (*netTest).doubleRelease},
		{"NoPageLost", (*netTest).noPageLost},
		{"Gone", (*netTest).gone},
		{"GoneWakes", (*netTest).goneWakes},
		{"Close", (*netTest).close},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.run(&netTest{T: t, NetUnderTest: open(t)})
		})
	}
}

type netTest struct {
	*testing.T
	NetUnderTest
}

// frame makes a frame of n bytes that differs from others by seq.
func (t *netTest) frame(seq, n int) []byte {
	mac := t.Dev.Info().MAC
	f := make([]byte, n)
	for i := range f {
		f[i] = byte(seq + i*7 + i>>8)
	}
	copy(f, mac[:])
	copy(f[6:], []byte{2, 0, 0, byte(seq >> 8), byte(seq), 9})
	binary.BigEndian.PutUint16(f[12:], 0x88b5) // for local experiments (IEEE 802)
	return f
}

// buf makes a Buf, or a chain if the frame takes more pages.
func (t *netTest) buf(frame []byte) *iopage.Buf {
	t.Helper()
	head, err := t.Dev.Alloc()
	if err != nil {
		t.Fatalf("Alloc: %v", err)
	}
	for b := head; ; {
		n := min(len(frame), iopage.Size-b.HeadRoom())
		b.SetWindow(b.HeadRoom(), n)
		copy(b.Bytes(), frame)
		if frame = frame[n:]; len(frame) == 0 {
			return head
		}
		next, err := t.Pool.Get()
		if err != nil {
			t.Fatalf("Get: %v", err)
		}
		b.SetNext(next)
		b = next
	}
}

// content joins a chain.
func content(b *iopage.Buf) (p []byte) {
	for ; b != nil; b = b.Next() {
		p = append(p, b.Bytes()...)
	}
	return p
}

// recv takes exactly one frame.
func (t *netTest) recv() device.Frame {
	t.Helper()
	var f [1]device.Frame
	if n, err := t.Dev.Recv(f[:]); n != 1 || err != nil {
		t.Fatalf("Recv = %d, %v, want one frame", n, err)
	}
	return f[0]
}

// send sends exactly one frame.
func (t *netTest) send(f device.Frame) {
	t.Helper()
	if n, err := t.Dev.Send([]device.Frame{f}); n != 1 || err != nil {
		t.Fatalf("Send = %d, %v, want one frame sent", n, err)
	}
}

// deliver puts a frame on the wire that must find room.
func (t *netTest) deliver(frame []byte, m device.Meta) {
	t.Helper()
	if !t.Peer.Deliver(frame, m) {
		t.Fatal("the driver left no room for a frame")
	}
}

// took checks what the driver sent next.
func (t *netTest) took(want []byte) device.Meta {
	t.Helper()
	got, m, ok := t.Peer.Take()
	if !ok {
		t.Fatal("nothing on the wire")
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("on the wire are %d bytes, not the %d sent", len(got), len(want))
	}
	return m
}

// quiet checks that the driver sent nothing more.
func (t *netTest) quiet() {
	t.Helper()
	if got, _, ok := t.Peer.Take(); ok {
		t.Fatalf("%d bytes on the wire that nobody sent", len(got))
	}
}

// waits checks that a wait on s, begun before act, ends.
func (t *netTest) waits(s *event.Source, act func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		s.Wait()
		close(done)
	}()
	time.Sleep(2 * time.Millisecond)
	select {
	case <-done:
		t.Fatal("ready before anything happened")
	default:
	}
	act()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Fatal("the wait did not end")
	}
}

func (t *netTest) info() {
	i := t.Dev.Info()
	if t.Dev.Name() == "" {
		t.Error("no name")
	}
	if i.MAC == [6]byte{} || i.MAC[0]&1 != 0 {
		t.Errorf("MAC %x", i.MAC)
	}
	if i.MTU < 68 || i.MTU > 65535 {
		t.Errorf("MTU %d", i.MTU)
	}
	if i.HeadRoom < 0 || i.HeadRoom > 256 {
		t.Errorf("HeadRoom %d", i.HeadRoom)
	}
	if i.Batch < 1 {
		t.Errorf("Batch %d", i.Batch)
	}
	if i != t.Dev.Info() {
		t.Error("Info changes")
	}
}

func (t *netTest) sizes() []int {
	return []int{14, 15, 60, 64, 65, 577, t.Dev.Info().MTU + 13, t.Dev.Info().MTU + 14}
}

func (t *netTest) doubleRelease() {
	t.deliver(t.frame(1, 60), device.Meta{})
	f := t.recv()
	f.Buf.Release()
	defer func() {
		if recover() == nil {
			t.Error("a page was released twice without a panic")
		}
	}()
	f.Buf.Release()
}

// drain counts the pages that Alloc gives until it gives no more, and releases
// them.
func (t *netTest) drain() int {
	t.Helper()
	var held []*iopage.Buf
	for {
		b, err := t.Dev.Alloc()
		if err != nil {
			if !errors.Is(err, device.ErrAgain) {
				t.Fatalf("Alloc with all pages in use: %v", err)
			}
			break
		}
		held = append(held, b)
	}
	for b := range slices.Values(held) {
		b.Release()
	}
	return len(held)
}

func (t *netTest) noPageLost() {
	before := t.drain()
	frames := make([]device.Frame, 8)
	for round := range 300 {
		for i := range 5 {
			t.deliver(t.frame(round, 60+i), device.Meta{})
		}
		n, err := t.Dev.Recv(frames)
		if n != 5 || err != nil {
			t.Fatalf("round %d: Recv = %d, %v", round, n, err)
		}
		for i := range 2 {
			frames[i].Buf.Release()
		}
		if n, err := t.Dev.Send(frames[2:5]); n != 3 || err != nil {
			t.Fatalf("round %d: Send = %d, %v", round, n, err)
		}
		for range 3 {
			if _, _, ok := t.Peer.Take(); !ok {
				t.Fatalf("round %d: a frame was not sent", round)
			}
		}
	}
	if after := t.drain(); after < before {
		t.Errorf("%d pages could be had at first, %d after 300 rounds", before, after)
	}
}

func (t *netTest) allocExhausted() {
	first := t.drain()
	if first == 0 {
		t.Fatal("no page to send with")
	}
	for range 3 {
		if n := t.drain(); n != first {
			t.Fatalf("%d pages, then %d", first, n)
		}
	}
	b, err := t.Dev.Alloc()
	if err != nil {
		t.Fatal(err)
	}
	if b.HeadRoom() < t.Dev.Info().HeadRoom || b.Len() != 0 || b.Next() != nil {
		t.Errorf("Alloc left head room %d of %d, window %d", b.HeadRoom(), t.Dev.Info().HeadRoom, b.Len())
	}
	b.Release()
}
