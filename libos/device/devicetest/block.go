package devicetest

import (
	"bytes"
	"errors"
	"sync"
	"testing"
	"time"

	"ampoule/libos/device"
	"ampoule/libos/iopage"
)

// BlockPeer is the backend behind a disk under test. The suite calls it from one
// goroutine at a time, while others may use the device.
type BlockPeer interface {
	// Content is the disk's bytes, as the backend would give them now.
	Content() []byte
	// Fail makes the backend answer the next request with an error.
	Fail()
	// Hold makes the backend keep requests without an answer until it is told
	// to go on.
	Hold(on bool)
	// Flushes is the number of flushes that reached the backend.
	Flushes() int
	// Break makes the backend break its protocol with the next answer, so that
	// the driver must find out.
	Break()
}

// BlockUnderTest is a fresh disk of at least 512 sectors that can be written.
// Pool is used by nobody else.
type BlockUnderTest struct {
	Dev  device.Block
	Pool *iopage.Pool
	Peer BlockPeer
}

// Block runs the suite for device.Block.
func Block(t *testing.T, open func(t *testing.T) BlockUnderTest) {
	for _, c := range []struct {
		name string
		run  func(*blockTest)
	}{
		{"Info", (*blockTest).info},
		{"Content", (*blockTest).content},
		{"Large", (*blockTest).large},
		{"Range", (*blockTest).ranges},
		{"Flush", (*blockTest).flush},
		{"Concurrent", (*blockTest).concurrent},
		{"Error", (*blockTest).failed},
		{"NoPageLost", (*blockTest).noPageLost},
		{"Gone", (*blockTest).gone},
		{"CloseWakes", (*blockTest).closeWakes},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.run(&blockTest{T: t, BlockUnderTest: open(t)})
		})
	}
}

type blockTest struct {
	*testing.T
	BlockUnderTest
}

// data makes n sectors that differ from others by seq.
func (t *blockTest) data(seq, n int) []byte {
	p := make([]byte, n*t.Dev.Info().SectorSize)
	for i := range p {
		p[i] = byte(seq*31 + i*7 + i>>9)
	}
	return p
}

func (t *blockTest) write(p []byte, sector uint64) {
	t.Helper()
	if err := t.Dev.WriteAt(p, sector); err != nil {
		t.Fatalf("WriteAt(%d bytes, %d): %v", len(p), sector, err)
	}
}

// holds checks what is on the disk, by the device and by the backend.
func (t *blockTest) holds(want []byte, sector uint64) {
	t.Helper()
	got := make([]byte, len(want))
	if err := t.Dev.ReadAt(got, sector); err != nil {
		t.Fatalf("ReadAt(%d bytes, %d): %v", len(got), sector, err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%d bytes from sector %d are not those written", len(want), sector)
	}
	at := int(sector) * t.Dev.Info().SectorSize
	if !bytes.Equal(t.Peer.Content()[at:at+len(want)], want) {
		t.Fatalf("the backend has other bytes from sector %d on", sector)
	}
}

func (t *blockTest) info() {
	i := t.Dev.Info()
	if t.Dev.Name() == "" {
		t.Error("no name")
	}
	if s := i.SectorSize; s < 512 || s > 4096 || s&(s-1) != 0 {
		t.Errorf("SectorSize %d", s)
	}
	if i.Sectors < 512 || i.ReadOnly {
		t.Errorf("Info %+v", i)
	}
	if i.Sectors*uint64(i.SectorSize) != uint64(len(t.Peer.Content())) {
		t.Errorf("%d sectors of %d bytes, the backend has %d", i.Sectors, i.SectorSize, len(t.Peer.Content()))
	}
	if i != t.Dev.Info() {
		t.Error("Info changes")
	}
}

func (t *blockTest) content() {
	i := t.Dev.Info()
	t.holds(make([]byte, 3*i.SectorSize), 5)
	for seq, n := range []int{1, 2, 7, 8, 9, 16, 17, 63} {
		for _, at := range []uint64{0, 1, 7, 100, i.Sectors - uint64(n)} {
			p := t.data(seq+int(at), n)
			t.write(p, at)
			t.holds(p, at)
		}
	}
	one, two := t.data(1, 9), t.data(2, 1)
	t.write(one, 20)
	t.write(two, 24)
	t.holds(one[:4*i.SectorSize], 20)
	t.holds(two, 24)
	t.holds(one[5*i.SectorSize:], 25)
}

// large: more at once than any driver has in flight.
func (t *blockTest) large() {
	p := t.data(3, 480)
	t.write(p, 11)
	t.holds(p, 11)
}

func (t *blockTest) ranges() {
	i := t.Dev.Info()
	before := bytes.Clone(t.Peer.Content())
	for _, c := range []struct {
		n      int
		sector uint64
	}{
		{1, 0}, {i.SectorSize - 1, 0}, {i.SectorSize + 1, 0},
		{i.SectorSize, i.Sectors}, {2 * i.SectorSize, i.Sectors - 1},
		{i.SectorSize, 1 << 63}, {i.SectorSize, 1<<64 - 1},
	} {
		p := bytes.Repeat([]byte{0xaa}, c.n)
		if err := t.Dev.ReadAt(p, c.sector); !errors.Is(err, device.ErrRange) {
			t.Errorf("ReadAt(%d bytes, %d): %v", c.n, c.sector, err)
		}
		if err := t.Dev.WriteAt(p, c.sector); !errors.Is(err, device.ErrRange) {
			t.Errorf("WriteAt(%d bytes, %d): %v", c.n, c.sector, err)
		}
	}
	for _, at := range []uint64{0, i.Sectors} {
		if err := errors.Join(t.Dev.ReadAt(nil, at), t.Dev.WriteAt(nil, at)); err != nil {
			t.Errorf("nothing at %d: %v", at, err)
		}
	}
	if !bytes.Equal(before, t.Peer.Content()) {
		t.Error("a write that was refused is on the disk")
	}
}

func (t *blockTest) flush() {
	for n := range 5 {
		if got := t.Peer.Flushes(); got != n {
			t.Fatalf("%d flushes at the backend, want %d", got, n)
		}
		t.write(t.data(n, 3), 9)
		if err := t.Dev.Flush(); err != nil {
			t.Fatalf("Flush: %v", err)
		}
	}
}

func (t *blockTest) concurrent() {
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			at := uint64(g * 40)
			for round := range 30 {
				p := t.data(g*100+round, 1+round)
				got := make([]byte, len(p))
				err := errors.Join(t.Dev.WriteAt(p, at), t.Dev.Flush(), t.Dev.ReadAt(got, at))
				if err != nil || !bytes.Equal(got, p) {
					t.Errorf("goroutine %d, round %d: %v, or not what was written", g, round, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// failed: an error of the backend is told, and is not the end.
func (t *blockTest) failed() {
	p := t.data(1, 20)
	for what, f := range map[string]func() error{
		"ReadAt":  func() error { return t.Dev.ReadAt(p, 3) },
		"WriteAt": func() error { return t.Dev.WriteAt(p, 3) },
		"Flush":   t.Dev.Flush,
	} {
		t.Peer.Fail()
		if err := f(); !errors.Is(err, device.ErrIO) || errors.Is(err, device.ErrGone) {
			t.Errorf("%s that the backend fails: %v", what, err)
		}
		if err := f(); err != nil {
			t.Errorf("%s afterwards: %v", what, err)
		}
	}
	q := t.data(9, 20)
	t.write(q, 3)
	t.holds(q, 3)
}

func (t *blockTest) noPageLost() {
	p := t.data(1, 40)
	t.write(p, 0)
	before, _ := t.Pool.Free()
	for round := range 50 {
		if round%5 == 0 {
			t.Peer.Fail()
			if err := t.Dev.WriteAt(p, 0); !errors.Is(err, device.ErrIO) {
				t.Fatalf("WriteAt that the backend fails: %v", err)
			}
		}
		t.write(p, 0)
	}
	if after, _ := t.Pool.Free(); after != before {
		t.Errorf("%d pages free, then %d", before, after)
	}
}

// dead checks that no method works, or blocks.
func (t *blockTest) dead() {
	t.Helper()
	p := t.data(0, 1)
	for range 2 {
		for what, err := range map[string]error{
			"ReadAt": t.Dev.ReadAt(p, 0), "WriteAt": t.Dev.WriteAt(p, 0), "Flush": t.Dev.Flush(),
		} {
			if !errors.Is(err, device.ErrGone) {
				t.Errorf("%s of a device that is gone: %v", what, err)
			}
		}
		if err := t.Dev.Close(); err != nil {
			t.Errorf("Close of a device that is gone: %v", err)
		}
	}
}

func (t *blockTest) gone() {
	t.Peer.Break()
	if err := t.Dev.ReadAt(t.data(0, 40), 0); !errors.Is(err, device.ErrGone) {
		t.Fatalf("ReadAt with a breach of the protocol: %v", err)
	}
	t.dead()
}

// closeWakes: Close ends what is under way and what waits behind it.
func (t *blockTest) closeWakes() {
	t.Peer.Hold(true)
	done := make(chan error)
	for i := range 3 {
		go func() {
			if i == 2 {
				done <- t.Dev.Flush()
				return
			}
			done <- t.Dev.WriteAt(t.data(i, 30), uint64(i)*50)
		}()
	}
	select {
	case err := <-done:
		t.Fatalf("a call ended without an answer of the backend: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	if err := t.Dev.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	for i := range 3 {
		select {
		case err := <-done:
			if !errors.Is(err, device.ErrGone) {
				t.Errorf("call that Close ended: %v", err)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("%d calls still wait after Close", 3-i)
		}
	}
	t.dead()
}
