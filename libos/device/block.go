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

// LastWriter is a Block that can write a page while the program dies, when nothing
// else of it runs any more.
type LastWriter interface {
	Block
	// LastPage sets a page of memory aside, iopage.Size bytes, for LastWrite; it is
	// the same for each call.
	LastPage() ([]byte, error)
	// LastWrite writes the page at a sector and says whether it is durable. It spins
	// until then, no longer than a few seconds; it neither allocates nor locks, and
	// whatever was under way at the device is lost to who asked for it. Nothing may be
	// asked of the device afterwards.
	LastWrite(sector uint64) bool
}

// LastWords is a Block of a machine that hands on what the runtime says as it dies.
type LastWords interface {
	Block
	// KeepLast has a page written at a sector when the program dies of a panic or a
	// fatal error: what the runtime said is behind the first head bytes, and seal has
	// completed it, given how many bytes that is. seal must neither allocate nor lock
	// nor write a pointer. page is the page as it is now, for the caller to prepare.
	KeepLast(sector uint64, head int, seal func(page []byte, n int)) (page []byte, err error)
}
