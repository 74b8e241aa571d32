package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// Class says what sort of failure it is. Its number is the exit code of ampctl, so
// it is never changed.
type Class int

// Classes.
const (
	Local       Class = 1 // something on this machine
	Usage       Class = 2 // the command line, or the fleet file
	Unreachable Class = 3 // no connection, or it broke
	Untrusted   Class = 4 // TLS: one of both does not accept the other's certificate
	Denied      Class = 5 // the plane knows the client, and does not let it
	Refused     Class = 6 // the plane refuses what was sent or asked for
	Conflict    Class = 7 // somebody else's change is in the way
	Failed      Class = 8 // the plane could not, or the appliance is not ready
	Mixed       Class = 9 // a change was made on some appliances and not on others
)

// Error is why a request failed.
type Error struct {
	Class      Class   `json:"exit"`
	Code       string  `json:"code"` // stable; the plane's own where it has answered
	Sentence   string  `json:"error"`
	Status     int     `json:"status,omitempty"` // of HTTP; 0: there was no answer
	Slot       string  `json:"slot,omitempty"`
	Generation *uint64 `json:"generation,omitempty"` // in force, where the plane said so
	// Sent says that the request may have been carried out: it was sent, and the
	// answer is not known.
	Sent bool `json:"-"`
}

// Error implements error.
func (e *Error) Error() string {
	s := e.Sentence
	if e.Slot != "" && !strings.Contains(s, e.Slot) {
		s = e.Slot + ": " + s
	}
	return s + " (" + e.Code + ")"
}

func problem(class Class, code, sentence string, args ...any) *Error {
	return &Error{Class: class, Code: code, Sentence: fmt.Sprintf(sentence, args...)}
}

// classOf is the class of an answer with an error.
func classOf(status int) Class {
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return Denied
	case status == http.StatusConflict || status == http.StatusPreconditionFailed || status == http.StatusPreconditionRequired:
		return Conflict
	case status >= 500:
		return Failed
	}
	return Refused
}

// answered makes the error of an answer that is none of success.
func answered(status int, body []byte) *Error {
	e := &Error{}
	if err := json.Unmarshal(body, e); err != nil || e.Code == "" {
		return &Error{Class: Failed, Code: "bad-answer", Status: status, Sent: true,
			Sentence: fmt.Sprintf("The answer has status %d and is not one of a management plane.", status)}
	}
	e.Class, e.Status = classOf(status), status
	return e
}

// distrust makes an error of why a chain does not verify.
func distrust(err error, leaf *x509.Certificate, name string) *Error {
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	is := fmt.Sprintf("The appliance's certificate (%s, SHA-256 %s)", leaf.Subject, Fingerprint(leaf))
	switch {
	case errors.As(err, &unknown):
		return problem(Untrusted, "server-unknown-authority",
			"%s is signed by %s, which is not in the CA file: wrong appliance, or wrong CA.", is, leaf.Issuer)
	case errors.As(err, &host):
		return problem(Untrusted, "server-wrong-name",
			"%s is not good for %q but for %s; server_name in the fleet file says what name is expected.", is, name, strings.Join(names(leaf), ", "))
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return problem(Untrusted, "server-expired", "%s does not verify, as %s is good from %s to %s; the clock here says %s.", is,
			invalid.Cert.Subject, day(invalid.Cert.NotBefore), day(invalid.Cert.NotAfter), day(time.Now()))
	}
	return problem(Untrusted, "server-invalid", "%s does not verify: %v.", is, err)
}

// names are those that a certificate is good for.
func names(x *x509.Certificate) []string {
	all := x.DNSNames
	for _, ip := range x.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) == 0 {
		all = []string{"nothing"}
	}
	return all
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// alerts are what a server says of a client's certificate (RFC 8446, section 6.2).
var alerts = [...]struct {
	number         tls.AlertError
	code, sentence string
}{
	{42, "client-refused", "The appliance refuses your certificate."},
	{43, "client-refused", "The appliance refuses your certificate."},
	{44, "client-refused", "The appliance refuses your certificate: it was revoked."},
	{45, "client-expired", "The appliance finds your certificate expired, or not good yet; so its clock, or yours, may be wrong."},
	{46, "client-refused", "The appliance refuses your certificate."},
	{48, "client-unknown-authority", "The appliance does not know the authority of your certificate: wrong appliance, or wrong certificate."},
	{116, "client-none", "The appliance wants a certificate and got none."},
}

// alert is what the other side said before it ended the connection; nil: nothing.
func alert(err error) *Error {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return nil
	}
	for _, a := range alerts {
		if op.Err.Error() == a.number.Error() {
			return problem(Untrusted, a.code, "%s", a.sentence)
		}
	}
	return problem(Untrusted, "tls-refused", "The other side ends TLS: %v.", op.Err)
}

// transport makes an error of one of the connection.
func transport(err error, address string) *Error {
	var known *Error
	var dns *net.DNSError
	var header tls.RecordHeaderError
	var timeout net.Error
	switch {
	case errors.As(err, &known):
		return known
	case alert(err) != nil:
		return alert(err)
	case errors.Is(err, context.Canceled):
		return problem(Local, "interrupted", "Interrupted.")
	case errors.As(err, &dns):
		return problem(Unreachable, "no-such-host", "%s can't be looked up: %v.", address, dns.Err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return problem(Unreachable, "connection-refused", "%s refuses connections: the VM is there, but no management plane at that port.", address)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return problem(Unreachable, "no-route", "There is no route to %s.", address)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return problem(Unreachable, "timeout", "%s does not answer in time.", address)
	case errors.As(err, &header):
		return problem(Untrusted, "not-tls", "What answers at %s does not speak TLS.", address)
	case broken(err):
		return problem(Unreachable, "connection-lost", "%s ended the connection: it has too many, or went away.", address)
	}
	return problem(Unreachable, "connection-failed", "%s: %v.", address, err)
}

// broken says whether a connection was ended from the other side without a word.
func broken(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed) || strings.Contains(err.Error(), "server closed idle connection")
}
