package buffer

import "unsafe"

// Constant is a string that views look at, so that what is sent of it need not be
// copied first.
type Constant struct {
	chunk chunk
}

// NewConstant makes a Constant of s.
func NewConstant(s string) *Constant {
	// The string stays as it is: it has a reference that is never given back. So a
	// view of it always shares its chunk, which is why who writes into a view or
	// behind it writes into a copy; and the chunk is never destroyed, which is what
	// would put it where others get theirs from.
	k := new(Constant)
	k.chunk.data = unsafe.Slice(unsafe.StringData(s), len(s))
	k.chunk.InitRefs()
	return k
}

// View returns a view of b if that is a piece of the string, else nil.
func (k *Constant) View(b []byte) *View {
	// Addresses are compared as numbers and never become pointers again. While k and
	// b live their memory belongs to nobody else, and nothing moves in Go's heap.
	data := k.chunk.data
	at := uintptr(unsafe.Pointer(unsafe.SliceData(b))) - uintptr(unsafe.Pointer(unsafe.SliceData(data)))
	if at >= uintptr(len(data)) || len(b) > len(data)-int(at) {
		return nil
	}
	k.chunk.IncRef()
	v := viewPool.Get().(*View)
	*v = View{read: int(at), write: int(at) + len(b), chunk: &k.chunk}
	return v
}
