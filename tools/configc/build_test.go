package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"ampoule/tools/configc/image"

	"golang.org/x/tools/txtar"
)

// TestBuild builds each appliance with the sources made of its configuration in
// the place of those of the repository, as the build of an image does: the
// example's, and one with every key that all appliances have.
func TestBuild(t *testing.T) {
	archive, err := txtar.ParseFile("testdata/good-all.txtar")
	if err != nil {
		t.Fatal(err)
	}
	all := filepath.Join(t.TempDir(), "all.toml")
	if err := os.WriteFile(all, archive.Files[0].Data, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, app := range image.Apps {
		build(t, app, "../../configs/"+app+".toml")
	}
	build(t, "echo", all)
	build(t, "dns", unpack(t, "testdata/management-good.txtar"))
	build(t, "tls", unpack(t, "testdata/tls-managed-good.txtar"))
	build(t, "tls", unpack(t, "testdata/tls-crl-good.txtar"))
}

// unpack writes the files of a case into a folder, and returns the configuration's
// path.
func unpack(t *testing.T, name string) string {
	t.Helper()
	archive, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, f := range archive.Files {
		file := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "image.toml")
}

// TestLinkedDNS builds the DNS appliance with and without other name servers, and
// looks for what talks to them.
func TestLinkedDNS(t *testing.T) {
	for config, want := range map[string]bool{"../../configs/dns.toml": false, unpack(t, "testdata/transfer-good.txtar"): true} {
		out, err := exec.Command("go", "tool", "nm", build(t, "dns", config)).Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, symbol := range []string{"ampoule/appliances/dns/xfr.", "ampoule/appliances/dns/secondary.", "zone/answers.Add", "crypto/hmac.New", "crypto/sha1.Sum"} {
			if got := bytes.Contains(out, []byte(symbol)); got != want {
				t.Errorf("%s: %s: linked: %t", config, symbol, got)
			}
		}
		if !bytes.Contains(out, []byte("ampoule/appliances/dns/dnsd.")) {
			t.Errorf("%s: the server is not there", config)
		}
	}
}

// TestLinkedTLS looks for TLS in all appliances: only the terminator has it, and of the
// management plane nothing if it is not configured.
func TestLinkedTLS(t *testing.T) {
	for _, app := range image.Apps {
		out, err := exec.Command("go", "tool", "nm", build(t, app, "../../configs/"+app+".toml")).Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, symbol := range []string{"ampoule/libos/mgmt/", "telemetry/metrics.(*Writer).Family", "ampoule/appliances/tls/managed."} {
			if bytes.Contains(out, []byte(symbol)) {
				t.Errorf("%s: %s is linked", app, symbol)
			}
		}
		for _, symbol := range []string{"ampoule/appliances/tls/", "crypto/tls.", "crypto/x509.", "crypto/ecdh.", "crypto/internal/fips140/mlkem."} {
			if got, want := bytes.Contains(out, []byte(symbol)), app == "tls"; got != want {
				t.Errorf("%s: %s: linked: %t", app, symbol, got)
			}
		}
	}
}

// TestLinkedHTTPS builds the HTTP appliance with HTTPS, with and without HTTP/2, and
// looks for what each brings. TestLinkedTLS has the one without.
func TestLinkedHTTPS(t *testing.T) {
	with := unpack(t, "testdata/https-good.txtar")
	b, err := os.ReadFile(with)
	if err != nil {
		t.Fatal(err)
	}
	without := filepath.Join(filepath.Dir(with), "without.toml")
	if err := os.WriteFile(without, bytes.Replace(b, []byte("http2 = true"), []byte("http2 = false"), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	for config, two := range map[string]bool{with: true, without: false} {
		out, err := exec.Command("go", "tool", "nm", build(t, "http", config)).Output()
		if err != nil {
			t.Fatal(err)
		}
		for symbol, want := range map[string]bool{"ampoule/appliances/http/https.": true, "crypto/tls.": true, "ampoule/appliances/http/h2.": two, "http2/hpack.": two, "net/http.": false} {
			if got := bytes.Contains(out, []byte(symbol)); got != want {
				t.Errorf("HTTP/2 %t: %s: linked: %t", two, symbol, got)
			}
		}
	}
}

// build builds an appliance with a configuration and returns the program's path.
func build(t *testing.T, app, config string) string {
	t.Helper()
	appliances, err := filepath.Abs("../../appliances")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	source, feature := filepath.Join(dir, "config.go"), filepath.Join(dir, "feature.go")
	var out bytes.Buffer
	if code := run([]string{"-config", config, "-app", app, "-o", source, "-feature", feature}, &out, &out); code != 0 {
		t.Fatalf("%s: exit code %d: %s", app, code, out.Bytes())
	}
	replace := map[string]string{
		filepath.Join(appliances, app, "config", "config.go"):                       source,
		filepath.Join(appliances, "..", "libos", "config", "feature", "feature.go"): feature,
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o644); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, app)
	cmd := exec.Command("go", "build", "-overlay", file, "-o", program, "./"+app)
	cmd.Dir = appliances
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s with %s: %v\n%s", app, config, err, out)
	}
	return program
}
