// Package https is the secure side of the HTTP appliance: TLS with the certificates
// of the management plane, and by ALPN HTTP/1.1 or, where the configuration has it,
// HTTP/2. Only an image with HTTPS links it, since the generated configuration names
// it.
package https

import (
	"crypto/tls"
	"errors"
	"net"
	"strconv"
	"time"

	"ampoule/appliances/http/httpd"
	"ampoule/libos/appliance"
	"ampoule/libos/memory"
	"ampoule/libos/mgmt/certs"
)

// Config is plain data that tools/configc writes as Go source. It implements
// httpd.Secure.
type Config struct {
	Port uint16
	// HTTP2 is h2.Protocol; nil: only HTTP/1.1 is spoken.
	HTTP2 Protocol
	// HSTS is the value of Strict-Transport-Security (RFC 6797); "": it is not sent.
	HSTS string
	// Connections is the most whose handshake was made; one more ends the one that has
	// been silent for longest. For handshakes there is room beside (see places.go).
	// Handshakes is the most that begin in a second, half of them from one source.
	Connections, Handshakes int
	// Handshake is how long one may take.
	Handshake time.Duration
}

// Protocol makes what serves the connections whose clients have chosen a protocol.
type Protocol interface {
	// Open returns a function that serves a connection until it ends and does not
	// close it. spawn runs a function in a goroutine.
	Open(cfg *httpd.Config, spawn func(func())) func(net.Conn, httpd.Handler)
}

// Names of the protocols in ALPN (RFC 7301).
const (
	alpn1 = "http/1.1"
	alpn2 = "h2"
)

// Listen implements httpd.Secure.
func (c *Config) Listen(env *appliance.Env, cfg *httpd.Config, m *memory.Guard) (net.Listener, error) {
	if env.Management == nil {
		return nil, errors.New("https: no management plane, which has the certificates")
	}
	plain, err := env.Net.Listen("tcp", ":"+strconv.Itoa(int(c.Port)))
	if err != nil {
		return nil, err
	}
	l := &listener{cfg: c, log: env.Log, memory: m, work: make(chan struct{}, maxBusy), conns: newPlaces(), strangers: newPlaces()}
	protocols := []string{alpn1}
	if c.HTTP2 != nil {
		protocols = []string{alpn2, alpn1}
		l.serve2 = c.HTTP2.Open(cfg, l.spawn)
	}
	l.Listener = env.Management.Secure(underneath{plain, l}, protocols...)
	if h, ok := env.Management.(interface{ Certificates() *certs.Store }); ok {
		l.certs = h.Certificates()
		env.Management.Ready(l.missing)
	}
	env.Management.Collect(l.collect)
	return l, nil
}

// Fields implements httpd.Secure.
func (c *Config) Fields() string {
	if c.HSTS == "" {
		return ""
	}
	return "Strict-Transport-Security: " + c.HSTS + "\r\n"
}

// missing says what HTTPS lacks.
func (l *listener) missing() string {
	for slot := range l.certs.Current().Certificates {
		if slot != certs.Management {
			return ""
		}
	}
	return "no certificate for HTTPS"
}

// fit says whether HTTP/2 may be spoken over a connection: with TLS 1.2 only ciphers
// that are authenticated encryption, with a key of its own (RFC 9113, section 9.2.2).
func fit(state *tls.ConnectionState) bool {
	if state.Version >= tls.VersionTLS13 {
		return true
	}
	switch state.CipherSuite {
	case tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256:
		return true
	}
	return false
}
