// Package proxyproto writes the header of the PROXY protocol, versions 1 and 2 (The
// PROXY protocol, Willy Tarreau, 2020-03-05), which tells a backend who the client is.
// It only writes: whoever sends such a header to the terminator is not believed.
package proxyproto

import (
	"encoding/binary"
	"net/netip"
	"strconv"
)

// Version of the header; None sends none.
type Version uint8

// The versions.
const (
	None Version = iota
	V1           // text, without what is known of TLS
	V2           // binary
)

// MaxLength bounds a header that Append writes, in bytes, whatever is in Info.
const MaxLength = 16 + 36 + 3*(3+maxText) + 3 + 5 + 3*(3+maxText)

// maxText is what is sent of a text at most, in bytes.
const maxText = 255

// Info is what a backend is told.
type Info struct {
	// Client and Local are the ends of the client's connection. If either is not
	// valid, or they are of different families, the header says that nothing is known.
	Client, Local netip.AddrPort
	// TLS is what version 2 says of it; nil: nothing.
	TLS *TLS
}

// TLS is what is known of a client's TLS connection.
type TLS struct {
	ServerName string // what the client asked for
	ALPN       string // what was agreed on
	Version    string // such as TLSv1.3
	Cipher     string
	// Certificate says that the client has shown a certificate that is good, Session
	// that it did so in the session that this one resumes.
	Certificate bool
	CommonName  string // of its subject
	Session     bool
}

// signature begins a header of version 2 (section 2.2).
const signature = "\r\n\r\n\x00\r\nQUIT\n"

// Types of fields (section 2.2 and 2.2.6).
const (
	typeALPN      = 0x01
	typeAuthority = 0x02
	typeSSL       = 0x20
	typeVersion   = 0x21
	typeCN        = 0x22
	typeCipher    = 0x23

	clientSSL      = 0x01
	clientCertConn = 0x02
	clientCertSess = 0x04
)

// Append writes the header of version v to b. It blocks not and allocates only to
// grow b.
func Append(b []byte, v Version, i *Info) []byte {
	switch v {
	case V1:
		return i.appendText(b)
	case V2:
		return i.appendBinary(b, 1)
	}
	return b
}

// AppendLocal writes a header that says that the connection is the proxy's own, such
// as a check of a backend's health.
func AppendLocal(b []byte, v Version) []byte {
	switch v {
	case V1:
		return append(b, "PROXY UNKNOWN\r\n"...)
	case V2:
		return append(append(b, signature...), 0x20, 0, 0, 0)
	}
	return b
}

// known says whether both ends can be told in one family.
func (i *Info) known() bool {
	c, l := i.Client, i.Local
	return c.IsValid() && l.IsValid() && c.Addr().Unmap().Is4() == l.Addr().Unmap().Is4()
}

func (i *Info) appendText(b []byte) []byte {
	if !i.known() {
		return AppendLocal(b, V1)
	}
	c, l := i.Client.Addr().Unmap().WithZone(""), i.Local.Addr().Unmap().WithZone("")
	family := "PROXY TCP6 "
	if c.Is4() {
		family = "PROXY TCP4 "
	}
	b = c.AppendTo(append(b, family...))
	b = l.AppendTo(append(b, ' '))
	b = strconv.AppendUint(append(b, ' '), uint64(i.Client.Port()), 10)
	b = strconv.AppendUint(append(b, ' '), uint64(i.Local.Port()), 10)
	return append(b, '\r', '\n')
}

func (i *Info) appendBinary(b []byte, command byte) []byte {
	b = append(append(b, signature...), 0x20|command)
	family := byte(0)
	var c, l netip.Addr
	if i.known() {
		c, l = i.Client.Addr().Unmap(), i.Local.Addr().Unmap()
		family = 0x21 // TCP over IPv6
		if c.Is4() {
			family = 0x11
		}
	}
	b = append(b, family, 0, 0)
	start := len(b)
	switch family {
	case 0x11:
		c4, l4 := c.As4(), l.As4()
		b = append(append(b, c4[:]...), l4[:]...)
	case 0x21:
		c6, l6 := c.As16(), l.As16()
		b = append(append(b, c6[:]...), l6[:]...)
	}
	if family != 0 {
		b = binary.BigEndian.AppendUint16(b, i.Client.Port())
		b = binary.BigEndian.AppendUint16(b, i.Local.Port())
	}
	if i.TLS != nil {
		b = i.TLS.append(b)
	}
	binary.BigEndian.PutUint16(b[start-2:], uint16(len(b)-start))
	return b
}

func (t *TLS) append(b []byte) []byte {
	b = field(b, typeALPN, t.ALPN)
	b = field(b, typeAuthority, t.ServerName)
	b = append(b, typeSSL, 0, 0)
	start := len(b)
	client, verify := byte(clientSSL), uint32(1)
	if t.Certificate {
		verify = 0
		client |= clientCertSess
		if !t.Session {
			client |= clientCertConn
		}
	}
	b = binary.BigEndian.AppendUint32(append(b, client), verify)
	b = field(b, typeVersion, t.Version)
	b = field(b, typeCN, t.CommonName)
	b = field(b, typeCipher, t.Cipher)
	binary.BigEndian.PutUint16(b[start-2:], uint16(len(b)-start))
	return b
}

// field writes a text that is there.
func field(b []byte, kind byte, text string) []byte {
	if text == "" {
		return b
	}
	text = text[:min(len(text), maxText)]
	b = binary.BigEndian.AppendUint16(append(b, kind), uint16(len(text)))
	return append(b, text...)
}
