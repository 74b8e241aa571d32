package store

import (
	"bytes"
	"crypto/rand"
	"errors"
	"maps"
	"math"
	"slices"
	"sync"

	"ampoule/libos/device"
	"ampoule/libos/format"
)

// Why a Commit is refused, besides the errors of package device. After these
// nothing has changed, neither here nor on the disk.
var (
	// ErrConflict says that the store is no longer at the generation that a
	// commit builds on.
	ErrConflict = errors.New("store: another generation is current")
	// ErrNoKey says that a private value was given to a store on a disk that has
	// no key.
	ErrNoKey = errors.New("store: no key for private values")
	// ErrTooLarge says that the values would be more than MaxSize or MaxValues.
	ErrTooLarge = errors.New("store: too much")
	// ErrName says that a name is empty, too long or not visible ASCII, or
	// occurs twice.
	ErrName = errors.New("store: bad name")
	// ErrUnsure says that the disk failed in the last step of a commit: the
	// values here are the old ones, and a restart may find either.
	ErrUnsure = errors.New("store: it is not known whether the commit is on the disk")
	// ErrChanged says that the disk no longer holds what this store read or wrote
	// there: another VM has it too, or this one was put back to an earlier state
	// and the disk was not. Nothing was written, and nothing will be until the
	// store is opened anew.
	ErrChanged = errors.New("store: somebody else has written to the disk")
)

// Store holds the values of the current generation in memory and on its disk.
// All methods may be called from any goroutine; only Commit blocks for the disk,
// and the others do not wait for it.
type Store struct {
	disk  device.Block // nil: none
	owner [32]byte
	key   []byte // nil: none

	commit sync.Mutex // held by a Commit; guards the next three
	tried  uint64     // the highest generation that may be on the disk
	slot   int        // that holds the current generation
	heads  [2][]byte  // the slots' headers on the disk; nil: not known

	mu         sync.Mutex // guards all below
	values     map[string]value
	generation uint64
	notice     string
	failed     error // why the last commit did not reach the disk, if it did not
}

// Status says what a store can promise.
type Status struct {
	Persisted  bool   // a restart finds this generation
	Sealed     bool   // there is a key
	Generation uint64 // 0: nothing was ever committed
	Values     int
	// Notice is for the operator: what was wrong when the store was opened, or
	// with the last commit, or that there is no disk. Empty: all is well.
	Notice string
}

// Change is one part of a commit: a value to keep under a name, or a name to
// forget.
type Change struct {
	Name    string
	Value   []byte // copied
	Private bool   // keep it sealed on the disk
	Forget  bool   // it need not be there
}

// Status does not block.
func (s *Store) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	lost := errors.Is(s.failed, ErrUnsure) || errors.Is(s.failed, ErrChanged)
	st := Status{Persisted: s.disk != nil && !lost, Sealed: s.key != nil,
		Generation: s.generation, Values: len(s.values), Notice: s.notice}
	if s.failed != nil {
		st.Notice = "the last commit failed: " + s.failed.Error()
	}
	return st
}

// Get answers a copy of a value. A value that is empty is not the same as none.
func (s *Store) Get(name string) (data []byte, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.values[name]
	return bytes.Clone(v.data), ok
}

// Names answers the names of all values in order, and the generation that they
// are of.
func (s *Store) Names() ([]string, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.values)), s.generation
}

// Commit makes all changes at once, if the store is at generation base, and
// answers the new generation; after an error it is the old one. When Commit
// returns without an error the changes are durable, unless there is no disk. It
// blocks for the disk. Errors are those of this file, and what the disk says.
func (s *Store) Commit(base uint64, changes []Change) (uint64, error) {
	s.commit.Lock()
	defer s.commit.Unlock()
	s.mu.Lock()
	now, values := s.generation, maps.Clone(s.values)
	s.mu.Unlock()
	if base != now {
		return now, format.Errorf("%w: %d, not %d", ErrConflict, now, base)
	}
	if err := s.apply(values, changes); err != nil {
		return now, err
	}
	if s.tried == math.MaxUint64 {
		return now, format.Errorf("%w: no generation after %d", ErrTooLarge, s.tried)
	}
	next := max(now, s.tried) + 1
	if s.disk != nil {
		if err := s.write(next, values); err != nil {
			s.mu.Lock()
			s.failed = err
			s.mu.Unlock()
			return now, err
		}
		s.slot = 1 - s.slot
	}
	s.tried = next
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values, s.generation, s.failed = values, next, nil
	if s.disk != nil {
		s.notice = ""
	}
	return next, nil
}

// apply makes changes in values, and checks what comes out.
func (s *Store) apply(values map[string]value, changes []Change) error {
	seen := make(map[string]bool, len(changes))
	for _, c := range changes {
		if !validName(c.Name) || seen[c.Name] {
			return format.Errorf("%w: %q", ErrName, c.Name)
		}
		seen[c.Name] = true
		switch {
		case c.Forget:
			delete(values, c.Name)
		case c.Private && s.key == nil && s.disk != nil:
			return format.Errorf("%w: %q", ErrNoKey, c.Name)
		default:
			values[c.Name] = value{data: bytes.Clone(c.Value), private: c.Private}
		}
	}
	size := 0
	for name, v := range values {
		size += recordSize + len(name) + len(v.data) + overhead
	}
	if size > MaxSize || len(values) > MaxValues {
		return format.Errorf("%w: %d values of %d bytes, at most %d and %d", ErrTooLarge, len(values), size, MaxValues, MaxSize)
	}
	return nil
}

// write puts a generation into the slot that is not in use, in the order that
// the package comment gives.
func (s *Store) write(generation uint64, values map[string]value) error {
	info := s.disk.Info()
	if info.ReadOnly {
		return format.Errorf("store: %s: %w", s.disk.Name(), device.ErrReadOnly)
	}
	if err := s.unchanged(); err != nil {
		return err
	}
	h := header{state: stateBegun, sealed: s.key != nil, generation: generation, owner: s.owner}
	rand.Read(h.salt[:]) // never fails
	names := slices.Sorted(maps.Keys(values))
	if err := hedge(s.key, &h, names, values); err != nil {
		return err
	}
	k, err := derive(s.key, &h)
	if err != nil {
		return err
	}
	p := encode(&h, k, names, values)
	p = append(p, make([]byte, roundUp(len(p), info.SectorSize)-len(p))...)

	to := 1 - s.slot
	head := make([]byte, info.SectorSize)
	// From here on the number is spent: a second attempt must not be taken for
	// the first one.
	s.tried, s.heads[to] = generation, nil
	h.put(head, k.prove)
	if err := s.durable(head, s.first(to)); err != nil {
		return format.Errorf("store: begin generation %d: %w", generation, err)
	}
	if err := s.durable(p, s.first(to)+uint64(valuesAt/info.SectorSize)); err != nil {
		return format.Errorf("store: values of generation %d: %w", generation, err)
	}
	h.state = stateWhole
	h.put(head, k.prove)
	if err := s.durable(head, s.first(to)); err != nil {
		return format.Errorf("%w: generation %d: %w", ErrUnsure, generation, err)
	}
	s.heads[to] = head[:headerSize]
	return nil
}

// unchanged says whether the disk holds the headers that this store knows: nil,
// ErrChanged, or what the disk says. A generation that somebody else has made
// would be lost otherwise, or outlive the one that is to come.
func (s *Store) unchanged() error {
	p := make([]byte, s.disk.Info().SectorSize)
	for i, head := range s.heads {
		if head == nil {
			continue
		}
		if err := s.disk.ReadAt(p, s.first(i)); err != nil {
			return format.Errorf("store: slot %s: %w", slotName(i), err)
		}
		if !bytes.Equal(p[:headerSize], head) {
			return format.Errorf("%w: slot %s of %s", ErrChanged, slotName(i), s.disk.Name())
		}
	}
	return nil
}

// durable writes sectors and waits until they are.
func (s *Store) durable(p []byte, sector uint64) error {
	if err := s.disk.WriteAt(p, sector); err != nil {
		return err
	}
	return s.disk.Flush()
}
