package devicetest

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"

	"ampoule/libos/device"
)

// Disk is a device.Block in memory whose power can be cut. What is written stays
// in its cache until Flush; after a cut, Outcomes gives every content that the
// platters may have. All methods may be called from any goroutine.
type Disk struct {
	info device.BlockInfo

	mu      sync.Mutex
	durable map[uint64]string   // by sector; not there: zeros
	cache   map[uint64][]string // by sector: writes since the last flush, in order
	steps   int                 // sector writes and flushes done
	cut     int                 // the step at which the power goes; negative: none
	off     bool
	bad     map[uint64]bool
}

var _ device.Block = (*Disk)(nil)

// NewDisk makes a disk full of zeros.
func NewDisk(info device.BlockInfo) *Disk {
	return &Disk{info: info, durable: map[uint64]string{}, cache: map[uint64][]string{}, cut: -1, bad: map[uint64]bool{}}
}

// Name implements device.Device.
func (d *Disk) Name() string { return "disk" }

// Info implements device.Block.
func (d *Disk) Info() device.BlockInfo { return d.info }

// Close implements device.Device.
func (d *Disk) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.off = true
	return nil
}

// CutAt takes the power away instead of step n, counted from 0: each written
// sector and each flush is one. From then on all calls answer device.ErrGone.
func (d *Disk) CutAt(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cut, d.steps = n, 0
}

// Steps is the number of steps since the disk was made or CutAt.
func (d *Disk) Steps() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.steps
}

// Spoil makes each access to a sector fail with device.ErrIO, or work again.
func (d *Disk) Spoil(sector uint64, bad bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.bad[sector] = bad
}

// step says whether there is power for one more.
func (d *Disk) step() error {
	if d.off || d.steps == d.cut {
		d.off = true
		return fmt.Errorf("disk: %w", device.ErrGone)
	}
	d.steps++
	return nil
}

// ReadAt implements device.Block.
func (d *Disk) ReadAt(p []byte, sector uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		return fmt.Errorf("disk: %w", device.ErrGone)
	}
	if err := d.info.Check(len(p), sector); err != nil {
		return err
	}
	for ; len(p) > 0; sector++ {
		if d.bad[sector] {
			return fmt.Errorf("disk: sector %d: %w", sector, device.ErrIO)
		}
		now := p[:d.info.SectorSize]
		clear(now)
		if c := d.cache[sector]; len(c) > 0 {
			copy(now, c[len(c)-1])
		} else {
			copy(now, d.durable[sector])
		}
		p = p[len(now):]
	}
	return nil
}

// WriteAt implements device.Block.
func (d *Disk) WriteAt(p []byte, sector uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.info.Check(len(p), sector); err != nil {
		return err
	}
	if d.info.ReadOnly {
		return device.ErrReadOnly
	}
	for ; len(p) > 0; sector++ {
		if d.bad[sector] {
			return fmt.Errorf("disk: sector %d: %w", sector, device.ErrIO)
		}
		if err := d.step(); err != nil {
			return err
		}
		d.cache[sector] = append(d.cache[sector], string(p[:d.info.SectorSize]))
		p = p[d.info.SectorSize:]
	}
	if d.off {
		return fmt.Errorf("disk: %w", device.ErrGone)
	}
	return nil
}

// Flush implements device.Block.
func (d *Disk) Flush() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step(); err != nil {
		return err
	}
	for sector, writes := range d.cache {
		d.durable[sector] = writes[len(writes)-1]
	}
	clear(d.cache)
	return nil
}

// Choices is the number of Outcomes, or limit if there are more.
func (d *Disk) Choices(limit int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 1
	for _, w := range d.cache {
		if n *= 1 + len(w); n >= limit {
			return limit
		}
	}
	return n
}

// Outcomes gives a fresh disk, with power, for each content that a cut now may
// leave: every sector holds what was durable or one of the writes since, whatever
// the others hold. That is every subset of the writes in every order.
func (d *Disk) Outcomes() iter.Seq[*Disk] {
	return func(yield func(*Disk) bool) {
		d.mu.Lock()
		sectors := slices.Sorted(maps.Keys(d.cache))
		d.mu.Unlock()
		choice := make([]int, len(sectors))
		for {
			if !yield(d.outcome(sectors, choice)) || !d.advance(sectors, choice) {
				return
			}
		}
	}
}

// Outcome gives one of the Outcomes: pick is asked for each written sector for a
// number below n, of which 0 is what was durable.
func (d *Disk) Outcome(pick func(n int) int) *Disk {
	d.mu.Lock()
	sectors := slices.Sorted(maps.Keys(d.cache))
	d.mu.Unlock()
	choice := make([]int, len(sectors))
	for i, s := range sectors {
		choice[i] = pick(1 + len(d.cache[s]))
	}
	return d.outcome(sectors, choice)
}

// advance counts choice up by one; false after the last.
func (d *Disk) advance(sectors []uint64, choice []int) bool {
	for i, s := range sectors {
		if choice[i]++; choice[i] <= len(d.cache[s]) {
			return true
		}
		choice[i] = 0
	}
	return false
}

// outcome is a disk on which choice[i] of the writes of sectors[i] came last.
func (d *Disk) outcome(sectors []uint64, choice []int) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	to := NewDisk(d.info)
	maps.Copy(to.durable, d.durable)
	for i, s := range sectors {
		if choice[i] > 0 {
			to.durable[s] = d.cache[s][choice[i]-1]
		}
	}
	return to
}
