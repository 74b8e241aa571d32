// Package netiftest offers pairs of network devices joined by a wire that can
// lose, repeat and reorder, for tests of what stands on device.Net.
//
// The devices are strict: a sender that breaks the contract of device.Net has
// it written down, and Check fails the test. Their offloads are done in
// software by code that shares nothing with the code under test.
package netiftest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"ampoule/libos/device"
	"ampoule/libos/event"
	"ampoule/libos/iopage"
)

// Options describes a device and its direction of the wire. The zero value is
// a perfect wire with an MTU of 1500 and no offload.
type Options struct {
	MTU      int            // bytes of an Ethernet payload; 0: 1500
	Offload  device.Feature // what the device can do
	Pages    int            // I/O pages of the device; 0: 1024
	TxRing   int            // frames that fit in while the device is stalled; 0: 256
	RxRing   int            // frames that wait to be received; 0: 256
	RxPiece  int            // bytes of a frame on one received page; 0: as many as fit
	Seed     uint64         // of the wire's chances
	Loss     float64        // chance that a sent frame is lost
	Repeat   float64        // chance that it arrives twice
	Reorder  float64        // chance that it is overtaken by the next
	HeadRoom int            // NetInfo.HeadRoom; 0: 12
	Returns  bool           // NetInfo.Returns; see Leave
	// Constants is NetInfo.Constants; Tailed counts the octets of it that were sent, unless it is nil.
	Constants string
	Tailed    *atomic.Int64
}

func (o *Options) fill() {
	for _, d := range []struct {
		p *int
		v int
	}{{&o.MTU, 1500}, {&o.Pages, 1024}, {&o.TxRing, 256}, {&o.RxRing, 256}, {&o.HeadRoom, 12}, {&o.RxPiece, iopage.Size}} {
		if *d.p == 0 {
			*d.p = d.v
		}
	}
}

// Device is one end of a pair. It implements device.Net.
type Device struct {
	name string
	opts Options
	pool *iopage.Pool
	info device.NetInfo
	peer *Device
	src  event.Source

	mu      sync.Mutex
	rx      []device.Frame // received, on pages of pool
	tx      []device.Frame // sent while stalled
	stalled bool
	gone    bool
	wire    wire
	faults  []string
	asked   int // times that nothing was there to receive
	dropped int // frames for which rx or pool had no room
}

var _ device.Net = (*Device)(nil)

// Pair makes two devices on one wire. Each Options speaks of what the device
// sends as far as the wire is concerned.
func Pair(a, b Options) (*Device, *Device) {
	x, y := newDevice("net-a", 1, a), newDevice("net-b", 2, b)
	x.peer, y.peer = y, x
	return x, y
}

func newDevice(name string, n byte, o Options) *Device {
	o.fill()
	d := &Device{name: name, opts: o, pool: iopage.NewPool(make([]byte, o.Pages*iopage.Size))}
	d.info = device.NetInfo{
		MAC: [6]byte{0x02, 0, 0, 0, 0, n}, MTU: o.MTU, HeadRoom: o.HeadRoom,
		Offload: o.Offload, Batch: 32, Returns: o.Returns, Constants: o.Constants,
	}
	d.wire.init(o)
	return d
}

// Name implements device.Device.
func (d *Device) Name() string { return d.name }

// Close implements device.Device: the device is gone from now on.
func (d *Device) Close() error {
	d.mu.Lock()
	d.gone = true
	d.mu.Unlock()
	d.src.Wake()
	return nil
}

// Info implements device.Net.
func (d *Device) Info() device.NetInfo {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.info
}

// Leave takes the device away until Return. Options.Returns must be set.
func (d *Device) Leave() {
	d.mu.Lock()
	d.gone = true
	d.mu.Unlock()
	d.src.Wake()
}

// Return brings it back with an address of its own.
func (d *Device) Return(mac [6]byte) {
	d.mu.Lock()
	d.gone, d.info.MAC = false, mac
	d.mu.Unlock()
	d.src.Wake()
}

// Alloc implements device.Net.
func (d *Device) Alloc() (*iopage.Buf, error) {
	b, err := d.pool.Get()
	if err != nil {
		return nil, device.ErrAgain
	}
	b.SetWindow(d.opts.HeadRoom, 0)
	return b, nil
}

// Send implements device.Net.
func (d *Device) Send(frames []device.Frame) (int, error) {
	for i := range frames {
		f := &frames[i]
		if err := d.check(f); err != nil {
			d.fault(err)
			return i, err
		}
		d.mu.Lock()
		switch {
		case d.gone:
			d.mu.Unlock()
			return i, device.ErrGone
		case d.stalled && len(d.tx) == d.opts.TxRing:
			d.mu.Unlock()
			return i, device.ErrAgain
		case d.stalled:
			d.tx = append(d.tx, *f)
			d.mu.Unlock()
			continue
		}
		d.mu.Unlock()
		d.transmit(*f)
	}
	return len(frames), nil
}

// Recv implements device.Net.
func (d *Device) Recv(frames []device.Frame) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := copy(frames, d.rx)
	d.rx = d.rx[:copy(d.rx, d.rx[n:])]
	if n == 0 && d.gone {
		return 0, device.ErrGone
	}
	if n == 0 {
		d.asked++
		return 0, device.ErrAgain
	}
	if len(d.rx) > 0 || d.gone {
		d.src.Wake() // there is more to tell: Ready says so until it is told
	}
	return n, nil
}

// Ready implements device.Net.
func (d *Device) Ready() *event.Source { return &d.src }

// Stall stops the device from sending, or has it send what waits and go on.
func (d *Device) Stall(on bool) {
	d.mu.Lock()
	d.stalled = on
	var out []device.Frame
	if !on {
		out, d.tx = d.tx, nil
	}
	d.mu.Unlock()
	for _, f := range out {
		d.transmit(f)
	}
}

// Pool is the device's I/O pages.
func (d *Device) Pool() *iopage.Pool { return d.pool }

// Inject has d receive bytes as they are.
func (d *Device) Inject(frame []byte) { d.deliver(frame, device.Meta{}) }

// InjectMeta has d receive bytes with what the device claims of them.
func (d *Device) InjectMeta(frame []byte, m device.Meta) { d.deliver(frame, m) }

// Tap has f see each frame that d sends, before the wire's chances. It is
// called by the sender, must not block, and may Inject.
func (d *Device) Tap(f func(frame []byte, m device.Meta)) {
	d.mu.Lock()
	d.wire.tap = f
	d.mu.Unlock()
}

// Waiting is the number of frames that d has not received yet.
func (d *Device) Waiting() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.rx)
}

// Asked is how often d was asked for frames when there were none. As long as one
// goroutine receives, it has dealt with all that came before when it asks again.
func (d *Device) Asked() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked
}

// Check fails t when the contract of device.Net was broken by who uses d, or
// when an I/O page is missing. Nobody may use d any more.
func (d *Device) Check(t testing.TB) {
	t.Helper()
	d.Stall(false)
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.faults {
		t.Errorf("%s: %s", d.name, f)
	}
	for _, f := range d.rx {
		f.Buf.Release()
	}
	d.rx = nil
	if n, _ := d.pool.Free(); n != d.pool.Len() {
		t.Errorf("%s: %d of %d I/O pages did not come back", d.name, d.pool.Len()-n, d.pool.Len())
	}
}

func (d *Device) fault(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.faults) < 10 {
		d.faults = append(d.faults, err.Error())
	}
}

// check holds a sender to the contract.
func (d *Device) check(f *device.Frame) error {
	if f.Buf == nil {
		return errors.New("netiftest: frame without a buffer")
	}
	if f.Buf.HeadRoom() < d.opts.HeadRoom {
		return fmt.Errorf("netiftest: %d bytes of head room, want %d", f.Buf.HeadRoom(), d.opts.HeadRoom)
	}
	off, size := f.Buf.Tail()
	if size > 0 && int(off)+size > len(d.opts.Constants) {
		return errors.New("netiftest: a tail outside the constants")
	}
	for b := f.Buf; b != nil; b = b.Next() {
		size += b.Len()
	}
	m := &f.Meta
	tso := m.GSO == device.GSOTCP4 && d.opts.Offload&device.TSO4 != 0 ||
		m.GSO == device.GSOTCP6 && d.opts.Offload&device.TSO6 != 0
	switch {
	case size < 14:
		return fmt.Errorf("netiftest: frame of %d bytes", size)
	case m.GSO != device.GSONone && !tso:
		return errors.New("netiftest: segmentation that the device does not offer")
	case m.GSO != device.GSONone && (m.SegmentSize == 0 || m.State != device.ChecksumPartial):
		return errors.New("netiftest: segmentation without size or partial checksum")
	case m.GSO == device.GSONone && size > d.opts.MTU+14:
		return fmt.Errorf("netiftest: frame of %d bytes with an MTU of %d", size, d.opts.MTU)
	case m.State == device.ChecksumPartial && d.opts.Offload&device.TxChecksum == 0:
		return errors.New("netiftest: partial checksum that the device can't complete")
	case m.State == device.ChecksumPartial && int(m.CsumStart)+int(m.CsumOffset)+2 > size:
		return errors.New("netiftest: checksum outside the frame")
	}
	return nil
}
