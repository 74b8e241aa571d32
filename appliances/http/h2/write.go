package h2

import (
	"bytes"
	"time"
)

// reply puts the head of a response into x.out and its body in line. st.response has
// it in the form of HTTP/1.1.
func (x *conn) reply(st *stream, w *scratch) {
	x.encode(st, w)
	flags := byte(0)
	if st.left == 0 {
		flags = flagEndStream
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	st.window = x.first
	x.streams[st.id] = st
	kind := byte(frameHeaders)
	for block := w.block; ; {
		n := min(len(block), x.largest)
		if n == len(block) {
			flags |= flagEndHeaders
		}
		x.out = append(appendHeader(x.out, kind, flags, st.id, n), block[:n]...)
		if block = block[n:]; len(block) == 0 {
			break
		}
		kind, flags = frameContinuation, 0
	}
	x.pending++
	if st.left == 0 {
		x.answered(st)
		return
	}
	x.queue(st)
}

// encode writes the head of st.response to w.block, and leaves the body in st.
func (x *conn) encode(st *stream, w *scratch) {
	r := &st.response
	total := int64(0)
	for _, p := range r.Parts {
		total += int64(len(p))
	}
	st.left = r.Body
	w.text = w.text[:0]
	parts := r.Parts
	for size := total - r.Body; int64(len(w.text)) < size; parts = parts[1:] {
		w.text = append(w.text, parts[0]...)
	}
	st.parts = parts
	block := w.block[:0]
	if !x.told {
		x.told = true
		block = append(block, noTable)
	}
	block = appendStatus(block, r.Status)
	line := bytes.IndexByte(w.text, '\n') // the end of the status line
	w.block = appendFields(block, w.text[line+1:])
}

// queue puts a stream in line that can send something; x.mu is held.
func (x *conn) queue(st *stream) {
	if !st.queued && st.left > 0 && st.window > 0 {
		st.queued = true
		x.ready = append(x.ready, st)
	}
}

// answered notes that all of a response is on its way; x.mu is held.
func (x *conn) answered(st *stream) {
	st.answered = true
	x.pending--
	x.sent += forResponse
	x.settle(st)
}

// forResponse is what a response counts beside its octets.
const forResponse = 1024

// batch puts what is sent next into b, which has room for batchSize; x.mu is held.
func (x *conn) batch(b []byte) []byte {
	n := min(len(x.out), cap(b))
	b = append(b, x.out[:n]...)
	if x.out = x.out[:copy(x.out, x.out[n:])]; len(x.out) == 0 && cap(x.out) > batchSize {
		x.out = nil
	}
	for len(x.ready) > 0 && x.window > 0 && cap(b)-len(b) > frameHeader && len(x.out) == 0 {
		st := x.ready[0]
		x.ready = x.ready[:copy(x.ready, x.ready[1:])]
		st.queued = false
		if st.window <= 0 {
			continue // smaller settings came meanwhile; a larger window queues it again
		}
		n := min(st.left, st.window, x.window, int64(x.largest), int64(cap(b)-len(b)-frameHeader))
		flags := byte(0)
		if n == st.left {
			flags = flagEndStream
		}
		b = appendHeader(b, frameData, flags, st.id, int(n))
		st.window, x.window, st.left = st.window-n, x.window-n, st.left-n
		x.sent += uint64(n)
		for n > 0 {
			p := st.parts[0]
			m := min(n, int64(len(p)))
			b = append(b, p[:m]...)
			if st.parts[0] = p[m:]; m == int64(len(p)) {
				st.parts = st.parts[1:]
			}
			n -= m
		}
		if st.left > 0 {
			x.queue(st)
		} else {
			x.answered(st)
		}
	}
	return b
}

// flush writes what there is to be written, if nobody does: once itself, and the
// rest, if there is more, in another goroutine.
func (x *conn) flush() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.writing || x.broken {
		return
	}
	x.writing = true
	if x.step(); x.writing {
		x.s.spawn(x.pump)
	}
}

// pump writes until there is nothing to write.
func (x *conn) pump() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for x.writing {
		x.step()
	}
}

// step writes once; writing is false when there was nothing more. x.mu is held, but
// not meanwhile. When it panics the connection is broken, and nobody waits for it.
func (x *conn) step() {
	whole := false
	defer func() {
		if !whole {
			x.abandon()
		}
	}()
	b := x.s.takeBuffer()
	*b = x.batch((*b)[:0])
	if len(*b) > 0 {
		if err := x.write(*b); err != nil && !x.broken {
			x.abandon()
		}
	}
	x.s.giveBuffer(b)
	x.writing = !x.broken && (len(x.out) > 0 || len(x.ready) > 0 && x.window > 0)
	x.room.Broadcast()
	whole = true
}

// write lets go of x.mu, and holds it again whatever comes of it.
func (x *conn) write(b []byte) error {
	x.mu.Unlock()
	defer x.mu.Lock()
	x.c.SetWriteDeadline(time.Now().Add(x.s.write))
	_, err := x.c.Write(b)
	return err
}

// abandon has nothing written any more, and lets who reads know; x.mu is held.
func (x *conn) abandon() {
	x.broken, x.writing, x.out = true, false, nil
	x.drop()
	x.c.SetReadDeadline(time.Now())
	x.room.Broadcast()
}

// hold waits while too much waits to be written: who does not take answers can't ask.
func (x *conn) hold() error {
	x.mu.Lock()
	full := len(x.out) > outSize
	x.mu.Unlock()
	if !full {
		return nil
	}
	x.flush()
	x.mu.Lock()
	defer x.mu.Unlock()
	for x.writing && len(x.out) > outSize {
		x.room.Wait()
	}
	if x.broken {
		return errOver
	}
	return nil
}

// takeBuffer gets a buffer of batchSize, giveBuffer gives it back.
func (s *server) takeBuffer() *[]byte {
	if b, ok := s.buffers.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, 0, batchSize)
	return &b
}

func (s *server) giveBuffer(b *[]byte) { s.buffers.Put(b) }
