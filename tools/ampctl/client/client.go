// Package client talks to the management plane of one appliance: HTTP/1.1 over TLS
// 1.3 with a client certificate. libos/mgmt/openapi.json is the contract.
//
// What an appliance answers is bounded and checked, not believed: it may be
// another's. A Client keeps one connection, since planes ration handshakes. No error
// and no String of this package has the content of a bundle.
package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"time"
)

// Config says whom a Client talks to, and as whom.
type Config struct {
	Address    string // host:port
	ServerName string // that its certificate must be good for
	// The appliance's certificate is accepted if its SHA-256 is among Pins, or if
	// Roots vouch for it.
	Roots       *x509.CertPool // nil: none
	Pins        [][sha256.Size]byte
	Certificate tls.Certificate // the client's own, with Leaf
	Timeout     time.Duration   // of each request, with connecting
	// Wrap is for tests: it may look at requests and answers, and lose them. nil:
	// nothing does.
	Wrap func(http.RoundTripper) http.RoundTripper
}

// Client is the client of one appliance. Any goroutine may use it.
type Client struct {
	cfg    Config
	tls    *tls.Config
	http   *http.Client
	under  *http.Transport
	worked atomic.Bool // it has had an answer
}

// New makes a Client; it connects when asked for something. Close it.
func New(cfg Config) *Client {
	c := &Client{cfg: cfg}
	c.tls = &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"},
		InsecureSkipVerify: true, VerifyConnection: c.verify, // which verifies in its place
		// Whatever authorities the other side lists: it then says what is wrong.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cfg.Certificate, nil },
	}
	if net.ParseIP(cfg.ServerName) == nil {
		c.tls.ServerName = cfg.ServerName
	}
	c.under = &http.Transport{DialTLSContext: c.dial, MaxConnsPerHost: 1, DisableCompression: true, IdleConnTimeout: 50 * time.Second}
	var rt http.RoundTripper = c.under
	if cfg.Wrap != nil {
		rt = cfg.Wrap(rt)
	}
	c.http = &http.Client{Transport: rt, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return c
}

// Close ends the connection.
func (c *Client) Close() { c.under.CloseIdleConnections() }

// Address is where the appliance is.
func (c *Client) Address() string { return c.cfg.Address }

// Fingerprint is the SHA-256 of a certificate in hexadecimal digits.
func Fingerprint(x *x509.Certificate) string {
	sum := sha256.Sum256(x.Raw)
	return hex.EncodeToString(sum[:])
}

// verify is the VerifyConnection of TLS.
func (c *Client) verify(s tls.ConnectionState) error { return c.Trusts(s.PeerCertificates) }

// Trusts says why a chain, the appliance's own certificate first, would not be
// accepted as the appliance's; nil: it would.
func (c *Client) Trusts(chain []*x509.Certificate) error {
	leaf := chain[0]
	if slices.Contains(c.cfg.Pins, sha256.Sum256(leaf.Raw)) {
		return nil
	}
	if c.cfg.Roots == nil {
		return problem(Untrusted, "server-other-sha256",
			"The appliance's certificate has the SHA-256 %s, which is not the one that is expected.", Fingerprint(leaf))
	}
	between := x509.NewCertPool()
	for _, x := range chain[1:] {
		between.AddCert(x)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: c.cfg.Roots, Intermediates: between, DNSName: c.cfg.ServerName})
	if err != nil {
		return distrust(err, leaf, c.cfg.ServerName)
	}
	return nil
}

// pauses are how long to wait before a handshake is tried again that was ended
// without a word: planes do that with more handshakes than they take in a second.
var pauses = [...]time.Duration{300 * time.Millisecond, 900 * time.Millisecond}

// dial connects and makes the handshake. Nothing of a request has been sent when
// it fails.
func (c *Client) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	for i := 0; ; i++ {
		conn, err := c.handshake(ctx, network)
		if err == nil || !broken(err) || i == len(pauses) {
			if err != nil {
				err = notSent{err}
			}
			return conn, err
		}
		select {
		case <-ctx.Done():
			return nil, notSent{err}
		case <-time.After(pauses[i]):
		}
	}
}

// notSent marks an error from before the request was sent.
type notSent struct{ error }

func (e notSent) Unwrap() error { return e.error }

func (c *Client) handshake(ctx context.Context, network string) (net.Conn, error) {
	var d net.Dialer
	raw, err := d.DialContext(ctx, network, c.cfg.Address)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, c.tls)
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, err
	}
	return conn, nil
}

// request is one request.
type request struct {
	method, path string
	base         *uint64 // If-Match
	body         []byte
}

// maxAnswer is the most bytes of an answer: a capture has 1 MiB.
const maxAnswer = 8 << 20

// do makes a request and returns the answer to one that succeeds. Each error is an
// *Error.
func (c *Client) do(ctx context.Context, r request) ([]byte, http.Header, error) {
	within, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(within, r.method, "https://"+c.cfg.Address+r.path, bytes.NewReader(r.body))
	if err != nil {
		return nil, nil, problem(Local, "bad-request", "The request can't be made.") // the reason could quote it
	}
	if r.base != nil {
		req.Header.Set("If-Match", fmt.Sprintf(`"%d"`, *r.base))
	}
	body, header, status, err := c.exchange(req)
	if err != nil {
		return nil, nil, c.explain(ctx, err)
	}
	c.worked.Store(true)
	if status < 200 || status > 299 {
		return nil, nil, answered(status, body)
	}
	return body, header, nil
}

// exchange sends a request and reads all of the answer.
func (c *Client) exchange(req *http.Request) ([]byte, http.Header, int, error) {
	res, err := c.http.Do(req)
	if err != nil {
		return nil, nil, 0, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = errors.New("the answer is too long")
	}
	return body, res.Header, res.StatusCode, err
}

// explain makes an *Error of why there was no answer.
func (c *Client) explain(ctx context.Context, err error) *Error {
	e := transport(err, c.cfg.Address)
	// With TLS 1.3 the other side's verdict on our certificate comes after the
	// handshake, and is lost when it ends the connection with our request unread.
	if e.Code == "connection-lost" && !c.worked.Load() {
		if verdict := c.verdict(ctx); verdict != nil {
			e = verdict
		}
	}
	var before notSent
	e.Sent = !errors.As(err, &before) && e.Class != Untrusted
	return e
}

// verdict connects and sends nothing, so that what the other side says is heard.
func (c *Client) verdict(ctx context.Context) *Error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	conn, err := c.handshake(ctx, "tcp")
	if err != nil {
		return nil
	}
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(2 * time.Second))
	_, err = conn.Read(make([]byte, 1))
	return alert(err)
}

// read makes a request for JSON, puts it into v, and returns it as it came.
func (c *Client) read(ctx context.Context, r request, v any) (json.RawMessage, error) {
	body, _, err := c.do(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(body, v); err != nil {
		return nil, &Error{Class: Failed, Code: "bad-answer", Sentence: "What " + c.cfg.Address + " answers is not what a management plane does.", Sent: true}
	}
	return bytes.TrimSpace(body), nil
}
