// Package virtiorng reads entropy from a virtio entropy device (virtio 1.2,
// section 5.4): one queue, one request at a time, into one I/O page.
//
// The device is not trusted to be good, only checked for being broken: bytes
// are taken in blocks of BlockSize, and a block that repeats within itself or
// equals the one before it (the continuous test of SP 800-90B, section 4.4, on
// blocks instead of samples) ends the device with ErrBroken. Mix what it gives
// with other sources; that is libos/entropy's task.
package virtiorng

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"ampoule/drivers/virtio"
	"ampoule/libos/device"
	"ampoule/libos/event"
	"ampoule/libos/iopage"
	"ampoule/libos/rt/rtabi"
)

// Features is all that this driver can use; the device has none of its own.
const Features = virtio.FeatureEventIndex | virtio.FeatureVersion1

// BlockSize is the unit of the checks, in bytes. Two good blocks are equal with
// a chance of 2^-256.
const BlockSize = 32

// maxTurns bounds the requests for one block: a device may answer any number of
// bytes from one up.
const maxTurns = BlockSize

var (
	// ErrTimeout says that the device did not answer in time. The request
	// stays with it, and a later Read takes the answer.
	ErrTimeout = errors.New("virtiorng: no entropy in time")
	// ErrBroken says that what the device gives is not random. The device is
	// out of use.
	ErrBroken = errors.New("virtiorng: entropy repeats")
)

// Device is one entropy device: a device.Device and an io.Reader. All methods
// may be called from any goroutine; Read calls are served one after the other.
type Device struct {
	name    string
	timeout time.Duration

	mu      sync.Mutex // guards all below but src
	q       *virtio.Queue
	page    *iopage.Buf
	pending bool // the page is with the device
	last    [sha256.Size]byte
	some    bool // last is set
	err     error

	src event.Source
}

var _ device.Device = (*Device)(nil)

// New takes over an entropy device as boot left it, keeps one page of pool, and
// registers its event source. timeout is how long Read waits for one answer. A
// device can be taken over once.
func New(name string, t virtio.Transport, pool *iopage.Pool, timeout time.Duration) (*Device, error) {
	d := &Device{name: name, timeout: timeout}
	if id := t.DeviceID(); id != virtio.EntropySource {
		return nil, fmt.Errorf("virtiorng: %s: device of kind %d is no entropy source", name, id)
	}
	var err error
	if d.q, err = virtio.NewQueue(t, 0); err != nil {
		return nil, fmt.Errorf("virtiorng: %s: %w", name, err)
	}
	if d.page, err = pool.Get(); err != nil {
		return nil, fmt.Errorf("virtiorng: %s: %w", name, err)
	}
	d.src.Counter = d.q.Ring().UsedIndex()
	if d.q.EventIndex() {
		d.src.Arm = d.q.Ring().UsedEvent()
	}
	if err := event.Register(&d.src); err != nil {
		d.page.Release()
		return nil, fmt.Errorf("virtiorng: %s: %w", name, err)
	}
	// The one descriptor never changes, so this is the only post.
	d.q.Stage(0, 0, rtabi.DescWrite, d.page.Offset(), BlockSize)
	return d, nil
}

// Name implements device.Device.
func (d *Device) Name() string { return d.name }

// Close puts the device out of use: Read answers device.ErrGone from then on. It
// waits for a Read that is under way. The page stays with the device, which may
// still write it.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil {
		d.err = device.ErrGone
	}
	return nil
}

// Read fills p with entropy, or fails and leaves p zeroed. It blocks, for at
// most the timeout for each answer of the device. Errors are ErrTimeout, after
// which it may be called again, ErrBroken, and device.ErrGone.
func (d *Device) Read(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var block [BlockSize]byte
	defer clear(block[:])
	for done := 0; done < len(p); {
		if err := d.block(&block); err != nil {
			clear(p)
			return 0, fmt.Errorf("%s: %w", d.name, err)
		}
		done += copy(p[done:], block[:])
	}
	return len(p), nil
}

// block fills in the next block and checks it. What is checked is the copy, not
// the page, which the device could change meanwhile.
func (d *Device) block(b *[BlockSize]byte) error {
	have := 0
	for range maxTurns {
		n, err := d.request(b[have:])
		if err != nil {
			return err
		}
		if have += n; have == len(b) {
			break
		}
	}
	if d.err = d.check(b); d.err != nil {
		return d.err
	}
	return nil
}

// check fails when b is made of one repeated half, quarter and so on (all zero
// is), or equals the block before it, of which only a hash is kept.
func (d *Device) check(b *[BlockSize]byte) error {
	if [BlockSize / 2]byte(b[:BlockSize/2]) == [BlockSize / 2]byte(b[BlockSize/2:]) {
		return ErrBroken
	}
	sum := sha256.Sum256(b[:])
	if d.some && sum == d.last {
		return ErrBroken
	}
	d.last, d.some = sum, true
	return nil
}

// request waits for one answer of the device and copies up to len(p) bytes of
// it; the page is cleared after it.
func (d *Device) request(p []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	if !d.pending {
		d.pending = true
		d.q.Push(0)
		d.q.Flush()
	}
	if err := d.wait(); err != nil {
		return 0, err
	}
	_, n, ok := d.q.Next()
	if !ok || n == 0 || n > BlockSize {
		d.q.Fail(fmt.Errorf("virtiorng: used length %d of a buffer of %d", n, BlockSize))
		d.err = fmt.Errorf("%w: %w", device.ErrGone, d.q.Err())
		return 0, d.err
	}
	d.pending = false
	d.src.Seen = d.q.Taken()
	got := d.page.Page()[:n]
	k := copy(p, got)
	clear(got)
	return k, nil
}

// wait parks the goroutine until the device has answered or the time is over.
func (d *Device) wait() error {
	end := time.Now().Add(d.timeout)
	var late *time.Timer
	for d.q.Sync() == 0 {
		if err := d.q.Err(); err != nil {
			d.err = fmt.Errorf("%w: %w", device.ErrGone, err)
			return d.err
		}
		left := time.Until(end)
		if left <= 0 {
			return ErrTimeout
		}
		if late == nil {
			late = time.AfterFunc(left, d.src.Wake)
			defer late.Stop()
		}
		d.src.Wait()
	}
	return nil
}
