package http1

// Chunks takes a chunked body apart (RFC 9112, section 7.1). The zero value is at
// its start. It holds no more than where it is.
type Chunks struct {
	state chunkState
	left  uint64 // of the chunk
	digit int    // of its size
	line  int    // bytes of an extension or a trailer line
	extra int    // bytes of all trailer lines
	blank bool   // the trailer line is empty so far
}

type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkExtension
	chunkSizeLF
	chunkData
	chunkDataCR
	chunkDataLF
	chunkTrailer
	chunkTrailerLF
	chunkEnd
)

// maxChunkLine bounds what stands beside the data: a chunk's extensions, and the
// trailers together. Both are ignored.
const maxChunkLine = 256

// Next takes from src up to the next data: it returns that part of src which is
// data, which may be empty, and how many bytes of src are done with, data
// included. At the end of the body Done is true; src behind it is not touched.
func (c *Chunks) Next(src []byte) (data []byte, n int, err error) {
	for n < len(src) && c.state != chunkEnd {
		if c.state == chunkData {
			size := int(min(c.left, uint64(len(src)-n)))
			data = src[n : n+size]
			if c.left -= uint64(size); c.left == 0 {
				c.state = chunkDataCR
			}
			return data, n + size, nil
		}
		if err := c.step(src[n]); err != nil {
			return nil, n, err
		}
		n++
	}
	return nil, n, nil
}

// Done says whether the body has ended.
func (c *Chunks) Done() bool { return c.state == chunkEnd }

// step takes one byte that is not data.
func (c *Chunks) step(b byte) error {
	switch c.state {
	case chunkSize:
		return c.size(b)
	case chunkExtension:
		if c.line++; b == '\r' {
			c.state = chunkSizeLF
		} else if c.line > maxChunkLine || b < ' ' && b != '\t' || b == 0x7f {
			return ErrChunk
		}
	case chunkSizeLF:
		if b != '\n' {
			return ErrChunk
		}
		c.state = chunkData
		if c.left == 0 {
			c.state, c.blank = chunkTrailer, true
		}
	case chunkDataCR, chunkDataLF:
		if b != "\r\n"[c.state-chunkDataCR] {
			return ErrChunk
		}
		c.state++
		if c.state > chunkDataLF {
			c.state, c.digit, c.line = chunkSize, 0, 0
		}
	case chunkTrailer:
		if c.extra++; c.extra > maxChunkLine {
			return ErrChunk
		}
		if b == '\r' {
			c.state = chunkTrailerLF
		} else if c.blank = false; b < ' ' && b != '\t' || b == 0x7f {
			return ErrChunk
		}
	case chunkTrailerLF:
		if b != '\n' {
			return ErrChunk
		}
		c.state = chunkTrailer
		if c.blank {
			c.state = chunkEnd
		}
		c.blank = true
	}
	return nil
}

// size takes a digit of a chunk's size, or what ends it.
func (c *Chunks) size(b byte) error {
	v := -1
	switch {
	case digit(b):
		v = int(b - '0')
	case 'a' <= b|0x20 && b|0x20 <= 'f':
		v = int(b|0x20-'a') + 10
	}
	switch {
	case v >= 0 && c.digit < 15:
		if c.digit == 0 {
			c.left = 0
		}
		c.left = c.left<<4 | uint64(v)
		c.digit++
	case c.digit == 0 || v >= 0:
		return ErrChunk
	case b == '\r':
		c.state = chunkSizeLF
	case b == ';':
		c.state, c.line = chunkExtension, 0
	default:
		return ErrChunk // a blank before the extension is for senders that are broken
	}
	return nil
}
