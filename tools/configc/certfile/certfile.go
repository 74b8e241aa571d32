// Package certfile reads certificates and keys from PEM files (RFC 7468) as people
// have them: with blank lines, indented, with CRLF, with the chain in any order.
package certfile

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"
)

// minRSA is how many bits an RSA key has at least.
const minRSA = 2048

// blocks takes a file apart. Lines lose the blanks around them, and empty ones go.
func blocks(data []byte) (all []*pem.Block) {
	var clean bytes.Buffer
	for line := range bytes.Lines(data) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			clean.Write(line)
			clean.WriteByte('\n')
		}
	}
	for rest := clean.Bytes(); ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			return all
		}
		all = append(all, b)
	}
}

// Certificates reads all certificates of a file.
func Certificates(data []byte) (all []*x509.Certificate, err error) {
	for _, b := range blocks(data) {
		if b.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, fmt.Errorf("its certificate %d cannot be read: %v", len(all)+1, err)
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, errors.New("there is no certificate in it")
	}
	return all, nil
}

// Key reads the private key of a file. What is wrong says nothing of its content.
func Key(data []byte) (crypto.Signer, error) {
	var found crypto.Signer
	for _, b := range blocks(data) {
		if !strings.HasSuffix(b.Type, "PRIVATE KEY") {
			continue
		}
		if b.Type == "ENCRYPTED PRIVATE KEY" || b.Headers["DEK-Info"] != "" {
			return nil, errors.New("the key in it is encrypted")
		}
		if found != nil {
			return nil, errors.New("there are two keys in it")
		}
		var err error
		if found, err = parseKey(b); err != nil {
			return nil, err
		}
	}
	if found == nil {
		return nil, errors.New("there is no private key in it")
	}
	return found, nil
}

func parseKey(b *pem.Block) (crypto.Signer, error) {
	var key any
	var err error
	switch b.Type {
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(b.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(b.Bytes)
	default:
		key, err = x509.ParsePKCS8PrivateKey(b.Bytes)
	}
	if err != nil {
		return nil, errors.New("the key in it cannot be read")
	}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if n := k.N.BitLen(); n < minRSA {
			return nil, fmt.Errorf("the key in it has %d bits, too few for RSA", n)
		}
		return k, nil
	case *ecdsa.PrivateKey:
		if k.Curve.Params().BitSize < 256 {
			return nil, errors.New("the key in it is on a curve of less than 256 bits")
		}
		return k, nil
	case ed25519.PrivateKey:
		return k, nil
	}
	return nil, errors.New("the key in it is neither RSA, ECDSA nor Ed25519")
}

// Chain puts certificates in the order in which a server sends them (RFC 8446 section
// 4.4.2): the one of the key, and each behind it the one that has signed it.
func Chain(all []*x509.Certificate, key crypto.Signer) ([]*x509.Certificate, error) {
	public := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	var chain []*x509.Certificate
	rest := all[:0:0]
	for _, c := range all {
		switch {
		case !public.Equal(c.PublicKey):
			rest = append(rest, c)
		case chain != nil:
			return nil, errors.New("there are two certificates of the key in it")
		default:
			chain = append(chain, c)
		}
	}
	if chain == nil {
		return nil, errors.New("none of its certificates belongs to the key")
	}
	for len(rest) > 0 {
		at := -1
		last := chain[len(chain)-1]
		for i, c := range rest {
			if bytes.Equal(c.RawSubject, last.RawIssuer) && last.CheckSignatureFrom(c) == nil {
				at = i
			}
		}
		if at < 0 {
			return nil, fmt.Errorf("its certificate of %q has signed none of the others", rest[0].Subject)
		}
		chain = append(chain, rest[at])
		rest = append(rest[:at:at], rest[at+1:]...)
	}
	return chain, nil
}

// Dates says what is wrong with the time of a certificate, and whether it will be
// soon.
func Dates(c *x509.Certificate, now time.Time) (wrong, soon string) {
	const day, warning = 24 * time.Hour, 14 * 24 * time.Hour
	switch {
	case now.After(c.NotAfter):
		return fmt.Sprintf("the certificate of %q has expired on %s", c.Subject, c.NotAfter.UTC().Format(time.DateOnly)), ""
	case now.Add(day).Before(c.NotBefore):
		return fmt.Sprintf("the certificate of %q is good from %s on only", c.Subject, c.NotBefore.UTC().Format(time.DateOnly)), ""
	case now.Add(warning).After(c.NotAfter):
		return "", fmt.Sprintf("the certificate of %q expires on %s", c.Subject, c.NotAfter.UTC().Format(time.DateOnly))
	}
	return "", ""
}
