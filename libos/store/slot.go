package store

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"ampoule/libos/format"
)

// Layout of the disk; see the package comment.
const (
	// MaxSize bounds all values of a generation together, in bytes as stored:
	// besides its content, each takes overhead and its name.
	MaxSize = 1 << 20
	// MaxName is the length of the longest name in bytes.
	MaxName = 128
	// MaxValues is the largest number of values.
	MaxValues = 1024
	// SlotSize is the distance of the slots in bytes.
	SlotSize = MaxSize + 64<<10
	// DiskSize is the smallest disk, in bytes.
	DiskSize = 2 * SlotSize

	version     = 1
	valuesAt    = 4096
	headerSize  = 192
	proofAt     = 128
	checksumAt  = 160
	stateBegun  = 1
	stateWhole  = 2
	flagSealed  = 1
	flagPrivate = 1
	recordSize  = 8
)

var magic = [8]byte{'A', 'M', 'P', 'S', 'T', 'O', 'R', 'E'}

// header is the first sector of a slot.
type header struct {
	state      uint16
	sealed     bool
	generation uint64
	length     uint32
	count      uint32
	owner      [32]byte
	salt       [32]byte
	values     [32]byte
}

// Why a slot is not good.
var (
	errBlank   = errors.New("blank")
	errNoStore = errors.New("not a store's")
	errSum     = errors.New("header damaged")
	errValues  = errors.New("values damaged")
	errProof   = errors.New("not made with this key")
)

// put writes the header, with its proof if there is a key for it.
func (h *header) put(p []byte, prove []byte) {
	clear(p)
	le := binary.LittleEndian
	copy(p, magic[:])
	le.PutUint16(p[8:], version)
	le.PutUint16(p[10:], h.state)
	if h.sealed {
		le.PutUint32(p[12:], flagSealed)
	}
	le.PutUint64(p[16:], h.generation)
	le.PutUint32(p[24:], h.length)
	le.PutUint32(p[28:], h.count)
	copy(p[32:], h.owner[:])
	copy(p[64:], h.salt[:])
	copy(p[96:], h.values[:])
	if prove != nil {
		copy(p[proofAt:], proof(p, prove))
	}
	sum := sha256.Sum256(p[:checksumAt])
	copy(p[checksumAt:], sum[:])
}

func proof(p, key []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write(p[:proofAt])
	return m.Sum(nil)
}

// parse reads a header and checks everything but its proof.
func parse(p []byte) (h header, err error) {
	le := binary.LittleEndian
	if [8]byte(p) != magic {
		if bytes.Count(p, []byte{0}) == len(p) {
			return h, errBlank
		}
		return h, errNoStore
	}
	if sha256.Sum256(p[:checksumAt]) != [32]byte(p[checksumAt:headerSize]) {
		return h, errSum
	}
	if v := le.Uint16(p[8:]); v != version {
		return h, format.Errorf("of format version %d, this image knows %d", v, version)
	}
	h.state, h.generation = le.Uint16(p[10:]), le.Uint64(p[16:])
	h.length, h.count = le.Uint32(p[24:]), le.Uint32(p[28:])
	h.owner, h.salt, h.values = [32]byte(p[32:]), [32]byte(p[64:]), [32]byte(p[96:])
	flags := le.Uint32(p[12:])
	h.sealed = flags&flagSealed != 0
	if flags&^flagSealed != 0 || h.state != stateBegun && h.state != stateWhole || h.generation == 0 ||
		h.length > MaxSize || h.count > MaxValues {
		return h, format.Errorf("header makes no sense: state %d, flags %#x, generation %d, %d values of %d bytes",
			h.state, flags, h.generation, h.count, h.length)
	}
	return h, nil
}

// value is what a name stands for. data is never changed once it is here.
type value struct {
	data    []byte
	private bool
}

// appendRecord adds a value as it is stored.
func appendRecord(p []byte, name string, private bool, stored []byte) []byte {
	var r [recordSize]byte
	r[0] = byte(len(name))
	if private {
		r[1] = flagPrivate
	}
	binary.LittleEndian.PutUint32(r[4:], uint32(len(stored)))
	p = append(p, r[:]...)
	p = append(p, name...)
	return append(p, stored...)
}

// records calls f with each value as it is stored, and checks that they are
// complete and in order.
func records(p []byte, count uint32, f func(i uint32, name string, private bool, stored []byte) error) error {
	last := ""
	for i := range count {
		if len(p) < recordSize {
			return format.Errorf("value %d: %w", i, errValues)
		}
		n, flags, size := int(p[0]), p[1], binary.LittleEndian.Uint32(p[4:])
		if flags&^flagPrivate != 0 || p[2] != 0 || p[3] != 0 || uint64(n)+uint64(size) > uint64(len(p)-recordSize) {
			return format.Errorf("value %d: %w", i, errValues)
		}
		p = p[recordSize:]
		name, stored := string(p[:n]), p[n:n+int(size)]
		if !validName(name) || name <= last {
			return format.Errorf("value %d: name %q: %w", i, name, errValues)
		}
		if err := f(i, name, flags&flagPrivate != 0, stored); err != nil {
			return format.Errorf("value %q: %w", name, err)
		}
		last, p = name, p[n+int(size):]
	}
	if len(p) != 0 {
		return format.Errorf("%d bytes after the last value: %w", len(p), errValues)
	}
	return nil
}

// validName: visible ASCII, so that names can be shown as they are.
func validName(s string) bool {
	if len(s) == 0 || len(s) > MaxName {
		return false
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}
