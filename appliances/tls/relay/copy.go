package relay

import "io"

// Sizes of buffers in bytes. A large one holds a TLS record; a small one is for when
// all large ones are out, so that connections whose peers take nothing can hold up no
// others.
const (
	large = 16 << 10
	small = 2 << 10
)

// Buffers is a bounded number of large buffers, and as many small ones as there are
// connections that need one.
type Buffers struct {
	free  chan []byte
	fresh chan struct{} // a token for each large one that was not made yet
}

// NewBuffers bounds the large buffers to n; they are made when they are needed first.
func NewBuffers(n int) *Buffers {
	b := &Buffers{make(chan []byte, n), make(chan struct{}, n)}
	for range n {
		b.fresh <- struct{}{}
	}
	return b
}

func (b *Buffers) get() []byte {
	select {
	case buf := <-b.free:
		return buf
	default:
	}
	select {
	case <-b.fresh:
		return make([]byte, large)
	default:
		return make([]byte, small)
	}
}

func (b *Buffers) put(buf []byte) {
	if len(buf) == large {
		b.free <- buf // has room for all there are
	}
}

// Source is read, or waited for while a read has nothing.
type Source interface {
	io.Reader
	Wait()
}

// Copy moves bytes until src ends, and then returns nil, or until either fails. count
// is called with the number of each piece.
func Copy(dst io.Writer, src Source, bufs *Buffers, count func(int)) error {
	for {
		switch err := burst(dst, src, bufs, count); err {
		case error(again{}):
			src.Wait()
		case io.EOF:
			return nil
		default:
			return err
		}
	}
}

// burst moves what is there.
func burst(dst io.Writer, src io.Reader, bufs *Buffers, count func(int)) error {
	buf := bufs.get()
	defer bufs.put(buf)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			count(n)
			if _, err := dst.Write(buf[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}
