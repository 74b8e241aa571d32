package device

import "errors"

var (
	// ErrIO says that the device answered a request with an error. What a
	// sector holds after a write that failed is its old or its new content.
	// The device stays in use.
	ErrIO = errors.New("device: input/output error")
	// ErrReadOnly says that the device takes no writes.
	ErrReadOnly = errors.New("device: read-only")
	// ErrRange says that a transfer is not of whole sectors, or beyond the
	// device's end.
	ErrRange = errors.New("device: not whole sectors of the device")
)

// Block is a disk. Its methods may be called from any goroutine; they block,
// and a driver may serve them one after the other. What goes to the device is
// copied through I/O pages, so p stays the caller's. Errors are ErrIO,
// ErrReadOnly, ErrRange and ErrGone.
//
// A sector is written whole or not at all. Until Flush has answered, any of the
// writes since the one before may be lost in a power cut, whatever their order.
// After a failed Flush the same holds for all that it was to keep.
type Block interface {
	Device
	Info() BlockInfo
	// ReadAt fills p, whole sectors, from the given one on. After an error p
	// holds nothing of use.
	ReadAt(p []byte, sector uint64) error
	// WriteAt writes p, whole sectors, from the given one on. It returns when
	// later reads see them. After an error any of them may be written.
	WriteAt(p []byte, sector uint64) error
	// Flush returns when all that was written before is durable.
	Flush() error
}

// BlockInfo does not change while the device lives.
type BlockInfo struct {
	Sectors    uint64
	SectorSize int // bytes: a power of two from 512 to 4096
	ReadOnly   bool
}

// Check says whether n bytes from a sector on are whole sectors of the device:
// nil or ErrRange.
func (i BlockInfo) Check(n int, sector uint64) error {
	if n < 0 || i.SectorSize <= 0 || n%i.SectorSize != 0 {
		return ErrRange
	}
	if sector > i.Sectors || uint64(n/i.SectorSize) > i.Sectors-sector {
		return ErrRange
	}
	return nil
}
