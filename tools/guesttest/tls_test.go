package guesttest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ampoule/tools/boottest/vm"
	"ampoule/tools/guesttest/guest"
	"ampoule/tools/netpeer"
)

// tlsTOML is an image in front of nginx; the first %s is the folder, the second more
// of [tls], the third more tables.
const tlsTOML = `hostname = "edge"
[network]
ipv4 = "10.0.2.15/24"
[tls]
alpn = ["http/1.1"]
%[2]s
[[tls.certificates]]
chain = "%[1]s/www.pem"
key = "%[1]s/www.key"
secret_in_image = true
[[tls.certificates]]
chain = "%[1]s/rsa.pem"
key = "%[1]s/rsa.key"
secret_in_image = true
%[3]s
`

// tlsNginx is the backend: 8080 and 8082 plain, 8081 behind the PROXY protocol.
const tlsNginx = `daemon off;
master_process off;
error_log stderr;
pid %[1]s/nginx.pid;
events { worker_connections 8192; }
worker_rlimit_nofile 16384;
http {
	access_log off;
	client_max_body_size 0; client_header_timeout 1h; keepalive_timeout 1h; send_timeout 1h;
	add_header X-Frame-Options DENY; add_header X-Content-Type-Options nosniff;
	add_header Content-Security-Policy "default-src 'none'"; add_header Strict-Transport-Security max-age=31536000;
	client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f;
	uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
	server {
		listen 10.0.2.2:%[2]d; listen 10.0.2.2:%[3]d proxy_protocol;
		root %[1]s/site;
		location = /who { return 200 "$remote_addr $proxy_protocol_addr:$proxy_protocol_port\n"; }
		location = /hello { return 200 "hello\n"; }
		dav_methods PUT; create_full_put_path on;
	}
}
`

// tlsRig is a folder of certificates and a segment on which nginx runs.
type tlsRig struct {
	s        *netpeer.Segment
	dir      string
	pool     *x509.CertPool
	sessions tls.ClientSessionCache
	parent   *x509.Certificate
	signer   crypto.Signer
}

func newTLSRig(t *testing.T) *tlsRig {
	t.Helper()
	r := &tlsRig{s: linuxSegment(t), dir: t.TempDir(), pool: x509.NewCertPool(), sessions: tls.NewLRUClientSessionCache(8)}
	if err := os.Mkdir(filepath.Join(r.dir, "site"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(r.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := tlsTemplate("test authority")
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage, ca.ExtKeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign, nil
	der := r.write(t, "ca", ca, ca, caKey, caKey)
	parent, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	r.pool.AddCert(parent)
	r.parent, r.signer = parent, caKey
	for name, names := range map[string][]string{"www": {"www.example.org", "*.example.org"}, "client": {"alice"}} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		r.write(t, name, tlsTemplate(names...), parent, key, caKey)
	}
	r.write(t, "stranger", tlsTemplate("mallory"), tlsTemplate("mallory"), caKey, caKey)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	r.write(t, "rsa", tlsTemplate("rsa.example.net"), parent, key, caKey)
	return r
}

// renew makes a certificate of the rig anew, and returns the first line of its PEM.
func (r *tlsRig) renew(t *testing.T, name string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der := r.write(t, name, tlsTemplate("www.example.org", "*.example.org"), r.parent, key, r.signer)
	return strings.Split(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), "\n")[1]
}

func tlsTemplate(names ...string) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err)
	}
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		OCSPServer: []string{"http://ocsp.invalid"},
	}
}

// write signs a certificate and writes it and its key.
func (r *tlsRig) write(t *testing.T, name string, c, parent *x509.Certificate, key, by crypto.Signer) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, b := range map[string]*pem.Block{".pem": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(filepath.Join(r.dir, name+file), pem.EncodeToMemory(b), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return der
}

// nginx starts a server at two ports, the second behind the PROXY protocol.
func (r *tlsRig) nginx(t *testing.T, plain, proxied int) *daemon {
	t.Helper()
	conf := filepath.Join(r.dir, fmt.Sprintf("nginx%d.conf", plain))
	if err := os.WriteFile(conf, []byte(fmt.Sprintf(tlsNginx, r.dir, plain, proxied)), 0o644); err != nil {
		t.Fatal(err)
	}
	d := startDaemon(t, r.s, "nginx", "-c", conf, "-e", "stderr")
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := r.s.DialContext(t.Context(), "tcp", fmt.Sprintf("10.0.2.2:%d", plain))
		if err == nil {
			c.Close()
			return d
		}
		if time.Now().After(end) {
			t.Fatalf("nginx does not listen: %v\n%s", err, d.said())
		}
	}
}

// boot boots an image with more of [tls] and more tables, and waits until it serves.
func (r *tlsRig) boot(t *testing.T, name string, v guest.Variant, ram int, more, tables string) *vm.VM {
	t.Helper()
	g := guest.Boot(t, vm.Config{Image: images.Configured(t, "tls", name, fmt.Sprintf(tlsTOML, r.dir, more, tables), v.GOAMD64),
		Machine: v.Machine, CPU: guest.CPU(v.GOAMD64), RAM: ram, RNG: true, Net: r.s.Net()})
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		c, err := r.s.DialContext(ctx, "tcp", "10.0.2.15:443")
		cancel()
		if err == nil {
			c.Close()
			return g
		}
		if time.Now().After(end) {
			t.Fatalf("no connection: %v", err)
		}
	}
}

// client is an HTTP client that makes a connection for each request, or keeps them.
func (r *tlsRig) client(keep bool) *http.Client {
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: !keep,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return r.s.DialContext(ctx, "tcp", "10.0.2.15:443")
		},
		TLSClientConfig: &tls.Config{RootCAs: r.pool, ServerName: "www.example.org"}}}
}

// command runs a program on the host of the segment and returns what it prints.
func (r *tlsRig) command(t *testing.T, stdin, name string, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed: run make setup", name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = r.dir
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &out
	if err := r.s.Peer.(*netpeer.Linux).Start(cmd); err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	return out.String(), err
}

func (r *tlsRig) curl(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return r.command(t, "", "curl", append([]string{"-sS", "--max-time", "60", "--cacert", "ca.pem", "--connect-to", "::10.0.2.15:443"}, args...)...)
}

// TestTLS asks a booted image in front of nginx with curl and openssl.
func TestTLS(t *testing.T) {
	r := newTLSRig(t)
	r.nginx(t, 8080, 8081)
	tables := fmt.Sprintf("[[tls.backends]]\naddress = \"10.0.2.2:8081\"\n[tls.clients]\nca = %q\nrequired = false\n", filepath.Join(r.dir, "ca.pem"))
	large := make([]byte, 3<<20)
	rand.Read(large)
	if err := os.WriteFile(filepath.Join(r.dir, "site", "large"), large, 0o644); err != nil {
		t.Fatal(err)
	}
	guest.Each(t, func(t *testing.T, v guest.Variant) {
		r.boot(t, "clients", v, 64, "proxy_protocol = \"v2\"", tables)
		t.Run("curl", func(t *testing.T) { r.curls(t, large) })
		t.Run("openssl", r.openssls)
	})
}

func (r *tlsRig) curls(t *testing.T, large []byte) {
	for _, c := range []struct {
		want string
		args []string
	}{
		{"hello\n", []string{"https://www.example.org/hello"}},
		{"hello\n", []string{"--tls-max", "1.2", "https://a.example.org/hello"}},
		{"hello\n", []string{"https://rsa.example.net/hello"}},
		{"hello\nhello\n", []string{"https://www.example.org/hello", "https://www.example.org/hello"}},
		{"10.0.2.15 10.0.2.2:", []string{"https://www.example.org/who"}},
		{"hello\n", []string{"--cert", "client.pem", "--key", "client.key", "https://www.example.org/hello"}},
	} {
		if out, err := r.curl(t, c.args...); err != nil || !strings.HasPrefix(out, c.want) {
			t.Errorf("curl %v: %v, %q; want %q", c.args, err, out, c.want)
		}
	}
	if out, err := r.curl(t, "https://www.example.com/hello"); err == nil || !strings.Contains(out, "www.example.com") {
		t.Errorf("a name without certificate: %v, %s", err, out)
	}
	if out, err := r.curl(t, "https://www.example.org/large"); err != nil || out != string(large) {
		t.Errorf("3 MiB down: %v, %d bytes", err, len(out))
	}
	if out, err := r.curl(t, "-T", "site/large", "https://www.example.org/up"); err != nil {
		t.Errorf("3 MiB up: %v, %s", err, out)
	}
	if got, err := os.ReadFile(filepath.Join(r.dir, "site", "up")); err != nil || !bytes.Equal(got, large) {
		t.Errorf("3 MiB up: %v, %d bytes", err, len(got))
	}
}

func (r *tlsRig) openssls(t *testing.T) {
	ask := func(args ...string) (string, error) {
		return r.command(t, "GET /hello HTTP/1.1\r\nHost: www.example.org\r\nConnection: close\r\n\r\n", "openssl",
			append([]string{"s_client", "-connect", "10.0.2.15:443", "-CAfile", "ca.pem", "-ign_eof"}, args...)...)
	}
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		out, err := ask(version, "-servername", "www.example.org", "-verify_return_error", "-sess_out", "session", "-alpn", "http/1.1")
		if err != nil || !strings.Contains(out, "\nhello\n") || !strings.Contains(out, "ALPN protocol: http/1.1") || !strings.Contains(out, "New, TLSv1") {
			t.Errorf("%s: %v\n%s", version, err, out)
		}
		if out, err := ask(version, "-servername", "www.example.org", "-sess_in", "session"); err != nil || !strings.Contains(out, "Reused, TLSv1") || !strings.Contains(out, "\nhello\n") {
			t.Errorf("%s resumed: %v\n%s", version, err, out)
		}
		if out, _ := ask(version, "-servername", "rsa.example.net", "-sess_in", "session"); strings.Contains(out, "Reused, TLSv1") || !strings.Contains(out, "\nhello\n") {
			t.Errorf("%s with another name's session:\n%s", version, out)
		}
		out, err = ask(version, "-servername", "www.example.org", "-cert", "client.pem", "-key", "client.key")
		if err != nil || !strings.Contains(out, "\nhello\n") {
			t.Errorf("%s with a client's certificate: %v\n%s", version, err, out)
		}
		if out, _ := ask(version, "-servername", "www.example.org", "-cert", "stranger.pem", "-key", "stranger.key"); strings.Contains(out, "\nhello\n") {
			t.Errorf("%s with a stranger's certificate:\n%s", version, out)
		}
		if out, _ := ask(version, "-servername", "unknown.example.com"); !strings.Contains(out, "CN = www.example.org") {
			t.Errorf("%s with an unknown name:\n%s", version, out)
		}
	}
	if out, err := ask("-tls1_1", "-servername", "www.example.org", "-cipher", "DEFAULT:@SECLEVEL=0"); err == nil || strings.Contains(out, "\nhello\n") {
		t.Errorf("TLS 1.1 is spoken: %v\n%s", err, out)
	}
	if out, err := ask("-tls1_2", "-cipher", "AES128-SHA:AES256-SHA:ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"); err == nil {
		t.Errorf("CBC is spoken: %s", out)
	}
}

// TestTLSHalfClose: the end of either direction goes through by itself, and a cut one
// arrives as a reset.
func TestTLSHalfClose(t *testing.T) {
	r := newTLSRig(t)
	l, err := r.s.Listen("10.0.2.2:8080")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	heard := make(chan error, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				all, err := io.ReadAll(c)
				if len(all) > 0 {
					heard <- err
				}
				fmt.Fprintf(c, "%d bytes", len(all))
			}()
		}
	}()
	r.boot(t, "halfclose", guest.Variant{Machine: vm.Machines[0], GOAMD64: "v3"}, 64, "", "[[tls.backends]]\naddress = \"10.0.2.2:8080\"\n")
	dial := func() *tls.Conn {
		t.Helper()
		c, err := r.s.DialContext(t.Context(), "tcp", "10.0.2.15:443")
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(20 * time.Second))
		tc := tls.Client(c, &tls.Config{RootCAs: r.pool, ServerName: "www.example.org"})
		t.Cleanup(func() { tc.Close() })
		return tc
	}
	c := dial()
	c.Write(make([]byte, 100_000))
	c.CloseWrite()
	if got, err := io.ReadAll(c); string(got) != "100000 bytes" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if err := <-heard; err != nil {
		t.Errorf("the backend heard %v", err)
	}
	c = dial()
	c.Write(make([]byte, 1000))
	time.Sleep(200 * time.Millisecond)
	c.NetConn().(interface{ CloseWrite() error }).CloseWrite()
	if err := <-heard; err == nil {
		t.Error("the backend takes a cut stream for a whole one")
	}
}
