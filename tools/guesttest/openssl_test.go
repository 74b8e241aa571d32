package guesttest

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority has openssl sign what an authority signs besides certificates. cert and key
// are its files, PEM.
type authority struct{ cert, key string }

// index is a line of openssl's database (openssl-ca(1)) about the first certificate of a
// bundle.
func index(t *testing.T, bundle []byte, revoked bool) string {
	t.Helper()
	block, _ := pem.Decode(bundle)
	if block == nil {
		t.Fatal("no PEM")
	}
	x, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	const form = "060102150405Z"
	state, when := "V", ""
	if revoked {
		state, when = "R", time.Now().UTC().Add(-time.Hour).Format(form)
	}
	return fmt.Sprintf("%s\t%s\t%s\t%X\tunknown\t/CN=%s\n", state, x.NotAfter.UTC().Format(form), when, x.SerialNumber.Bytes(), x.Subject.CommonName)
}

// staple makes an OCSP response of a day about the first certificate of a bundle, and
// returns its file.
func (a authority) staple(t *testing.T, bundle []byte, revoked bool) string {
	t.Helper()
	dir := t.TempDir()
	out := filepath.Join(dir, "staple.der")
	run(t, "openssl", "ocsp", "-index", put(t, dir, "index.txt", index(t, bundle, revoked)), "-CA", a.cert, "-rsigner", a.cert,
		"-rkey", a.key, "-issuer", a.cert, "-cert", put(t, dir, "cert.pem", string(bundle)), "-ndays", "1", "-noverify", "-respout", out)
	return out
}

// crl makes a revocation list of a day with the first certificates of bundles.
func (a authority) crl(t *testing.T, bundles ...[]byte) []byte {
	t.Helper()
	dir := t.TempDir()
	var lines strings.Builder
	for _, b := range bundles {
		lines.WriteString(index(t, b, true))
	}
	config := put(t, dir, "crl.cnf", fmt.Sprintf("[ca]\ndefault_ca = a\n[a]\ndatabase = %s\ncrlnumber = %s\ndefault_md = sha256\ncrl_extensions = e\n[e]\nauthorityKeyIdentifier = keyid\n",
		put(t, dir, "index.txt", lines.String()), put(t, dir, "number", "01\n")))
	out := filepath.Join(dir, "crl.pem")
	run(t, "openssl", "ca", "-gencrl", "-config", config, "-keyfile", a.key, "-cert", a.cert, "-crldays", "1", "-out", out)
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// put writes a file and returns its name.
func put(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// run runs a program that must succeed.
func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}
