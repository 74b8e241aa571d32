package httpd

import (
	"net"
	"time"

	"ampoule/libos/appliance"
	"ampoule/libos/config/site"
	"ampoule/libos/http1"
	"ampoule/libos/memory"
)

// Secure is HTTPS, which only an image with such a configuration links: package https.
type Secure interface {
	// Listen binds the port. The connections are Conn; the handshake is made by Begin.
	// What needs memory asks m for it.
	Listen(env *appliance.Env, cfg *Config, m *memory.Guard) (net.Listener, error)
	// Fields are further header fields of all responses, each with its CR LF.
	Fields() string
}

// Conn is a connection with TLS.
type Conn interface {
	net.Conn
	// Begin makes the handshake. When the client has chosen another protocol than
	// HTTP/1.1, serve speaks it until the connection ends; otherwise it is nil.
	Begin() (serve func(Handler), err error)
	// Serves says whether the connection is good for a host, with or without port; 421
	// is the answer if it is not (RFC 9110, section 15.5.20).
	Serves(host []byte) bool
	// Waits says for how long the client has taken nothing of what there is for it
	// (stalled), or otherwise has been silent. It does not block.
	Waits() (stalled bool, since time.Duration)
	// Abort resets the connection. It does not block.
	Abort()
}

// Handler answers the requests of a connection on which another protocol is spoken.
// Its methods do not block, and put the response into r as HTTP/1.1 has it.
type Handler interface {
	// Answer answers p, whose slices must hold until it returns.
	Answer(p *http1.Request, r *site.Response)
	// Fail answers a request that could not be read with the status of an error. Of p
	// only the method counts, which may be missing.
	Fail(status int, p *http1.Request, r *site.Response)
}

// openSecure makes the server of HTTPS beside that of plain connections. Both count
// and log together.
func (s *server) openSecure(env *appliance.Env) (*server, error) {
	cfg := s.Config
	cfg.Redirect = 0
	l, err := cfg.Secure.Listen(env, &cfg, s.memory)
	if err != nil {
		return nil, err
	}
	t := newServer(cfg, env, l)
	t.access, t.counts, t.memory = s.access, s.counts, s.memory
	t.clock.fields = cfg.Secure.Fields()
	t.clock.advance()
	return t, nil
}

// begin makes the handshake of a connection that has one, and serves it, unless
// HTTP/1.1 is to be spoken on it: then it returns true.
func (s *server) begin(c net.Conn) bool {
	t, ok := c.(Conn)
	if !ok {
		return true
	}
	serve, err := t.Begin()
	if err != nil {
		return false
	}
	if serve == nil {
		return true
	}
	serve(handler{s, t})
	return false
}

// handler implements Handler.
type handler struct {
	s *server
	c Conn
}

func (h handler) Answer(p *http1.Request, r *site.Response) {
	var q site.Request
	h.s.choose(p, &q, h.c, h.s.clock.tail(false), r)
	h.s.note(h.c, p, r)
}

func (h handler) Fail(status int, p *http1.Request, r *site.Response) {
	h.s.Site.Refuse(status, &site.Request{Method: p.Method}, h.s.clock.tail(false), r)
	h.s.note(h.c, nil, r)
}
