package buffer

// NewFlat is a buffer in one piece of memory of the given size, all of which it is.
func NewFlat(size int) (b Buffer) {
	b.Append(NewViewSize(size))
	return b
}

// Flat says whether b is one piece of memory of the given size that nobody else
// has, so that Refill may be called.
func (b *Buffer) Flat(size int) bool {
	v := b.data.Front()
	return v != nil && v == b.data.Back() && len(v.chunk.data) == size && !v.sharesChunk()
}

// Refill makes b the first n bytes of its memory, and returns them.
func (b *Buffer) Refill(n int) []byte {
	v := b.data.Front()
	v.read, v.write = 0, n
	b.size = int64(n)
	return v.chunk.data[:n]
}
