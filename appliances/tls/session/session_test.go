package session

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"net"
	"testing"
	"time"

	"ampoule/appliances/tls/tlstest"
)

func newServer(t *testing.T, cfg Config, source *tlstest.Source) *Server {
	t.Helper()
	s, err := NewServer(cfg, source, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// shake does a handshake and sends one byte each way, so that tickets arrive.
func shake(t *testing.T, s *Server, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	a.SetDeadline(time.Now().Add(10 * time.Second))
	b.SetDeadline(time.Now().Add(10 * time.Second))
	server, c := tls.Server(b, s.TLS()), tls.Client(a, client)
	done := make(chan error, 1)
	go func() {
		defer b.Close()
		_, err := server.Write([]byte("x"))
		done <- err
	}()
	_, err = c.Read(make([]byte, 1))
	state := c.ConnectionState()
	a.Close()
	return state, errors.Join(err, <-done)
}

func resumed(t *testing.T, s *Server, client *tls.Config) bool {
	t.Helper()
	state, err := shake(t, s, client)
	if err != nil {
		t.Fatal(err)
	}
	return state.DidResume
}

var versions = map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13}

func each(t *testing.T, f func(t *testing.T, ca *tlstest.CA, client *tls.Config)) {
	for name, v := range versions {
		t.Run(name, func(t *testing.T) {
			ca := tlstest.NewCA(t)
			f(t, ca, &tls.Config{RootCAs: ca.Pool(), ServerName: "a.test", MinVersion: v, MaxVersion: v,
				ClientSessionCache: tls.NewLRUClientSessionCache(0)})
		})
	}
}

// TestTickets: sessions resume with the keys of the last two rotations, and not with
// older ones.
func TestTickets(t *testing.T) {
	each(t, func(t *testing.T, ca *tlstest.CA, client *tls.Config) {
		s := newServer(t, Config{MinVersion: tls.VersionTLS12, Tickets: time.Hour}, tlstest.NewSource(nil, ca.Issue(t, "a.test")))
		if resumed(t, s, client) || !resumed(t, s, client) {
			t.Fatal("the second handshake does not resume, or the first does")
		}
		s.Rotate()
		s.Rotate()
		kept := client.Clone()
		if !resumed(t, s, client) {
			t.Error("not resumed after two rotations")
		}
		kept.ClientSessionCache = tls.NewLRUClientSessionCache(0)
		resumed(t, s, kept)
		for range ticketKeys {
			if err := s.Rotate(); err != nil {
				t.Fatal(err)
			}
		}
		if resumed(t, s, kept) {
			t.Error("resumed after the key is forgotten")
		}
	})
}

func TestNoTickets(t *testing.T) {
	each(t, func(t *testing.T, ca *tlstest.CA, client *tls.Config) {
		s := newServer(t, Config{MinVersion: tls.VersionTLS12}, tlstest.NewSource(nil, ca.Issue(t, "a.test")))
		for range 2 {
			if resumed(t, s, client) {
				t.Error("resumed without tickets")
			}
		}
	})
}

// TestTicketGeneration: a ticket outlives a generation that leaves its name alone, and
// not one with another certificate for it.
func TestTicketGeneration(t *testing.T) {
	each(t, func(t *testing.T, ca *tlstest.CA, client *tls.Config) {
		a := ca.Issue(t, "a.test")
		source := tlstest.NewSource(nil, a)
		s := newServer(t, Config{MinVersion: tls.VersionTLS12, Tickets: time.Hour}, source)
		resumed(t, s, client)
		source.Commit(tlstest.Generation(2, nil, a, ca.Issue(t, "b.test")))
		if s.Generation() != 2 || !resumed(t, s, client) {
			t.Error("not resumed though the certificate is the same")
		}
		fresh := ca.Issue(t, "a.test")
		source.Commit(tlstest.Generation(3, nil, fresh))
		state, err := shake(t, s, client)
		if err != nil || state.DidResume || !state.PeerCertificates[0].Equal(fresh.Leaf) {
			t.Errorf("after a new certificate: resumed %t, %v", state.DidResume, err)
		}
		source.Commit(tlstest.Generation(2, nil, a))
		if s.Generation() != 3 {
			t.Error("an old generation is taken")
		}
	})
}

// TestTicketName: a ticket for one name is nothing to another with its own certificate.
func TestTicketName(t *testing.T) {
	each(t, func(t *testing.T, ca *tlstest.CA, client *tls.Config) {
		s := newServer(t, Config{MinVersion: tls.VersionTLS12, Tickets: time.Hour, RefuseUnknown: true},
			tlstest.NewSource(nil, ca.Issue(t, "a.test"), ca.Issue(t, "b.test")))
		resumed(t, s, client)
		session, ok := client.ClientSessionCache.Get("a.test")
		if !ok {
			t.Fatal("no session")
		}
		other := client.Clone()
		other.ServerName, other.ClientSessionCache = "b.test", only{session}
		other.InsecureSkipVerify = true
		if resumed(t, s, other) {
			t.Error("a.test's ticket is good for b.test")
		}
		other.ServerName = "c.test"
		if state, err := shake(t, s, other); err == nil {
			t.Errorf("a.test's ticket is good for an unknown name: resumed %t", state.DidResume)
		}
	})
}

// only is a cache of one session, whatever the name.
type only struct{ s *tls.ClientSessionState }

func (o only) Get(string) (*tls.ClientSessionState, bool) { return o.s, true }
func (only) Put(string, *tls.ClientSessionState)          {}

func TestClients(t *testing.T) {
	each(t, func(t *testing.T, ca *tlstest.CA, client *tls.Config) {
		strangers := tlstest.NewCA(t)
		source := tlstest.NewSource(ca.Pool(), ca.Issue(t, "a.test"))
		for _, require := range []bool{false, true} {
			s := newServer(t, Config{MinVersion: tls.VersionTLS12, Tickets: time.Hour, RequireClient: require}, source)
			if _, err := shake(t, s, client); (err != nil) != require {
				t.Errorf("required %t, without certificate: %v", require, err)
			}
			alice := client.Clone()
			alice.ClientSessionCache = tls.NewLRUClientSessionCache(0)
			alice.Certificates = []tls.Certificate{ca.Issue(t, "alice")}
			if resumed(t, s, alice) || !resumed(t, s, alice) {
				t.Error("alice is not known, or not known again")
			}
			// Her authority is replaced: neither her certificate nor her ticket is good.
			source.Commit(tlstest.Generation(s.Generation()+1, strangers.Pool(), ca.Issue(t, "a.test")))
			if _, err := shake(t, s, alice); err == nil && require {
				t.Error("alice's ticket is good without her authority")
			}
			source.Commit(tlstest.Generation(s.Generation()+1, ca.Pool(), ca.Issue(t, "a.test")))
			stranger := client.Clone()
			stranger.ClientSessionCache = nil
			stranger.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				c := strangers.Issue(t, "mallory")
				return &c, nil
			}
			if _, err := shake(t, s, stranger); err == nil {
				t.Errorf("required %t: a certificate of another authority is good", require)
			}
		}
	})
}

func TestKeyExchange(t *testing.T) {
	ca := tlstest.NewCA(t)
	s := newServer(t, Config{MinVersion: tls.VersionTLS12, ALPN: []string{"h2", "http/1.1"}}, tlstest.NewSource(nil, ca.Issue(t, "a.test")))
	for _, c := range []struct {
		offer []tls.CurveID
		alpn  []string
		want  tls.CurveID
		proto string
	}{
		{nil, nil, tls.X25519MLKEM768, ""},
		{[]tls.CurveID{tls.X25519, tls.CurveP256}, []string{"http/1.1"}, tls.X25519, "http/1.1"},
		{[]tls.CurveID{tls.CurveP256}, []string{"http/1.1", "h2"}, tls.CurveP256, "h2"},
	} {
		state, err := shake(t, s, &tls.Config{RootCAs: ca.Pool(), ServerName: "a.test", CurvePreferences: c.offer, NextProtos: c.alpn})
		if err != nil || state.CurveID != c.want || state.NegotiatedProtocol != c.proto {
			t.Errorf("%v, %v: %v, %q, %v", c.offer, c.alpn, state.CurveID, state.NegotiatedProtocol, err)
		}
	}
	if _, err := shake(t, s, &tls.Config{RootCAs: ca.Pool(), ServerName: "a.test", NextProtos: []string{"imap"}}); err == nil {
		t.Error("a protocol that nobody speaks is agreed on")
	}
}
