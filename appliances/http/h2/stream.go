package h2

import (
	"encoding/binary"
	"slices"

	"ampoule/libos/config/site"
	"ampoule/libos/http1"
)

// stream is a request and its response. It is there until both sides have ended or it
// was reset.
type stream struct {
	id     uint32
	window int64
	remote bool  // the client's side has ended
	length int64 // Content-Length of the request, -1: not told
	got    int64 // octets of its body

	response site.Response
	parts    [][]byte // of the response's body, what was not sent
	left     int64    // octets of them
	answered bool     // all of the response was sent
	queued   bool     // in conn.ready
	stop     bool     // the client need not send the rest of the body
}

var slash = []byte("/")

var errIdle = connError{protocolError, "a frame for a stream that is idle"}

// headers begins the head of a request, or trailers (section 6.2).
func (x *conn) headers(f *frame) error {
	if f.stream%2 == 0 {
		return connError{protocolError, "a stream that is none of a client's"}
	}
	if err := f.unpad(); err != nil {
		return err
	}
	h := head{open: true, stream: f.stream, end: f.has(flagEndStream)}
	if f.has(flagPriority) {
		if len(f.payload) < 5 {
			return connError{frameSizeError, "no priority"}
		}
		if binary.BigEndian.Uint32(f.payload)&mostWindow == f.stream {
			h.refuse = protocolError
		}
		f.payload = f.payload[5:]
	}
	if err := x.place(&h); err != nil {
		return err
	}
	h.scratch = x.s.takeScratch()
	x.head = h
	return x.fragment(f)
}

// place finds out what a head is for.
func (x *conn) place(h *head) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	st := x.streams[h.stream]
	switch {
	case h.stream > x.last:
		x.last = h.stream
		if len(x.streams) >= mostStreams && h.refuse == noError {
			h.refuse = refusedStream
		}
	case st != nil:
		h.trailer = true
		if st.remote {
			h.refuse = streamClosed
		} else if !h.end {
			h.refuse = protocolError // section 8.1
		}
	case x.dropped.has(h.stream):
		h.ignore = true
	case h.stream == x.last:
		return connError{streamClosed, "a head for a stream that is closed"}
	default:
		return connError{protocolError, "a stream with a lower number"}
	}
	return nil
}

// continuation goes on with a head (section 6.10).
func (x *conn) continuation(f *frame) error {
	if !x.head.open {
		return connError{protocolError, "nothing to continue"}
	}
	return x.fragment(f)
}

// fragment decodes a part of a block. All of it must be decoded, whatever becomes of
// the request, as later ones depend on it.
func (x *conn) fragment(f *frame) error {
	h := &x.head
	if h.frames++; h.frames > fragments {
		return connError{enhanceYourCalm, "a head in too many frames"}
	}
	if h.octets += len(f.payload); h.octets > blockSize {
		return connError{enhanceYourCalm, "a head that is too long"}
	}
	if _, err := x.decoder.Write(f.payload); err != nil {
		return connError{compressionError, "a head that can't be decoded"}
	}
	if !f.has(flagEndHeaders) {
		return nil
	}
	if err := x.decoder.Close(); err != nil {
		return connError{compressionError, "a head that ends too early"}
	}
	defer x.s.giveScratch(x.head.scratch)
	x.head.open = false
	return x.understand(&x.head)
}

// understand does what a head asks for.
func (x *conn) understand(h *head) error {
	switch {
	case h.ignore:
		return x.charge(1)
	case h.refuse != noError:
		return streamError{h.stream, h.refuse}
	case h.trailer && h.malformed:
		return streamError{h.stream, protocolError}
	case h.trailer:
		return x.ended(h.stream)
	}
	if h.finish(); h.malformed {
		return streamError{h.stream, protocolError}
	}
	st := x.s.takeStream()
	st.id, st.remote, st.length = h.stream, h.end, -1
	p := &h.scratch.request
	if e, ok := h.err.(*http1.Error); ok {
		if !h.begun { // or it has the method of another request
			p.Begin(h.values[pseudoMethod], slash)
		}
		x.handler.Fail(e.Status, p, &st.response)
	} else {
		if _, told := p.Get("content-length"); told {
			st.length = p.Length
		}
		// The answer does not depend on a body. It is read as long as it is short, since
		// not all clients bear it well to be stopped.
		st.stop = p.Expect || p.Length > bodyWindow
		x.handler.Answer(p, &st.response)
	}
	if h.err != nil {
		st.stop = true
	}
	x.reply(st, h.scratch)
	return nil
}

// data takes a part of a request's body, and throws it away (section 6.1).
func (x *conn) data(f *frame) error {
	n := len(f.payload)
	if f.stream > x.last || f.stream%2 == 0 {
		return errIdle
	}
	if err := f.unpad(); err != nil {
		return err
	}
	if err := x.charge(1); err != nil {
		return err
	}
	x.mu.Lock()
	if x.received += n; x.received >= bodyWindow {
		x.out = appendWord(x.out, frameWindow, 0, uint32(x.received))
		x.received = 0
	}
	st, dropped := x.streams[f.stream], x.dropped.has(f.stream)
	if st == nil || st.remote {
		x.mu.Unlock()
		if dropped {
			return nil // sent before the client knew (section 5.4.2)
		}
		return streamError{f.stream, streamClosed}
	}
	st.got += int64(len(f.payload))
	got, length := st.got, st.length
	if got > bodyWindow/2 && !st.stop {
		st.stop = true
		x.settle(st)
	}
	x.mu.Unlock()
	switch {
	case length >= 0 && got > length:
		return streamError{f.stream, protocolError}
	case got > firstWindow: // which it may have thought it has
		return streamError{f.stream, flowControlError}
	case f.has(flagEndStream):
		return x.ended(f.stream)
	}
	return nil
}

// ended notes that the client's side of a stream has ended.
func (x *conn) ended(id uint32) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	st := x.streams[id]
	if st == nil {
		return nil
	}
	if st.length >= 0 && st.got != st.length {
		return streamError{id, protocolError} // section 8.1.1
	}
	st.remote = true
	x.settle(st)
	return nil
}

// settle ends a stream of which all was sent, if there is nothing to wait for; x.mu
// is held.
func (x *conn) settle(st *stream) {
	if !st.answered || !st.remote && !st.stop {
		return
	}
	if !st.remote { // section 8.1
		x.out = appendWord(x.out, frameReset, st.id, uint32(noError))
		x.dropped.add(st.id)
	}
	x.forget(st)
}

// forget takes a stream away; x.mu is held.
func (x *conn) forget(st *stream) {
	delete(x.streams, st.id)
	if st.queued {
		x.ready = slices.Delete(x.ready, slices.Index(x.ready, st), slices.Index(x.ready, st)+1)
	}
	if !st.answered {
		x.pending--
	}
	x.s.giveStream(st)
}

// inVain is what a stream costs that is reset (see charge).
const inVain = 10

// resetBy hears that the client has reset a stream (section 6.4).
func (x *conn) resetBy(f *frame) error {
	if f.stream > x.last || f.stream%2 == 0 {
		return errIdle
	}
	if len(f.payload) != 4 {
		return connError{frameSizeError, "a reset"}
	}
	x.mu.Lock()
	cost := 1
	if st := x.streams[f.stream]; st != nil {
		if !st.answered {
			cost = inVain
		}
		x.forget(st)
	}
	x.mu.Unlock()
	return x.charge(cost)
}

// reset resets a stream that the client has made a mistake on.
func (x *conn) reset(e streamError) error {
	if e.stream > x.last {
		return connError{e.code, "a mistake on a stream that is idle"}
	}
	x.mu.Lock()
	if st := x.streams[e.stream]; st != nil {
		x.forget(st)
	}
	x.dropped.add(e.stream)
	x.out = appendWord(x.out, frameReset, e.stream, uint32(e.code))
	x.mu.Unlock()
	return x.charge(inVain)
}

// recent are the last streams that were reset here, for which there may be frames on
// the way.
type recent struct {
	ids [32]uint32
	at  int
}

func (r *recent) add(id uint32) {
	r.ids[r.at%len(r.ids)] = id
	r.at++
}

func (r *recent) has(id uint32) bool { return slices.Contains(r.ids[:], id) }

// takeStream and takeScratch get something to work with, the others give it back.
func (s *server) takeStream() *stream {
	if st, ok := s.streams.Get().(*stream); ok {
		return st
	}
	return new(stream)
}

func (s *server) giveStream(st *stream) {
	*st = stream{}
	s.streams.Put(st)
}

func (s *server) takeScratch() *scratch {
	if w, ok := s.scratches.Get().(*scratch); ok {
		w.kept = w.kept[:0]
		w.request.Clear() // of another client, perhaps
		return w
	}
	return &scratch{kept: make([]byte, 0, headSize), text: make([]byte, 0, 1024), block: make([]byte, 0, 1024)}
}

func (s *server) giveScratch(w *scratch) { s.scratches.Put(w) }
