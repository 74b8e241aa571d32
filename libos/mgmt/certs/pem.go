package certs

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"strings"
)

// MaxBundle is the most bytes that a bundle of PEM may have, and maxCertificates
// the most certificates in it.
const (
	MaxBundle       = 64 << 10
	maxCertificates = 32
)

// contents is what a bundle of PEM has.
type contents struct {
	certificates []*x509.Certificate
	keys         []crypto.PrivateKey
}

// parse reads PEM of any sane shape (RFC 7468, and what people make of it): blank
// lines, carriage returns, blanks around lines, a byte order mark, text between the
// blocks, two files put together without a line feed between; in any order.
func parse(data []byte) (*contents, *Problem) {
	if len(data) > MaxBundle {
		return nil, refuse(TooLarge, "The bundle has %d bytes; at most %d are taken.", len(data), MaxBundle)
	}
	text := tidy(data)
	begins := bytes.Count(text, []byte("-----BEGIN "))
	if begins == 0 {
		return nil, refuse(NoPEM, "There is no PEM block in it: no line begins with -----BEGIN.")
	}
	c := &contents{}
	blocks := 0
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		blocks++
		if p := c.add(block); p != nil {
			return nil, p
		}
		text = rest
	}
	if blocks != begins {
		return nil, refuse(BadPEM, "There are %d beginnings of PEM blocks, but only %d whole blocks: one is cut off or damaged.", begins, blocks)
	}
	return c, nil
}

// tidy puts PEM into the shape that package pem knows.
func tidy(data []byte) []byte {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	out := make([]byte, 0, len(data)+8)
	for len(data) > 0 {
		line := data
		if i := bytes.IndexAny(data, "\r\n"); i >= 0 {
			line, data = data[:i], data[i+1:]
		} else {
			data = nil
		}
		line = bytes.TrimSpace(line)
		for {
			// "-----END X----------BEGIN Y-----": a file without a line feed at its end.
			i := bytes.Index(line, []byte("----------BEGIN "))
			if i < 0 {
				break
			}
			out = append(append(out, line[:i+5]...), '\n')
			line = line[i+5:]
		}
		if len(line) > 0 {
			out = append(append(out, line...), '\n')
		}
	}
	return out
}

// add takes one block.
func (c *contents) add(block *pem.Block) *Problem {
	switch t := block.Type; {
	case t == "EC PARAMETERS": // openssl ecparam -genkey writes them before the key
		return nil
	case t == "CERTIFICATE" || t == "X509 CERTIFICATE":
		return c.certificate(block.Bytes)
	case strings.HasSuffix(t, "PRIVATE KEY"):
		return c.key(block)
	default:
		return refuse(UnknownPEM, "There is a PEM block of type %s; expected are CERTIFICATE and PRIVATE KEY.", t)
	}
}

func (c *contents) certificate(der []byte) *Problem {
	if len(c.certificates) == maxCertificates {
		return refuse(TooMany, "There are more than %d certificates.", maxCertificates)
	}
	x, err := x509.ParseCertificate(der)
	if err != nil {
		return refuse(CertMalformed, "Certificate %d can't be read: %v.", len(c.certificates)+1, err)
	}
	for i, o := range c.certificates {
		if o.Equal(x) {
			return refuse(CertTwice, "Certificates %d and %d are the same (%s).", i+1, len(c.certificates)+1, title(x))
		}
	}
	c.certificates = append(c.certificates, x)
	return nil
}

func (c *contents) key(block *pem.Block) *Problem {
	if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
		return refuse(KeyEncrypted, "The private key is encrypted; it must come without a passphrase.")
	}
	var key crypto.PrivateKey
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return refuse(KeyType, "The private key is of type %s, which is not known here.", block.Type)
	}
	switch {
	case err == nil:
		c.keys = append(c.keys, key)
		return nil
	case strings.Contains(err.Error(), "unknown elliptic curve"), strings.Contains(err.Error(), "unknown algorithm"):
		return refuse(KeyType, "The private key is of a type that is not known here.")
	case strings.Contains(err.Error(), "insecure"):
		return refuse(KeyWeak, "The RSA key is too short; it must have at least %d bits.", minRSA)
	}
	// The reason is not shown: it could quote the key.
	return refuse(KeyMalformed, "The private key can't be read.")
}

// title is a certificate's name for people.
func title(x *x509.Certificate) string {
	if s := x.Subject.String(); s != "" {
		return s
	}
	return "serial " + x.SerialNumber.String()
}
