package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"time"

	"ampoule/libos/device"
	"ampoule/libos/format"
	"ampoule/libos/iopage"
)

// Layout of a crash record; see the package comment.
const (
	crashVersion = 1
	crashAt      = DiskSize // in bytes
	crashSumAt   = 24
	crashBuildAt = 64
	crashTextAt  = 128
	crashText    = iopage.Size - crashTextAt // bytes at most
)

var crashMagic = [8]byte{'A', 'M', 'P', 'C', 'R', 'A', 'S', 'H'}

// Crash is what a program of this store's owner said as it died.
type Crash struct {
	Time  time.Time
	Build string // as it was told to KeepCrash
	Text  []byte // the beginning
}

// errNoCrash says that there is no record.
var errNoCrash = errors.New("no crash is recorded")

// KeepCrash reads the record of the last crash, if there is one, and has one written
// when this program dies of a panic or a fatal error. build says which program it is,
// in up to 64 bytes. An error says why no record can be kept: there is no disk, it is
// smaller than DiskSize and a page, its driver can't do that, or something else is
// where the record would be. It blocks for the disk, and is called once, before the
// first Commit.
func (s *Store) KeepCrash(build string) (last *Crash, err error) {
	if s.disk == nil {
		return nil, errors.New("store: there is no disk for crash records")
	}
	info := s.disk.Info()
	if info.ReadOnly || info.Sectors < uint64((crashAt+iopage.Size)/info.SectorSize) {
		return nil, format.Errorf("store: no room for crash records on %s, of %d sectors of %d bytes", s.disk.Name(), info.Sectors, info.SectorSize)
	}
	sector := uint64(crashAt / info.SectorSize)
	page := make([]byte, iopage.Size)
	if err := s.disk.ReadAt(page, sector); err != nil {
		return nil, err
	}
	last, err = readCrash(page, &s.owner)
	if err != nil && !errors.Is(err, errNoCrash) {
		return nil, err
	}
	l, ok := s.disk.(device.LastWords)
	if !ok {
		return last, format.Errorf("store: %s keeps no crash records", s.disk.Name())
	}
	head := make([]byte, crashTextAt)
	copy(head, crashMagic[:])
	binary.LittleEndian.PutUint16(head[8:], crashVersion)
	copy(head[32:], s.owner[:])
	copy(head[crashBuildAt:], build)
	to, err := l.KeepLast(sector, crashTextAt, sealCrash)
	if err != nil {
		return last, err
	}
	copy(to, head)
	return last, nil
}

// sealCrash completes the record on a page, whose text has n bytes. It is called when
// the program dies: see device.LastWords.
func sealCrash(page []byte, n int) {
	binary.LittleEndian.PutUint32(page[12:], uint32(n))
	binary.LittleEndian.PutUint64(page[16:], uint64(time.Now().UnixNano()))
	binary.LittleEndian.PutUint64(page[crashSumAt:], crashSum(page, n))
}

// crashSum is FNV-1a of a record but for the sum itself. It tells a record that is
// torn, not one that is forged.
func crashSum(page []byte, n int) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i, c := range page[:crashTextAt+n] {
		if i >= crashSumAt && i < crashSumAt+8 {
			continue
		}
		h = (h ^ uint64(c)) * 0x100000001b3
	}
	return h
}

// readCrash reads a record. A torn one, or another owner's, is none; what is neither
// a record nor zeros is an error, as it is not ours.
func readCrash(page []byte, owner *[32]byte) (*Crash, error) {
	if !bytes.Equal(page[:8], crashMagic[:]) {
		for _, c := range page {
			if c != 0 {
				return nil, format.Errorf("%w: where crash records would be", ErrForeign)
			}
		}
		return nil, errNoCrash
	}
	n := binary.LittleEndian.Uint32(page[12:])
	if binary.LittleEndian.Uint16(page[8:]) != crashVersion || n > crashText || !bytes.Equal(page[32:64], owner[:]) ||
		binary.LittleEndian.Uint64(page[crashSumAt:]) != crashSum(page, int(n)) {
		return nil, errNoCrash
	}
	return &Crash{
		Time:  time.Unix(0, int64(binary.LittleEndian.Uint64(page[16:]))).UTC(),
		Build: string(bytes.TrimRight(page[crashBuildAt:crashTextAt], "\x00")),
		Text:  bytes.Clone(page[crashTextAt : crashTextAt+n]),
	}, nil
}
