// Package certs is what the TLS terminator knows of its certificates: a Source of
// generations, and which certificate of a generation a name gets (RFC 6066 section
// 3, RFC 9525 for wildcards).
package certs

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
	"time"

	"ampoule/libos/crl"
	"ampoule/libos/format"
)

// A Source has certificates, one generation at a time. Its methods may be called
// from any goroutine and do not block.
type Source interface {
	// Current is the generation in force. It is never changed.
	Current() *Generation
	// Watch calls f once for each generation that comes into force after this
	// call, from the goroutine that commits it; f must not block. cancel ends that.
	Watch(f func(*Generation)) (cancel func())
}

// Generation is a set of certificates that came into force at one instant.
type Generation struct {
	Number       uint64
	Certificates []Certificate
	// Clients are the authorities for certificates of clients; nil: clients are
	// not asked for one.
	Clients *x509.CertPool
	// Revoked says why a client is refused whose certificate was verified with one of
	// the chains (package crl), or nil; nil: nobody is asked whether it was revoked.
	Revoked func(chains [][]*x509.Certificate) error
}

// Certificate is one with what it is for.
type Certificate struct {
	// TLS has chain, key, the parsed leaf, and the staple, unless there is Serve.
	TLS tls.Certificate
	// Serve is TLS as it is served now, with its staple as long as that is good; nil:
	// as it is. Its result is not changed.
	Serve func() *tls.Certificate
	// Names are the names that get it, in lower case; "*.example.org" is for all
	// names with one more label. None: those that the certificate itself has.
	Names []string
	// Default says that it is for clients that ask for no name or an unknown one.
	Default bool
}

// Compiled is a certificate as it stands in an image.
type Compiled struct {
	Names   []string
	Default bool
	Chain   []string // DER, the certificate itself first
	Key     string   // PKCS #8
	Staple  string   // an OCSP response in DER, or nothing
}

// WithLists is g whose clients are checked with revocation lists of their authorities,
// both as in Load, from the image: dates don't matter until a client comes.
func WithLists(g *Generation, err error, lists string, clients []string) (*Generation, error) {
	if err != nil {
		return nil, err
	}
	var all []*x509.Certificate
	for _, der := range clients {
		c, err := x509.ParseCertificate([]byte(der))
		if err != nil {
			return nil, format.Errorf("certs: authority of clients: %w", err)
		}
		all = append(all, c)
	}
	l, err := crl.New([]byte(lists), all, time.Time{})
	if err != nil {
		return nil, format.Errorf("certs: revocation lists: %w", err)
	}
	g.Revoked = func(chains [][]*x509.Certificate) error { return l.Check(chains, time.Now()) }
	return g, nil
}

// Load makes the only generation of an image without management plane, of what was
// compiled in; clients are certificates of authorities in DER.
func Load(list []Compiled, clients []string) (*Generation, error) {
	if len(list) == 0 {
		return nil, format.Errorf("certs: no certificates are compiled in")
	}
	g := &Generation{Number: 1}
	for _, c := range list {
		x, err := c.parse()
		if err != nil {
			return nil, err
		}
		g.Certificates = append(g.Certificates, x)
	}
	if len(clients) > 0 {
		g.Clients = x509.NewCertPool()
	}
	for _, der := range clients {
		c, err := x509.ParseCertificate([]byte(der))
		if err != nil {
			return nil, format.Errorf("certs: authority of clients: %w", err)
		}
		g.Clients.AddCert(c)
	}
	return g, nil
}

func (c *Compiled) parse() (Certificate, error) {
	x := Certificate{Names: c.Names, Default: c.Default}
	if len(c.Chain) == 0 {
		return x, format.Errorf("certs: a chain is empty")
	}
	for _, der := range c.Chain {
		x.TLS.Certificate = append(x.TLS.Certificate, []byte(der))
	}
	var err error
	if x.TLS.Leaf, err = x509.ParseCertificate(x.TLS.Certificate[0]); err != nil {
		return x, format.Errorf("certs: %w", err)
	}
	if x.TLS.PrivateKey, err = x509.ParsePKCS8PrivateKey([]byte(c.Key)); err != nil {
		return x, format.Errorf("certs: key: %w", err)
	}
	if c.Staple != "" {
		x.TLS.OCSPStaple = []byte(c.Staple)
	}
	return x, nil
}

// Index finds certificates by name. It is never changed.
type Index struct {
	names    map[string][]*Certificate // "*.x" for wildcards
	fallback []*Certificate            // none: unknown names are refused
}

// NewIndex makes the index of a generation.
func NewIndex(g *Generation) *Index {
	x := &Index{names: map[string][]*Certificate{}}
	for i := range g.Certificates {
		c := &g.Certificates[i]
		names := c.Names
		if len(names) == 0 {
			names = c.TLS.Leaf.DNSNames
		}
		for _, n := range names {
			n = strings.ToLower(n)
			x.names[n] = append(x.names[n], c)
		}
		if c.Default {
			x.fallback = append(x.fallback, c)
		}
	}
	return x
}

// Find returns the certificates for a name in the order of the configuration, and
// whether there are any of its own; if not, those are the defaults, if there are any.
// name is what a client sent, and "" if it sent none.
func (x *Index) Find(name string) (found []*Certificate, known bool) {
	name = lower(strings.TrimSuffix(name, "."))
	if found = x.names[name]; found != nil {
		return found, true
	}
	if i := strings.IndexByte(name, '.'); i > 0 {
		if found = x.names["*"+name[i:]]; found != nil {
			return found, true
		}
	}
	return x.fallback, false
}

// lower is name in lower case, as most are.
func lower(name string) string {
	for i := range len(name) {
		if c := name[i]; 'A' <= c && c <= 'Z' {
			return strings.ToLower(name)
		}
	}
	return name
}

// Choose returns the first of found that the client can use, or the first of all
// when it can use none, so that the handshake fails with the right alert; nil if none
// was found.
func Choose(found []*Certificate, hello *tls.ClientHelloInfo) *tls.Certificate {
	if len(found) == 0 {
		return nil
	}
	if len(found) > 1 {
		for _, c := range found {
			if hello.SupportsCertificate(&c.TLS) == nil {
				return c.now()
			}
		}
	}
	return found[0].now()
}

// now is the certificate as it is served now.
func (c *Certificate) now() *tls.Certificate {
	if c.Serve != nil {
		return c.Serve()
	}
	return &c.TLS
}
