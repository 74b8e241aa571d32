package h2

import "net"

// inputSize is the buffer that an idle connection keeps. It grows for a frame that is
// longer, up to the longest.
const inputSize = 1024

// input takes what comes on a connection apart into frames.
type input struct {
	b    []byte
	done int // of b, octets that were taken
}

// next returns the next frame that is whole; ok is false when there is more to come.
// The frame holds until the next call of fill.
func (in *input) next() (f frame, ok bool, err error) {
	b := in.b[in.done:]
	if len(b) < frameHeader {
		return frame{}, false, nil
	}
	n := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
	if n > maxFrame {
		return frame{}, false, connError{frameSizeError, "a frame is too long"}
	}
	if len(b) < frameHeader+n {
		return frame{}, false, nil
	}
	in.done += frameHeader + n
	// The highest bit of the stream is reserved (section 4.1).
	id := uint32(b[5]&0x7f)<<24 | uint32(b[6])<<16 | uint32(b[7])<<8 | uint32(b[8])
	return frame{b[3], b[4], id, b[frameHeader : frameHeader+n]}, true, nil
}

// partial says whether there is part of a frame.
func (in *input) partial() bool { return len(in.b) > in.done }

// fill reads once. It blocks within the read deadline.
func (in *input) fill(c net.Conn) error {
	rest := in.b[in.done:]
	switch {
	case len(rest) == 0 && cap(in.b) != inputSize:
		in.b = make([]byte, 0, inputSize)
	case len(rest) == cap(in.b): // not a whole frame, so there may be no more than one
		in.b = append(make([]byte, 0, min(4*cap(in.b), frameHeader+maxFrame)), rest...)
	default:
		in.b = in.b[:copy(in.b, rest)]
	}
	in.done = 0
	n, err := c.Read(in.b[len(in.b):cap(in.b)])
	in.b = in.b[:len(in.b)+n]
	if n > 0 {
		return nil
	}
	return err
}
