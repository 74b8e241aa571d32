package xentest

import (
	"encoding/binary"
	"fmt"
	"maps"
	"strconv"
	"sync"

	"ampoule/drivers/xen"
	"ampoule/drivers/xen/abi"
)

// blkSlots is the number of slots of a disk's ring: the largest power of two of
// 112 bytes each that a page has room for.
const blkSlots = 32

// LinuxDisk is what Linux 6.1's blkback offers for a disk of n bytes.
func LinuxDisk(n int) map[string]string {
	return map[string]string{
		"feature-flush-cache": "1", "feature-barrier": "1", "feature-persistent": "1", "feature-discard": "0",
		"max-ring-page-order": "4", "multi-queue-max-queues": "2", "feature-max-indirect-segments": "256",
		"sectors": strconv.Itoa(n / 512), "sector-size": "512", "physical-sector-size": "512", "info": "0",
	}
}

// Blkback is the backend of one vbd. It carries requests out within the VM's
// Notify. It tells what the disk is like only when it goes to Connected.
type Blkback struct {
	Front, Back string // directories in the store

	// Answer, if not nil, is called instead of an answer with the ring's lock
	// held: Ring is the test's.
	Answer func(id uint64, op uint8, status int16)
	Ring   Ring
	Lazy   bool // reads write no data and claim that they did

	d *Dom0

	mu      sync.Mutex
	offers  map[string]string
	linked  bool
	links   int
	content []byte
	flushes int
	fail    bool
	hold    bool
	held    [][]byte
}

// AddVBD makes a disk as the toolstack does, with the backend waiting for the VM.
func (d *Dom0) AddVBD(number int, content []byte, offers map[string]string) *Blkback {
	b := &Blkback{
		Front:   fmt.Sprintf("/local/domain/%d/device/vbd/%d", Domain, number),
		Back:    fmt.Sprintf("/local/domain/0/backend/vbd/%d/%d", Domain, number),
		d:       d,
		content: content, offers: maps.Clone(offers),
	}
	d.Store.onWrite(b.written)
	b.Restart()
	return b
}

// Restart makes both directories anew, as after a restore. What was held is
// forgotten.
func (b *Blkback) Restart() {
	b.mu.Lock()
	b.linked, b.held = false, nil
	b.mu.Unlock()
	s := b.d.Store
	s.Remove(b.Front)
	s.Remove(b.Back)
	s.Set(b.Back+"/frontend", b.Front)
	s.Set(b.Back+"/online", "1")
	s.Set(b.Back+"/feature-flush-cache", "0") // until it is known
	s.Set(b.Back+"/state", "2")
	s.Set(b.Front+"/backend-id", "0")
	s.Set(b.Front+"/virtual-device", "51712")
	s.Set(b.Front+"/state", "1")
	s.Set(b.Front+"/backend", b.Back)
}

// Offer changes what the backend says of the disk at the next handshake.
func (b *Blkback) Offer(key, value string) { b.locked(func() { b.offers[key] = value }) }

// Links is how often the ring was taken into use.
func (b *Blkback) Links() (n int) {
	b.locked(func() { n = b.links })
	return n
}

// SetState writes the backend's state.
func (b *Blkback) SetState(s abi.State) { b.d.Store.Set(b.Back+"/state", strconv.Itoa(int(s))) }

// written is told of what the VM writes: the backend's half of the handshake.
func (b *Blkback) written(path, value string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if path != b.Front+"/state" {
		return
	}
	state, _ := b.d.Store.Get(b.Back + "/state")
	switch {
	case value == "1" && (state == "6" || state == "5"):
		b.SetState(abi.StateInitWait)
	case (value == "3" || value == "4") && state == "2":
		if err := b.link(); err != nil {
			b.d.Store.Set(b.Back+"/error", err.Error())
			b.SetState(abi.StateClosing)
			return
		}
		for k, v := range b.offers {
			b.d.Store.Set(b.Back+"/"+k, v)
		}
		b.SetState(abi.StateConnected)
	case value == "5":
		b.SetState(abi.StateClosing)
	case value == "6":
		b.linked, b.held = false, nil
		b.SetState(abi.StateClosed)
	}
}

// link takes the ring into use. Called with mu held.
func (b *Blkback) link() error {
	number := func(key string) (uint32, error) {
		v, _ := b.d.Store.Get(b.Front + "/" + key)
		n, err := strconv.ParseUint(v, 10, 32)
		return uint32(n), err
	}
	ref, err := number("ring-ref")
	if err != nil {
		return err
	}
	port, err := number("event-channel")
	if err != nil {
		return err
	}
	if v, _ := b.d.Store.Get(b.Front + "/protocol"); v != "x86_64-abi" {
		return fmt.Errorf("protocol %q", v)
	}
	if !b.d.connect(xen.Port(port), b.work) {
		return fmt.Errorf("port %d is not for us", port)
	}
	b.Ring = Ring{Page: b.d.page(ref), stride: abi.BlkSlot, size: blkSlots}
	b.Ring.Rearm()
	b.linked = true
	b.links++
	return nil
}

// work carries out all requests there are.
func (b *Blkback) work() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.linked {
		return
	}
	for b.Ring.Pending() > 0 {
		r := append([]byte(nil), b.Ring.request(0)...)
		b.Ring.Skip(1)
		if b.hold {
			b.held = append(b.held, r)
			continue
		}
		b.one(r)
	}
	b.Ring.Rearm()
}

// one carries out a request.
func (b *Blkback) one(r []byte) {
	le := binary.LittleEndian
	op, segments, id, at := r[0], int(r[1]), le.Uint64(r[8:]), le.Uint64(r[16:])*512
	if segments > abi.MaxSegments || op == abi.BlkFlush && segments != 0 {
		panic(Violation(fmt.Sprintf("blkback: operation %d with %d segments", op, segments)))
	}
	for i := range segments {
		s := r[24+8*i:]
		first, last := int(s[4]), int(s[5])
		if first > last || last > 7 || at+uint64(last-first+1)*512 > uint64(len(b.content)) {
			panic(Violation(fmt.Sprintf("blkback: sectors %d to %d of a page, at %d", first, last, at)))
		}
		mem, disk := b.d.page(le.Uint32(s))[first*512:(last+1)*512], b.content[at:]
		switch {
		case b.fail:
		case op == abi.BlkRead && !b.Lazy:
			copy(mem, disk)
		case op == abi.BlkWrite:
			copy(disk, mem)
		}
		at += uint64(len(mem))
	}
	status := int16(abi.BlkOK)
	switch {
	case b.fail:
		b.fail, status = false, abi.BlkError
	case op == abi.BlkFlush:
		b.flushes++
	case op > abi.BlkFlush || op == 2:
		panic(Violation(fmt.Sprintf("blkback: operation %d", op)))
	}
	if b.Answer != nil {
		b.Answer(id, op, status)
		return
	}
	b.Respond(id, op, status)
	b.Ring.Publish()
}

// Respond writes a response, and does not show it.
func (b *Blkback) Respond(id uint64, op uint8, status int16) {
	at := b.Ring.at(b.Ring.rsp)
	binary.LittleEndian.PutUint64(b.Ring.Page[at:], id)
	binary.LittleEndian.PutUint32(b.Ring.Page[at+8:], uint32(op)|uint32(uint16(status))<<16)
	b.Ring.rsp++
}

// Content implements devicetest.BlockPeer.
func (b *Blkback) Content() []byte { return b.content }

// Fail implements devicetest.BlockPeer.
func (b *Blkback) Fail() { b.locked(func() { b.fail = true }) }

// Hold implements devicetest.BlockPeer.
func (b *Blkback) Hold(on bool) {
	b.locked(func() {
		b.hold = on
		for _, r := range b.held {
			b.one(r)
		}
		b.held = nil
	})
}

// Held is the number of requests without an answer.
func (b *Blkback) Held() (n int) {
	b.locked(func() { n = len(b.held) })
	return n
}

// Flushes implements devicetest.BlockPeer.
func (b *Blkback) Flushes() (n int) {
	b.locked(func() { n = b.flushes })
	return n
}

// Break implements devicetest.BlockPeer.
func (b *Blkback) Break() {
	b.locked(func() {
		b.Answer = func(uint64, uint8, int16) { b.Ring.SetRspProd(b.Ring.RspProd() + 100) }
	})
}

func (b *Blkback) locked(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}
