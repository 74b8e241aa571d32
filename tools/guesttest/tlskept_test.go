package guesttest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ampoule/tools/boottest/vm"
	"ampoule/tools/guesttest/rotation"
)

// bundle is a certificate of the rig with its authority and key, as the plane takes it.
func (r *tlsRig) bundle(t *testing.T, name string) (all []byte) {
	t.Helper()
	for _, file := range []string{name + ".pem", "ca.pem", name + ".key"} {
		b, err := os.ReadFile(filepath.Join(r.dir, file))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	return all
}

// get asks the plane for a path and wants a status and a text in the answer.
func (m *tlsManaged) get(p *rotation.Plane, path string, want int, text string) {
	m.t.Helper()
	if status, got, err := p.Do("GET", path, "", ""); err != nil || status != want || !strings.Contains(got, text) {
		m.t.Errorf("%s: %v, %d %s; want %d and %q", path, err, status, got, want, text)
	}
}

// commit stages values, those of nil to go, and commits them in one transaction.
func (m *tlsManaged) commit(p *rotation.Plane, values map[string][]byte) {
	m.t.Helper()
	for name, data := range values {
		if err := p.Stage(name, data); err != nil {
			m.t.Fatal(err)
		}
	}
	if err := p.Commit(); err != nil {
		m.t.Fatal(err)
	}
}

// session asks with openssl, and a session that is kept from one time to the next, and
// says whether it was resumed.
func (m *tlsManaged) session(version string, args ...string) (resumed bool, out string) {
	m.t.Helper()
	out, err := m.command(m.t, "GET /hello HTTP/1.1\r\nHost: www.example.org\r\nConnection: close\r\n\r\n", "openssl",
		append([]string{"s_client", "-connect", tlsService, "-CAfile", "ca.pem", "-ign_eof", "-servername", "www.example.org",
			"-verify_return_error", version, "-sess_out", "kept" + version}, args...)...)
	if err != nil || !strings.Contains(out, "\nhello\n") {
		m.t.Errorf("openssl %s %v: %v\n%s", version, args, err, out)
	}
	return strings.Contains(out, "Reused, TLSv1"), out
}

// clients: an image without certificates says so; with the first commit curl and openssl
// are served by nginx behind it, and see each change of certificates and authorities.
func (m *tlsManaged) clients() {
	t := m.t
	m.nginx(t, 8080, 8081)
	m.start(vm.Config{Append: rotation.StoreArgument})
	op, reader := m.plane(m.operate), m.plane(m.read)
	m.get(reader, "/readyz", 503, "there are no certificates")
	m.get(reader, "/v1/status", 200, `"notice":"not persisted: there is no disk"`)
	if out, err := m.command(t, "", "openssl", "s_client", "-connect", tlsService, "-servername", "www.example.org"); err == nil || !strings.Contains(out, "unrecognized name") {
		t.Errorf("without certificates: %v\n%s", err, out)
	}
	authority, err := os.ReadFile(filepath.Join(m.dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	m.commit(op, map[string][]byte{"certificates/default": m.bundle(t, "www"), "certificates/rsa": m.bundle(t, "rsa"), "authorities/clients": authority})
	m.get(reader, "/readyz", 200, "ready")
	for _, args := range [][]string{{"https://www.example.org/hello"}, {"--tls-max", "1.2", "https://a.example.org/hello"}, {"https://rsa.example.net/hello"},
		{"--cert", "client.pem", "--key", "client.key", "https://www.example.org/hello"}} {
		if out, err := m.curl(t, args...); err != nil || out != "hello\n" {
			t.Errorf("curl %v: %v, %q", args, err, out)
		}
	}
	if out, err := m.curl(t, "https://www.example.com/hello"); err == nil || !strings.Contains(out, "www.example.com") {
		t.Errorf("a name without certificate: %v, %s", err, out)
	}
	m.openssls(t)
	m.revoked(op)
	m.renewed(op)
	m.refused(op)
	rotation.Bundles(t, m.s.DialContext, tlsService, tlsPlane, m.operate)
	m.get(reader, "/metrics", 200, `ampoule_tls_handshakes_total{version="TLSv1.3",outcome="resumed"} 1`)
	m.get(reader, "/metrics", 200, fmt.Sprintf(`ampoule_tls_generation %d`, op.Generation()))
	m.get(reader, "/metrics", 200, `ampoule_tls_backend_up{backend="10.0.2.2:8080"} 1`)
}

// renewed replaces certificates and authorities, and goes back.
func (m *tlsManaged) renewed(op *rotation.Plane) {
	t := m.t
	key := m.renew(t, "www")
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		m.session(version)
	}
	m.commit(op, map[string][]byte{"certificates/default": m.bundle(t, "www")})
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		if resumed, out := m.session(version, "-sess_in", "kept"+version, "-showcerts"); resumed || !strings.Contains(out, key) {
			t.Errorf("%s: a session of the old certificate is resumed, or the new one is not there:\n%s", version, out)
		}
	}
	if status, text, err := op.Do("POST", "/v1/certificates/rollback", fmt.Sprintf(`"%d"`, op.Generation()), ""); err != nil || status != 200 {
		t.Fatalf("rollback: %v, %d %s", err, status, text)
	}
	if _, out := m.session("-tls1_3", "-showcerts"); strings.Contains(out, key) {
		t.Error("the new certificate serves after a rollback")
	}
	ask := func() error {
		out, err := m.curl(t, "--cert", "client.pem", "--key", "client.key", "https://www.example.org/hello")
		if err == nil && out != "hello\n" {
			err = fmt.Errorf("%q", out)
		}
		return err
	}
	if err := ask(); err != nil {
		t.Errorf("a client's certificate: %v", err)
	}
	if err := op.Stage("authorities/clients", m.ca.Cert()); err != nil { // which knows the generation, after the rollback
		t.Fatal(err)
	}
	m.commit(op, nil)
	if err := ask(); err == nil {
		t.Error("a client is known whose authority was replaced")
	}
}

// refused: what is refused changes nothing.
func (m *tlsManaged) refused(op *rotation.Plane) {
	t := m.t
	key, err := os.ReadFile(filepath.Join(m.dir, "rsa.key"))
	if err != nil {
		t.Fatal(err)
	}
	www := m.bundle(t, "www")
	mixed := append(bytes.Clone(www[:bytes.Index(www, []byte("-----BEGIN PRIVATE"))]), key...)
	if status, text, err := op.Do("PUT", "/v1/staged/certificates/default", "", string(mixed)); err != nil || status != 422 || !strings.Contains(text, "key-mismatch") {
		t.Errorf("another's key: %v, %d %s", err, status, text)
	}
	if err := op.Stage("certificates/default", www); err != nil {
		t.Fatal(err)
	}
	if status, text, err := op.Do("POST", "/v1/staged/commit", `"0"`, ""); err != nil || status != 412 {
		t.Errorf("another generation: %v, %d %s", err, status, text)
	}
	if status, _, err := op.Do("POST", "/v1/staged/abort", "", ""); err != nil || status != 204 {
		t.Errorf("abort: %v, %d", err, status)
	}
	if out, err := m.curl(t, "https://www.example.org/hello"); err != nil || out != "hello\n" {
		t.Errorf("after refusals: %v, %q", err, out)
	}
}

// kept: a generation that was committed serves after QEMU was killed; a disk of noise,
// and one of another appliance, are left alone, and certificates are none.
func (m *tlsManaged) kept() {
	t := m.t
	m.nginx(t, 8080, 8081)
	file := diskFile(t, nil)
	boot := func(file string) *rotation.Plane {
		m.start(vm.Config{Append: rotation.StoreArgument, Args: drive(tlsVariant.Machine, "format=raw,file="+file, "")})
		return m.plane(m.operate)
	}
	op := boot(file)
	m.commit(op, map[string][]byte{"certificates/default": m.bundle(t, "www")})
	m.commit(op, map[string][]byte{"certificates/rsa": m.bundle(t, "rsa")})
	kill(t, m.VM)
	op = boot(file)
	m.get(op, "/v1/status", 200, `"generation":2,`)
	m.get(op, "/v1/status", 200, `"persisted":true`)
	for _, url := range []string{"https://www.example.org/hello", "https://rsa.example.net/hello"} {
		if out, err := m.curl(t, url); err != nil || out != "hello\n" {
			t.Errorf("after a power cut: %v, %q", err, out)
		}
	}
	m.stapled(op, func() *rotation.Plane {
		kill(t, m.VM)
		return boot(file)
	})
	kill(t, m.VM)
	if content, err := os.ReadFile(file); err != nil || bytes.Contains(content, []byte("PRIVATE KEY")) {
		t.Errorf("a private key is on the disk, or %v", err)
	}
	for what, disk := range map[string][]byte{"noise": bytes.Repeat([]byte("noise "), rotation.DiskSize/6), "another appliance's": rotation.Foreign(t)} {
		other := diskFile(t, disk)
		before, err := os.ReadFile(other)
		if err != nil {
			t.Fatal(err)
		}
		op := boot(other)
		m.get(op, "/v1/status", 200, `"persisted":false,"notice":"not persisted: `)
		m.get(op, "/readyz", 503, "there are no certificates")
		m.commit(op, map[string][]byte{"certificates/default": m.bundle(t, "www")})
		if out, err := m.curl(t, "https://www.example.org/hello"); err != nil || out != "hello\n" {
			t.Errorf("%s: %v, %q", what, err, out)
		}
		kill(t, m.VM)
		if after, err := os.ReadFile(other); err != nil || !bytes.Equal(after, before) {
			t.Errorf("%s: %v, or the disk was written to", what, err)
		}
	}
}

// access tries all routes with all credentials.
func (m *tlsManaged) access() {
	m.start(vm.Config{Append: rotation.StoreArgument})
	began := time.Now()
	rotation.Access(m.t, m.s.DialContext, tlsPlane, m.ca)
	m.t.Logf("all routes with all credentials in %v", time.Since(began).Round(time.Millisecond))
}

// authority is that of all certificates of the rig.
func (r *tlsRig) authority() authority {
	return authority{filepath.Join(r.dir, "ca.pem"), filepath.Join(r.dir, "ca.key")}
}

// bad stages what must be refused, at once or by the commit, and changes nothing.
func (m *tlsManaged) bad(op *rotation.Plane, name string, data []byte, code string) {
	m.t.Helper()
	before := op.Generation()
	err := op.Stage(name, data)
	if err == nil {
		err = op.Commit()
	}
	if err == nil || !strings.Contains(err.Error(), `"`+code+`"`) {
		m.t.Errorf("%s: %v, want %s", name, err, code)
	}
	op.Do("POST", "/v1/staged/abort", "", "")
	m.get(op, "/v1/status", 200, fmt.Sprintf(`"generation":%d,`, before))
}

// revoked: a client whose certificate is in a list of openssl's is refused, with a ticket
// too, and another is not; so until the list goes.
func (m *tlsManaged) revoked(op *rotation.Plane) {
	t := m.t
	ask := func(client string, good bool) {
		t.Helper()
		for _, version := range []string{"1.2", "1.3"} {
			out, err := m.curl(t, "--tls-max", version, "--cert", client+".pem", "--key", client+".key", "https://www.example.org/hello")
			if good != (err == nil && out == "hello\n") {
				t.Errorf("client %s with TLS %s: %v, %q; want %t", client, version, err, out, good)
			}
		}
	}
	ask("client", true)
	m.session("-tls1_3", "-cert", "client.pem", "-key", "client.key")
	m.bad(op, "crls/clients", []byte("no list"), "crl-malformed")
	stranger := authority{put(t, m.dir, "managers.pem", string(m.ca.Cert())), put(t, m.dir, "managers.key", string(m.ca.KeyPEM(t)))}
	m.bad(op, "crls/clients", stranger.crl(t, m.bundle(t, "client")), "crl-signature")
	m.commit(op, map[string][]byte{"crls/clients": m.authority().crl(t, m.bundle(t, "client"))})
	ask("client", false)
	if out, err := m.command(t, "GET /hello HTTP/1.1\r\nHost: www.example.org\r\nConnection: close\r\n\r\n", "openssl", "s_client", "-connect", tlsService,
		"-servername", "www.example.org", "-tls1_3", "-sess_in", "kept-tls1_3", "-ign_eof"); strings.Contains(out, "\nhello\n") {
		t.Errorf("a revoked client is served with its ticket: %v\n%s", err, out)
	}
	ask("www", true)
	m.get(op, "/metrics", 200, `outcome="revoked"`)
	m.commit(op, map[string][]byte{"crls/clients": nil})
	ask("client", true)
}

// stapled: an OCSP response of openssl's comes with its certificate, after a power cut
// too, until a rollback; others are refused.
func (m *tlsManaged) stapled(op *rotation.Plane, again func() *rotation.Plane) {
	t := m.t
	www, rsa := m.bundle(t, "www"), m.bundle(t, "rsa")
	response := func(a authority, bundle []byte, revoked bool) []byte {
		b, err := os.ReadFile(a.staple(t, bundle, revoked))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	want := func(text string) {
		t.Helper()
		for _, version := range []string{"-tls1_2", "-tls1_3"} {
			if _, out := m.session(version, "-status"); !strings.Contains(out, text) {
				t.Errorf("%s: no %q in\n%s", version, text, out)
			}
		}
	}
	if err := op.Stage("certificates/default", www); err != nil { // which knows the generation, after the power cut
		t.Fatal(err)
	}
	op.Do("POST", "/v1/staged/abort", "", "")
	want("OCSP response: no response sent")
	m.bad(op, "staples/default", []byte("no response"), "staple-malformed")
	m.bad(op, "staples/default", response(m.authority(), rsa, false), "staple-serial")
	m.bad(op, "staples/default", response(m.authority(), www, true), "staple-status")
	before := op.Generation()
	m.commit(op, map[string][]byte{"staples/default": response(m.authority(), www, false)})
	want("Cert Status: good")
	op = again()
	want("Cert Status: good")
	m.get(op, "/metrics", 200, `ampoule_certificate_staple_expiry_timestamp_seconds{slot="default",`)
	if status, text, err := op.Do("POST", "/v1/certificates/rollback", fmt.Sprintf(`"%d"`, before+1), ""); err != nil || status != 200 {
		t.Errorf("rollback: %v, %d %s", err, status, text)
	}
	want("OCSP response: no response sent")
}
