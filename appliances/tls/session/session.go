// Package session makes the crypto/tls configuration of the TLS terminator: which
// protocols it speaks (RFC 8446, RFC 5246 with RFC 9325's suites), which certificate a
// client gets, and what tickets are good for (RFC 8446 section 4.6.1, RFC 5077).
//
// A generation of certificates is taken by each handshake once, when its ClientHello
// has come: no handshake mixes two.
package session

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"ampoule/appliances/tls/certs"
	"ampoule/libos/format"
)

// Config says what is spoken.
type Config struct {
	// MinVersion is tls.VersionTLS12 or tls.VersionTLS13.
	MinVersion uint16
	// ALPN are the protocols that the backends speak, the preferred first; empty:
	// clients are not answered about it. A client that offers none of them is refused
	// (RFC 7301 section 3.2), one that offers nothing is not.
	ALPN []string
	// RefuseUnknown refuses clients that ask for a name without certificate, with
	// the alert unrecognized_name (RFC 6066 section 3), instead of the default.
	RefuseUnknown bool
	// RequireClient refuses clients without a certificate, and all clients while the
	// generation has no authorities for them; else they may show one, if it has, which
	// then must be good.
	RequireClient bool
	// Tickets is how long a key encrypts tickets; 0: there are none. Each is good for
	// decryption for that time twice more.
	Tickets time.Duration
}

// ticketKeys is how many keys decrypt tickets, the one in use among them.
const ticketKeys = 3

// Server gives the configuration for each handshake.
type Server struct {
	cfg    Config
	rand   io.Reader
	base   *tls.Config
	now    atomic.Pointer[generation]
	cancel func()

	mu   sync.Mutex // guards what follows, and the order of changes of now
	keys [][32]byte
}

// generation is what is derived from one of certs.
type generation struct {
	number uint64
	index  *certs.Index
	config *tls.Config
	binds  map[*certs.Certificate][16]byte // for tickets
	refuse bool                            // unknown names
	lacks  string
}

// NewServer follows the generations of source. rand is for ticket keys.
func NewServer(cfg Config, source certs.Source, rand io.Reader) (*Server, error) {
	s := &Server{cfg: cfg, rand: rand}
	if err := s.Rotate(); err != nil {
		return nil, err
	}
	s.cancel = source.Watch(s.take)
	s.take(source.Current())
	s.base = &tls.Config{
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.now.Load().config, nil },
		MinVersion:         cfg.MinVersion,
	}
	return s, nil
}

// TLS is the configuration to serve with. It is always the same, and follows the
// generations by itself.
func (s *Server) TLS() *tls.Config { return s.base }

// Generation is the number of the generation that new handshakes get.
func (s *Server) Generation() uint64 { return s.now.Load().number }

// Lacks says why handshakes fail, in a few words, or "": they don't.
func (s *Server) Lacks() string { return s.now.Load().lacks }

// Close follows no more generations.
func (s *Server) Close() { s.cancel() }

// Rotate begins to encrypt tickets with a new key, and forgets the oldest.
func (s *Server) Rotate() error {
	var key [32]byte
	if _, err := io.ReadFull(s.rand, key[:]); err != nil {
		return format.Errorf("session: read entropy: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := [][32]byte{key}
	s.keys = append(keys, s.keys[:min(len(s.keys), ticketKeys-1)]...)
	if g := s.now.Load(); g != nil {
		g.config.SetSessionTicketKeys(s.keys)
	}
	return nil
}

// take puts a generation into force, unless a later one is already.
func (s *Server) take(g *certs.Generation) {
	n := s.derive(g)
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.now.Load(); old != nil && old.number >= n.number {
		return
	}
	n.config.SetSessionTicketKeys(s.keys)
	s.now.Store(n)
}

var (
	suites12  = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256}
	exchanges = []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384}
)

func (s *Server) derive(g *certs.Generation) *generation {
	index := certs.NewIndex(g)
	n := &generation{number: g.Number, index: index, refuse: s.cfg.RefuseUnknown, binds: map[*certs.Certificate][16]byte{}}
	for i := range g.Certificates {
		n.binds[&g.Certificates[i]] = bind(&g.Certificates[i])
	}
	n.config = &tls.Config{
		MinVersion:             s.cfg.MinVersion,
		CipherSuites:           suites12,
		CurvePreferences:       exchanges,
		NextProtos:             s.cfg.ALPN,
		SessionTicketsDisabled: s.cfg.Tickets == 0,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			found, known := index.Find(hello.ServerName)
			if !known && n.refuse && hello.ServerName != "" {
				return nil, nil // is answered with unrecognized_name
			}
			return certs.Choose(found, hello), nil // nil, too
		},
	}
	if len(g.Certificates) == 0 {
		n.lacks = "there are no certificates"
	}
	switch {
	case g.Clients != nil && !s.cfg.RequireClient:
		n.config.ClientCAs, n.config.ClientAuth = g.Clients, tls.VerifyClientCertIfGiven
	case g.Clients != nil:
		n.config.ClientCAs, n.config.ClientAuth = g.Clients, tls.RequireAndVerifyClientCert
	case s.cfg.RequireClient:
		n.config.ClientCAs, n.config.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		if n.lacks == "" {
			n.lacks = "there are no authorities for clients' certificates"
		}
	}
	if revoked := g.Revoked; revoked != nil && g.Clients != nil {
		// Of sessions that are resumed too.
		n.config.VerifyConnection = func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 {
				return nil // where none is required
			}
			if err := revoked(state.VerifiedChains); err != nil {
				return &RevokedError{state.PeerCertificates[0], err}
			}
			return nil
		}
	}
	n.config.WrapSession, n.config.UnwrapSession = n.wrap, n.unwrap
	return n
}

// RevokedError refuses a client because of the revocation lists.
type RevokedError struct {
	Certificate *x509.Certificate // the client's
	Err         error             // of package crl
}

// Error implements error.
func (e *RevokedError) Error() string { return e.Err.Error() }

// Unwrap is the reason.
func (e *RevokedError) Unwrap() error { return e.Err }

// bind stands for a certificate in tickets.
func bind(c *certs.Certificate) (b [16]byte) {
	h := sha256.New()
	for _, der := range c.TLS.Certificate {
		h.Write(der)
	}
	copy(b[:], h.Sum(nil))
	return b
}

// bound is what a ticket for a name is bound to: all certificates that the name may
// get, since which of them it got is not known when it comes back. It is empty for a
// name that is refused.
func (n *generation) bound(name string) (all []byte) {
	found, known := n.index.Find(name)
	if !known && n.refuse && name != "" {
		return nil
	}
	for _, c := range found {
		b := n.binds[c]
		all = append(all, b[:]...)
	}
	return all
}

// wrap makes a ticket.
func (n *generation) wrap(state tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
	session.Extra = [][]byte{n.bound(state.ServerName)}
	return n.config.EncryptTicket(state, session)
}

// unwrap opens a ticket. One that was given under another certificate is worth nothing:
// the client gets a full handshake. Whether the certificate of a client is still good
// is crypto/tls' to check.
func (n *generation) unwrap(ticket []byte, state tls.ConnectionState) (*tls.SessionState, error) {
	session, err := n.config.DecryptTicket(ticket, state)
	if err != nil || session == nil {
		return nil, err
	}
	now := n.bound(state.ServerName)
	if len(now) == 0 || len(session.Extra) != 1 || string(session.Extra[0]) != string(now) {
		return nil, nil
	}
	return session, nil
}
