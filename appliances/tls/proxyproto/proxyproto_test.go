package proxyproto

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
)

var (
	four = Info{Client: netip.MustParseAddrPort("192.0.2.7:50000"), Local: netip.MustParseAddrPort("198.51.100.1:443")}
	six  = Info{Client: netip.MustParseAddrPort("[2001:db8::7%eth0]:50000"), Local: netip.MustParseAddrPort("[2001:db8::1]:443")}
	// As a listener for both families gives an IPv4 address.
	mapped = Info{Client: netip.MustParseAddrPort("[::ffff:192.0.2.7]:50000"), Local: four.Local}
	mixed  = Info{Client: four.Client, Local: six.Local}
)

// TestText: section 2.1.
func TestText(t *testing.T) {
	for _, c := range []struct {
		i    *Info
		want string
	}{
		{&four, "PROXY TCP4 192.0.2.7 198.51.100.1 50000 443\r\n"},
		{&mapped, "PROXY TCP4 192.0.2.7 198.51.100.1 50000 443\r\n"},
		{&six, "PROXY TCP6 2001:db8::7 2001:db8::1 50000 443\r\n"},
		{&mixed, "PROXY UNKNOWN\r\n"},
		{&Info{}, "PROXY UNKNOWN\r\n"},
	} {
		if got := string(Append(nil, V1, c.i)); got != c.want || len(got) > 107 {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	if got := string(AppendLocal(nil, V1)); got != "PROXY UNKNOWN\r\n" {
		t.Errorf("local: %q", got)
	}
}

// TestBinary: section 2.2.
func TestBinary(t *testing.T) {
	const sig = "\x0D\x0A\x0D\x0A\x00\x0D\x0A\x51\x55\x49\x54\x0A"
	for _, c := range []struct {
		name string
		i    *Info
		want string
	}{
		{"four", &four, sig + "\x21\x11\x00\x0c\xc0\x00\x02\x07\xc6\x33\x64\x01\xc3\x50\x01\xbb"},
		{"mapped", &mapped, sig + "\x21\x11\x00\x0c\xc0\x00\x02\x07\xc6\x33\x64\x01\xc3\x50\x01\xbb"},
		{"six", &six, sig + "\x21\x21\x00\x24" + "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x07" +
			"\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01" + "\xc3\x50\x01\xbb"},
		{"mixed", &mixed, sig + "\x21\x00\x00\x00"},
	} {
		if got := string(Append([]byte("x"), V2, c.i)); got != "x"+c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if got := string(AppendLocal(nil, V2)); got != sig+"\x20\x00\x00\x00" {
		t.Errorf("local: %q", got)
	}
	if got := Append(nil, None, &four); len(got) != 0 {
		t.Errorf("none: %q", got)
	}
}

// fields reads fields as section 2.2 has them.
func fields(t *testing.T, b []byte) map[byte]string {
	t.Helper()
	all := map[byte]string{}
	for len(b) > 0 {
		if len(b) < 3 || len(b) < 3+int(binary.BigEndian.Uint16(b[1:])) {
			t.Fatalf("%d bytes are left", len(b))
		}
		n := 3 + int(binary.BigEndian.Uint16(b[1:]))
		all[b[0]] = string(b[3:n])
		b = b[n:]
	}
	return all
}

func TestTLS(t *testing.T) {
	i := four
	i.TLS = &TLS{ServerName: "www.example.org", ALPN: "http/1.1", Version: "TLSv1.3", Cipher: "TLS_AES_128_GCM_SHA256"}
	for _, c := range []struct {
		cert, session bool
		want          string
	}{
		{false, false, "\x01\x00\x00\x00\x01"},
		{true, false, "\x07\x00\x00\x00\x00"},
		{true, true, "\x05\x00\x00\x00\x00"},
	} {
		i.TLS.Certificate, i.TLS.Session, i.TLS.CommonName = c.cert, c.session, ""
		if c.cert {
			i.TLS.CommonName = "alice"
		}
		b := Append(nil, V2, &i)
		if n := int(binary.BigEndian.Uint16(b[14:])); n != len(b)-16 {
			t.Fatalf("length %d of %d", n, len(b)-16)
		}
		all := fields(t, b[16+12:])
		ssl := all[0x20]
		if all[1] != "http/1.1" || all[2] != "www.example.org" || !strings.HasPrefix(ssl, c.want) {
			t.Errorf("%+v: %q", c, all)
		}
		sub := fields(t, []byte(ssl[5:]))
		if sub[0x21] != "TLSv1.3" || sub[0x23] != "TLS_AES_128_GCM_SHA256" || sub[0x22] != i.TLS.CommonName {
			t.Errorf("%+v: %q", c, sub)
		}
	}
	long := strings.Repeat("x", 1000)
	i = six
	i.TLS = &TLS{ServerName: long, ALPN: long, Version: long, Cipher: long, CommonName: long, Certificate: true}
	if n := len(Append(nil, V2, &i)); n > MaxLength {
		t.Errorf("%d bytes, the most is %d", n, MaxLength)
	}
}
