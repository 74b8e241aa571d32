// Package mgmt is the management plane, the same for every appliance: a listener
// of its own that speaks HTTP/1.1 over TLS 1.3 to clients with a certificate from
// an authority that the configuration names. openapi.json is its contract.
//
// A client may read, or read and change (Role). Who it is is known before the
// first byte of a request; without a certificate there is no connection. All that
// clients can use is bounded: connections, handshakes a second, bytes and time of a
// request. Each change, done or refused, is a line in the log (audit).
//
// HTTP is package http1 and not net/http, which would add 3 MB to an image. TLS is
// crypto/tls.
package mgmt

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"ampoule/libos/format"
	"ampoule/libos/http1"
	"ampoule/libos/mgmt/certs"
	"ampoule/libos/mgmt/door"
	"ampoule/libos/mgmt/plane"
	"ampoule/libos/telemetry/metrics"
)

// Config is plain data that tools/configc writes as Go source. It implements
// plane.Management.
type Config struct {
	Address netip.Addr // to listen at; the zero Addr: all
	Port    uint16
	// Clients are the authorities of clients' certificates, as PEM.
	Clients string
	// Grants says what clients may do by the SHA-256 of their certificates. Empty:
	// their certificates say it themselves.
	Grants []Grant
	// Own makes the plane's own certificate, until one is committed.
	Own Own
	// Keep keeps generations of certificates; nil: they end with the VM.
	Keep Keeper
	// Slots is the most certificates that are held.
	Slots int
	// Required says what certificates must be good for.
	Required []certs.Required
	// Initial are the certificates and authorities of the appliance's services that
	// were compiled in: generation 0, until one is committed or found on the disk.
	Initial []certs.Initial
	// Connections is the most that are open at a time.
	Connections int
	// Handshakes is the most that are begun in a second, and as many again by who
	// comes from where clients came from.
	Handshakes int
	// Parts are what the plane has besides.
	Parts []Part
}

// Own makes the plane's own certificate.
type Own interface {
	// Certificate returns chain and key as PEM, and says in a few words where they
	// are from. names are what the plane goes by.
	Certificate(rand io.Reader, now time.Time, names []string) (pem []byte, from string, err error)
}

// Keeper opens what keeps generations. An error says why it can't: then the plane
// serves without, and says so.
type Keeper interface {
	Open(*plane.Host) (certs.Keeper, error)
}

// Part adds routes to the plane.
type Part interface {
	Routes(*plane.Host) []Route
}

// Do answers a request that did not come over HTTP: by whom, in which role, and
// which generation it is to replace, or "".
type Do func(who string, role Role, x *http1.Exchange, generation string)

// Starter is a Part that has a listener of its own.
type Starter interface {
	// Start listens and returns what serves until its context is done.
	Start(h *plane.Host, do Do) (serve func(context.Context) error, err error)
}

// Server is the plane. It implements plane.Plane.
type Server struct {
	cfg    *Config
	host   *plane.Host
	certs  *certs.Store
	listen net.Listener
	door   *door.Door
	tls    *tls.Config
	routes []Route
	limits http1.Limits
	serves []func(context.Context) error // of the parts
	crash  plane.Crashes                 // nil: nothing keeps them
	notice string                        // why nothing is kept that should be

	mu         sync.Mutex // guards what follows
	collectors []metrics.Collector
	ready      []func() string

	count counters
}

// Limits of one connection and of its requests.
var limits = http1.Limits{
	Head: 8 << 10, Body: certs.MaxBundle,
	Idle: time.Minute, Read: 15 * time.Second, Write: 15 * time.Second,
	Requests: 10000,
}

// handshakeTime is how long a client may take for the handshake.
const handshakeTime = 10 * time.Second

// Open implements plane.Management.
func (c *Config) Open(h *plane.Host) (plane.Plane, error) {
	s, err := newServer(c, h)
	if err != nil {
		return nil, format.Errorf("management: %w", err)
	}
	return s, nil
}

func newServer(c *Config, h *plane.Host) (*Server, error) {
	// No randomness, no TLS: better to know it here than in a handshake.
	var probe [32]byte
	_, err := io.ReadFull(h.Rand, probe[:])
	if err == nil && probe == [32]byte{} {
		err = errors.New("zeros")
	}
	if err != nil {
		return nil, format.Errorf("no randomness: %w", err)
	}
	// Dates are not looked at: an appliance whose authority has expired, or whose
	// clock is wrong, must serve. TLS looks at them.
	clients, err := certs.CheckAuthority(certs.Management, []byte(c.Clients), time.Time{})
	if err != nil {
		return nil, format.Errorf("authorities of clients: %w", err)
	}
	now := h.Now()
	bundle, from, err := c.Own.Certificate(h.Rand, now, c.names(h))
	if err != nil {
		return nil, err
	}
	own, err := certs.Check(certs.Management, bundle, time.Time{})
	if err != nil {
		return nil, format.Errorf("own certificate: %w", err)
	}
	mine := *h
	mine.Port = c.Port
	h = &mine
	s := &Server{cfg: c, host: h, limits: limits,
		door: door.New(door.Config{Places: c.Connections, Rate: c.Handshakes}, time.Now)}
	if err := s.openCerts(own, clients); err != nil {
		return nil, err
	}
	s.tls = s.certs.TLS(&tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert,
		NextProtos: []string{"http/1.1"}, Time: h.Now, SessionTicketsDisabled: true,
	}, func(t *tls.Config, g *certs.Generation) { t.ClientCAs = g.Authorities[certs.Management].Pool },
		func(g *certs.Generation, _ *tls.ClientHelloInfo) *certs.Certificate {
			return g.Certificates[certs.Management]
		})
	if s.routes, err = s.allRoutes(); err != nil {
		return nil, err
	}
	at := ":" + strconv.Itoa(int(c.Port))
	if c.Address.IsValid() {
		at = netip.AddrPortFrom(c.Address, c.Port).String()
	}
	if s.listen, err = h.Listen("tcp", at); err != nil {
		return nil, err
	}
	if err := s.startParts(); err != nil {
		s.listen.Close()
		return nil, err
	}
	g := s.certs.Current()
	if g.Number > 0 {
		from = "of generation " + strconv.FormatUint(g.Number, 10)
	}
	kept, _ := s.kept()
	h.Log.Info("management", "port", c.Port, "certificate", from, "sha256", fingerprint(g.Certificates[certs.Management].Leaf()),
		"generation", g.Number, "persisted", kept)
	return s, nil
}

// startParts starts those that have a listener.
func (s *Server) startParts() error {
	for _, p := range s.cfg.Parts {
		if st, ok := p.(Starter); ok {
			serve, err := st.Start(s.host, s.do)
			if err != nil {
				return err
			}
			s.serves = append(s.serves, serve)
		}
	}
	return nil
}

// openCerts makes the store of certificates, with what was kept. That nothing can
// be kept, or what was is not fit, is no reason not to serve: the appliance could
// not be managed at all then.
func (s *Server) openCerts(own *certs.Certificate, clients *certs.Authority) error {
	c, h := s.cfg, s.host
	cfg := certs.Config{Slots: c.Slots, Required: c.Required, Now: h.Now}
	var err error
	if c.Keep != nil {
		cfg.Keep, err = c.Keep.Open(h)
	}
	if err != nil {
		cfg.Keep = nil
	}
	s.certs = certs.New(cfg, own, clients)
	if err := s.certs.Begin(c.Initial); err != nil {
		return err
	}
	restored := false
	if err == nil {
		restored, err = s.certs.Restore()
	}
	if restored && len(c.Initial) > 0 {
		h.Log.Info("certificates are those that were kept, not those of the image", "generation", s.certs.Current().Number)
	}
	if box, ok := cfg.Keep.(plane.Box); ok && err == nil {
		h.Box = box
	}
	if crash, ok := cfg.Keep.(plane.Crashes); ok && err == nil {
		s.keepCrash(crash)
	}
	if err != nil {
		s.notice = err.Error()
		h.Log.Error("certificates are not kept, and begin anew", "error", err)
	}
	return nil
}

// kept says whether a restart finds the current generation, and what there is to
// know of that.
func (s *Server) kept() (bool, string) {
	if s.notice != "" {
		return false, "not persisted: " + s.notice
	}
	return s.certs.Kept()
}

// names are what the plane goes by: the appliance's name, and its address.
func (c *Config) names(h *plane.Host) []string {
	names := []string{h.Hostname}
	if c.Address.IsValid() {
		names = append(names, c.Address.String())
	}
	return names
}

// Certificates implements certs.Holder.
func (s *Server) Certificates() *certs.Store { return s.certs }

// Collect implements plane.Plane.
func (s *Server) Collect(c metrics.Collector) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.collectors = append(s.collectors, c)
}

// Ready implements plane.Plane.
func (s *Server) Ready(ready func() string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready = append(s.ready, ready)
}

// Secure implements plane.Plane.
func (s *Server) Secure(l net.Listener, protocols ...string) net.Listener {
	return &secured{l, s.certs.TLS(&tls.Config{MinVersion: tls.VersionTLS12, NextProtos: protocols, Time: s.host.Now}, nil, nil)}
}

// secured is a listener with TLS.
type secured struct {
	net.Listener
	tls *tls.Config
}

func (l *secured) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return tls.Server(c, l.tls), nil
}

// Addr is where the plane listens.
func (s *Server) Addr() net.Addr { return s.listen.Addr() }
