// Package httpd serves compiled sites over HTTP/1.1 (RFC 9112): libos/http1 reads
// the requests, libos/config/site has the responses, and what is here are the
// connections between them.
//
// A request's body is not read: there is nothing that could be done with it. Its
// connection ends with the response.
package httpd

import (
	"context"
	"errors"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"ampoule/libos/appliance"
	"ampoule/libos/config/site"
	"ampoule/libos/format"
	"ampoule/libos/http1"
)

// Config is the appliance's own part of the configuration.
type Config struct {
	Port  uint16
	Site  site.Table
	Idle  time.Duration // from one request to the next
	Read  time.Duration // for the head of a request, from its first byte
	Write time.Duration // for each 32 KiB of a response
}

type server struct {
	Config
	listener net.Listener
	now      func() time.Time
	tails    atomic.Pointer[tails]
	pool     sync.Pool // of *exchange

	mu    sync.Mutex // guards conns
	conns map[net.Conn]struct{}
}

// tails are the ends of heads in one second. They are never changed: responses under
// way have parts of them.
type tails struct {
	second      int64
	keep, close []byte
}

// New gives the constructor for cfg.
func New(cfg Config) appliance.New {
	return func(env *appliance.Env) (appliance.Appliance, error) {
		if err := cfg.Site.Check(); err != nil {
			return nil, err
		}
		l, err := env.Net.Listen("tcp", ":"+strconv.Itoa(int(cfg.Port)))
		if err != nil {
			return nil, err
		}
		return &server{Config: cfg, listener: l, now: env.Now, conns: map[net.Conn]struct{}{}}, nil
	}
}

// Serve implements appliance.Appliance.
func (s *server) Serve(ctx context.Context) error {
	return appliance.Loops(ctx, s.close, func() error { return s.connections(ctx) })
}

// maxFailures is how many times in a row no connection may come of the listener.
const maxFailures = 100

func (s *server) connections(ctx context.Context) error {
	for failures := 0; ; {
		c, err := s.listener.Accept()
		if err != nil {
			if failures++; ctx.Err() != nil || errors.Is(err, net.ErrClosed) || failures == maxFailures {
				return format.Errorf("httpd: %w", err)
			}
			continue
		}
		failures = 0
		s.admit(ctx, c)
		go func() {
			defer s.dismiss(c)
			s.converse(c)
		}()
	}
}

func (s *server) admit(ctx context.Context, c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[c] = struct{}{}
	if ctx.Err() != nil {
		c.Close() // close may have looked at conns already
	}
}

func (s *server) dismiss(c net.Conn) {
	c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// close ends the listener and all connections.
func (s *server) close() {
	s.listener.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
}

// tail returns how a head ends now: Date, and Connection when it is the last.
func (s *server) tail(last bool) []byte {
	second := s.now().Unix()
	t := s.tails.Load()
	if t == nil || t.second != second {
		date := append(site.AppendDate([]byte("Date: "), second), "\r\n"...)
		t = &tails{second, append(date[:len(date):len(date)], "\r\n"...), append(date[:len(date):len(date)], "Connection: close\r\n\r\n"...)}
		s.tails.Store(t)
	}
	if last {
		return t.close
	}
	return t.keep
}

// exchange is what it takes to answer a request. Only a connection that has one
// under way holds one.
type exchange struct {
	parse http1.Request
	q     site.Request
	r     site.Response
	out   []byte
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
