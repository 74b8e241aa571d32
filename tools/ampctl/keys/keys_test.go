package keys_test

import (
	"bytes"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ampoule/libos/mgmt/certs"
	"ampoule/tools/ampctl/keys"
)

// TestCertificates has openssl and the planes' own checks judge what is made.
func TestCertificates(t *testing.T) {
	now := time.Now()
	dir := t.TempDir()
	made := func(p *keys.Pair, err error) *keys.Pair {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	ca := made(keys.Authority("management", now, 3650))
	server := made(ca.Server("ns1", []string{"NS1.example.org", "192.0.2.53", "2001:db8::1"}, now, 365))
	operator := made(ca.Client("alice", keys.Operate, now, 365))
	reader := made(ca.Client("bob", keys.Read, now, 365))
	var files []keys.File
	for name, p := range map[string]*keys.Pair{"ca": ca, "server": server, "operator": operator, "reader": reader} {
		files = append(files, keys.File{Name: name + ".pem", Data: p.Certificate(), Mode: keys.Public})
	}
	if err := keys.Write(dir, files); err != nil {
		t.Fatal(err)
	}
	verify := func(ok bool, args ...string) {
		t.Helper()
		cmd := exec.Command("openssl", append([]string{"verify", "-x509_strict", "-CAfile", "ca.pem"}, args...)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); (err == nil) != ok {
			t.Errorf("openssl verify %v: %v (tools/setup installs it)\n%s", args, err, out)
		}
	}
	for _, host := range []string{"ns1.example.org"} {
		verify(true, "-purpose", "sslserver", "-verify_hostname", host, "server.pem")
	}
	verify(true, "-purpose", "sslserver", "-verify_ip", "192.0.2.53", "server.pem")
	verify(true, "-purpose", "sslserver", "-verify_ip", "2001:db8::1", "server.pem")
	verify(false, "-purpose", "sslserver", "-verify_hostname", "ns2.example.org", "server.pem")
	verify(false, "-purpose", "sslclient", "server.pem")
	for _, name := range []string{"operator.pem", "reader.pem"} {
		verify(true, "-purpose", "sslclient", name)
		verify(false, "-purpose", "sslserver", name)
	}
	private, err := server.Private()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := certs.Check("management", bytes.Join([][]byte{server.Certificate(), ca.Certificate(), private}, nil), now); err != nil {
		t.Error(err)
	}
	if _, err := certs.CheckAuthority("management", ca.Certificate(), now); err != nil {
		t.Error(err)
	}
	if u := operator.X.Subject.OrganizationalUnit; len(u) != 1 || u[0] != "ampoule-operate" || server.X.KeyUsage != x509.KeyUsageDigitalSignature {
		t.Errorf("%v %v", u, server.X.KeyUsage)
	}
	if operator.X.SerialNumber.Cmp(reader.X.SerialNumber) == 0 || operator.X.SerialNumber.BitLen() < 100 {
		t.Errorf("serials %v, %v", operator.X.SerialNumber, reader.X.SerialNumber)
	}
	if _, err := ca.Server("x", []string{"a b"}, now, 1); err == nil {
		t.Error("a host name with a blank is taken")
	}
}

// TestParse reads authorities back, and quotes nothing of what it can't read.
func TestParse(t *testing.T) {
	ca, err := keys.Authority("a", time.Now(), 2)
	if err != nil {
		t.Fatal(err)
	}
	private, err := ca.Private()
	if err != nil {
		t.Fatal(err)
	}
	if back, err := keys.Parse(ca.Certificate(), private); err != nil || !back.X.Equal(ca.X) {
		t.Errorf("%v", err)
	}
	other, err := keys.Authority("b", time.Now(), 1)
	if err != nil {
		t.Fatal(err)
	}
	client, err := ca.Client("c", keys.Read, time.Now(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		certificate, key []byte
		want             string
	}{
		{nil, private, "not PEM"}, {private, private, "not PEM"}, {ca.Certificate(), nil, "key is not PEM"}, {ca.Certificate(), ca.Certificate(), "key is not PEM"},
		{other.Certificate(), private, "not that of its certificate"}, {client.Certificate(), private, "not one of an authority"},
		{ca.Certificate(), bytes.Replace(private, []byte("MI"), []byte("AA"), 1), "can't be read"},
	} {
		if _, err := keys.Parse(c.certificate, c.key); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "BEGIN") {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}

// TestWrite: all files or none, and none through a link.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	secret := func(name string) keys.File { return keys.File{Name: name, Data: []byte("x"), Mode: keys.Secret} }
	if err := keys.Write(dir, []keys.File{secret("a"), secret("b")}); err == nil {
		t.Error("a link is followed")
	}
	if err := keys.Write(dir, []keys.File{secret("a"), secret("none/b")}); err == nil {
		t.Error("a folder is made")
	}
	for _, name := range []string{"a", "elsewhere"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s is left", name)
		}
	}
}
