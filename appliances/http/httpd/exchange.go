package httpd

import (
	"net"

	"ampoule/libos/config/site"
	"ampoule/libos/http1"
)

const (
	// headSize is the longest head of a request.
	headSize = 8192
	// outSize is up to which small responses are put together before they are
	// written; a longer part is written from where it lies.
	outSize  = 4096
	longPart = 1400
)

// exchange is what it takes to answer requests. Only a connection that has one under
// way holds one.
type exchange struct {
	parse http1.Request
	q     site.Request
	r     site.Response
	out   []byte   // responses that are put together
	all   [][]byte // out and a response behind it
}

// sink takes responses.
type sink interface {
	// write takes all. What is shorter than longPart, the first of all, and whatever
	// belongs to a response without a body does not hold after it returns. ok is false
	// when the connection is broken.
	write(all [][]byte, body bool) (ok bool)
	RemoteAddr() net.Addr
	// full says that the sink has to get rid of something first.
	full() bool
}

// take gets an exchange, and give gives it back.
func (s *server) take() *exchange {
	if x, ok := s.pool.Get().(*exchange); ok {
		x.out = x.out[:0]
		return x
	}
	return &exchange{out: make([]byte, 0, outSize)}
}

func (s *server) give(x *exchange) { s.pool.Put(x) }

// outcome is what becomes of a connection.
type outcome uint8

const (
	goesOn outcome = iota
	ends           // with the responses that were written
	broken
)

// answer answers all requests that are whole in b, as far as w takes responses, and
// returns how much of b they are. seen is how much of b has been looked at in vain
// before; it returns how much has been now.
func (s *server) answer(x *exchange, w sink, b []byte, seen int) (done, now int, o outcome) {
	for done < len(b) && !w.full() {
		x.parse.Resume(seen)
		seen = 0
		n, err := x.parse.Parse(b[done:])
		if err == nil && n == 0 {
			if len(b)-done < headSize {
				now = x.parse.Seen() // there is more to come
				break
			}
			err = http1.ErrHead
		}
		if err != nil {
			status := 400
			if e, ok := err.(*http1.Error); ok {
				status = e.Status
			}
			return done, 0, s.fail(x, w, status)
		}
		done += n
		last := x.parse.Close || x.parse.Minor == 0 || x.parse.Length != 0
		var c Conn
		if b, ok := w.(*blocking); ok {
			c = b.secure
		}
		s.choose(&x.parse, &x.q, c, s.clock.tail(last), &x.r)
		s.note(w, &x.parse, &x.r)
		if !x.send(w, last || done == len(b)) {
			return done, 0, broken
		}
		if last {
			return done, 0, ends
		}
	}
	if !x.flush(w) {
		return done, 0, broken
	}
	return done, now, goesOn
}

// choose chooses the response to a request over c, which is nil when it is plain.
func (s *server) choose(p *http1.Request, q *site.Request, c Conn, tail []byte, r *site.Response) {
	q.Reset()
	q.Method, q.Host, q.Path, q.Query = p.Method, p.Host, p.Path, p.Query
	for _, f := range p.Fields() {
		q.Field(f.Name, f.Value)
	}
	switch {
	case c != nil && !c.Serves(p.Host):
		s.Site.Refuse(421, q, tail, r)
	case s.Redirect != 0 && s.redirect(q, tail, r):
	default:
		s.Site.Answer(q, tail, r)
	}
}

// fail responds with an error to what is no request.
func (s *server) fail(x *exchange, w sink, status int) outcome {
	s.Site.Fail(status, s.clock.tail(true), &x.r)
	s.note(w, nil, &x.r)
	if !x.send(w, true) {
		return broken
	}
	return ends
}

// send writes the response, behind those that were put together; or puts it to them
// if it is short and others follow.
func (x *exchange) send(w sink, last bool) bool {
	if !last && x.gather() {
		return true
	}
	x.all = append(append(x.all[:0], x.out), x.r.Parts...)
	x.out = x.out[:0]
	return w.write(x.all, x.r.Body > 0)
}

// gather puts the response to the others if there is room.
func (x *exchange) gather() bool {
	n := len(x.out)
	for _, p := range x.r.Parts {
		if n += len(p); n > cap(x.out) {
			return false
		}
	}
	for _, p := range x.r.Parts {
		x.out = append(x.out, p...)
	}
	return true
}

// flush writes what send put together.
func (x *exchange) flush(w sink) bool {
	if len(x.out) == 0 {
		return true
	}
	x.all = append(x.all[:0], x.out)
	x.out = x.out[:0]
	return w.write(x.all, false)
}
