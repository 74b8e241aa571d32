package store

import (
	"crypto/sha256"
	"errors"

	"ampoule/libos/device"
	"ampoule/libos/format"
)

// Why a disk is refused.
var (
	// ErrDamaged says that the disk was a store's, and that neither slot is
	// good.
	ErrDamaged = errors.New("store: damaged")
	// ErrForeign says that the disk holds something else, or another owner's
	// store.
	ErrForeign = errors.New("store: disk holds something else")
	// ErrKey says that the store was made with another key, or with one while
	// none was given, or without one.
	ErrKey = errors.New("store: key does not fit")
	// ErrSmall says that the disk has less than DiskSize bytes.
	ErrSmall = errors.New("store: disk is too small")
)

// Config says where a store keeps its values.
type Config struct {
	// Disk keeps the values; nil: they live in memory only. The store has the
	// disk for itself and does not close it.
	Disk device.Block
	// Owner says whose store it is, such as the appliance's kind and name: a
	// disk of another owner is refused.
	Owner string
	// Key has KeySize bytes; nil: private values are refused. It is copied.
	Key []byte
}

// slot is what was found in one.
type slot struct {
	header header
	values map[string]value // of a good one
	proven bool             // the header is one that a store with this key made
	err    error            // why it is not good; nil also for a commit begun
}

func (s *slot) good() bool { return s.err == nil && s.header.state == stateWhole }

// slotName is what messages call a slot.
func slotName(i int) string { return string(rune('A' + i)) }

// Open reads a store. Nothing is written before the first Commit. A disk that
// can not be used is an error that wraps ErrDamaged, ErrForeign, ErrKey, ErrSmall
// or one of package device; the disk is left as it is. It blocks for the disk.
func Open(c Config) (*Store, error) {
	if c.Key != nil && len(c.Key) != KeySize {
		return nil, format.Errorf("store: key of %d bytes, must have %d", len(c.Key), KeySize)
	}
	s := &Store{disk: c.Disk, values: map[string]value{}}
	s.owner = sha256.Sum256([]byte("ampoule store owner\x00" + c.Owner))
	s.key = append(s.key, c.Key...)
	if s.disk == nil {
		s.notice = "not persisted: there is no disk"
		return s, nil
	}
	if info := s.disk.Info(); info.Sectors < uint64(DiskSize/info.SectorSize) {
		return nil, format.Errorf("%w: %s has %d sectors of %d bytes, needs %d", ErrSmall,
			s.disk.Name(), info.Sectors, info.SectorSize, DiskSize/info.SectorSize)
	}
	var slots [2]slot
	for i := range slots {
		slots[i] = s.readSlot(i)
		if errors.Is(slots[i].err, device.ErrGone) {
			return nil, format.Errorf("store: %s: %w", s.disk.Name(), slots[i].err)
		}
	}
	if err := s.choose(&slots); err != nil {
		return nil, format.Errorf("%w (%s)", err, s.disk.Name())
	}
	return s, nil
}

// choose takes the values of the better slot.
func (s *Store) choose(slots *[2]slot) error {
	a, b := &slots[0], &slots[1]
	best := -1
	for i := range slots {
		if slots[i].proven {
			s.tried = max(s.tried, slots[i].header.generation)
		}
		if slots[i].good() && (best < 0 || slots[i].header.generation > slots[best].header.generation) {
			best = i
		}
	}
	if best < 0 {
		return s.none(a, b)
	}
	if a.good() && b.good() && a.header.generation == b.header.generation && a.header.values != b.header.values {
		return format.Errorf("%w: both slots claim generation %d, with different values", ErrDamaged, a.header.generation)
	}
	s.values, s.generation = slots[best].values, slots[best].header.generation
	s.slot = best
	other := &slots[1-best]
	switch {
	case other.err == nil && other.header.state == stateBegun:
		s.notice = format.Sprintf("the commit of generation %d was interrupted; generation %d is in use", other.header.generation, s.generation)
	case other.err != nil && (s.generation > 1 || !errors.Is(other.err, errBlank)):
		s.notice = format.Sprintf("slot %s: %v; generation %d is in use, and may not be the latest", slotName(1-best), other.err, s.generation)
	}
	return nil
}

// none decides what a disk without a good slot is: new, or which error.
func (s *Store) none(a, b *slot) error {
	// B is written only once A is whole.
	if (a.err == nil || errors.Is(a.err, errBlank)) && errors.Is(b.err, errBlank) {
		return s.fresh(a)
	}
	why := format.Sprintf("slot A: %s; slot B: %s", a.reason(), b.reason())
	for _, kind := range []error{ErrKey, ErrForeign} {
		if errors.Is(a.err, kind) || errors.Is(b.err, kind) {
			return format.Errorf("%w: %s", kind, why)
		}
	}
	foreign := func(x *slot) bool { return errors.Is(x.err, errNoStore) || errors.Is(x.err, errBlank) }
	if foreign(a) && foreign(b) {
		return format.Errorf("%w: %s", ErrForeign, why)
	}
	return format.Errorf("%w: %s", ErrDamaged, why)
}

// fresh starts with no values on a disk that has zeros where the slots begin. So
// have disks of other systems, which keep what is at the beginning of a disk for
// a boot loader: a new one has zeros wherever a store will write.
func (s *Store) fresh(a *slot) error {
	s.slot = 1
	first := 1 // slot that must be empty
	if a.err == nil {
		s.notice = "the first commit was interrupted; the store is empty"
	} else {
		first = 0
	}
	for i := first; i < 2; i++ {
		empty, err := s.empty(i)
		if err != nil {
			return format.Errorf("store: slot %s: %w", slotName(i), err)
		}
		if !empty {
			return format.Errorf("%w: slot %s begins with zeros and is not empty", ErrForeign, slotName(i))
		}
	}
	return nil
}

// empty says whether a slot holds nothing but zeros.
func (s *Store) empty(i int) (bool, error) {
	p := make([]byte, 64<<10)
	size := s.disk.Info().SectorSize
	for at := 0; at < SlotSize; at += len(p) {
		if err := s.disk.ReadAt(p, s.first(i)+uint64(at/size)); err != nil {
			return false, err
		}
		for _, b := range p {
			if b != 0 {
				return false, nil
			}
		}
	}
	return true, nil
}

func (s *slot) reason() string {
	if s.err == nil {
		return format.Sprintf("the commit of generation %d was interrupted", s.header.generation)
	}
	return s.err.Error()
}

// readSlot reads and checks one slot.
func (s *Store) readSlot(i int) (x slot) {
	size := s.disk.Info().SectorSize
	p := make([]byte, size)
	if x.err = s.disk.ReadAt(p, s.first(i)); x.err != nil {
		return x
	}
	s.heads[i] = append(s.heads[i], p[:headerSize]...)
	if x.header, x.err = parse(p); x.err != nil {
		return x
	}
	h := &x.header
	if h.owner != s.owner {
		x.err = format.Errorf("%w: another owner's store", ErrForeign)
		return x
	}
	if h.sealed != (s.key != nil) {
		x.err = format.Errorf("%w: sealed %v, key given %v", ErrKey, h.sealed, s.key != nil)
		return x
	}
	var k keys
	if k, x.err = derive(s.key, h); x.err != nil {
		return x
	}
	if h.sealed && !k.proves(p) {
		x.err = format.Errorf("%w: %w", ErrKey, errProof)
		return x
	}
	if x.proven = true; h.state == stateBegun {
		return x
	}
	p = make([]byte, roundUp(int(h.length), size))
	if x.err = s.disk.ReadAt(p, s.first(i)+uint64(valuesAt/size)); x.err != nil {
		return x
	}
	x.values, x.err = decode(h, k, p[:h.length])
	return x
}

// first is the sector with which a slot begins.
func (s *Store) first(i int) uint64 { return uint64(i * (SlotSize / s.disk.Info().SectorSize)) }

func roundUp(n, size int) int { return (n + size - 1) / size * size }
