package mgmt_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"io"
	"strings"
	"testing"

	"ampoule/libos/device"
	"ampoule/libos/device/devicetest"
	"ampoule/libos/mgmt/certs"
	"ampoule/libos/mgmt/mgmttest"
	"ampoule/libos/mgmt/own"
	"ampoule/libos/mgmt/persist"
	"ampoule/libos/mgmt/plane"
)

// onDisk is persist.Disk with a disk of the test's.
type onDisk struct {
	persist.Disk
	disk *devicetest.Disk
}

func (o onDisk) Open(h *plane.Host) (certs.Keeper, error) {
	h.Disk = func(context.Context) (device.Block, error) { return o.disk, nil }
	return o.Disk.Open(h)
}

// TestSecrets: no answer to any route, for anybody, and no line of the log at any level
// has a key that the plane holds, in whatever form; nor has the disk.
func TestSecrets(t *testing.T) {
	storeKey := "0123456789abcdef0123456789ABCDEF"
	mine := mgmttest.Root(t, "own root")
	given := mine.Issue(t, mgmttest.Spec{Name: "own", Hosts: []string{"edge-7"}})
	disk := devicetest.NewDisk(device.BlockInfo{Sectors: 8192, SectorSize: 512})
	r := start(t, func(r *rig) {
		r.cfg.Own = own.Given(given.Bundle(t, mine))
		r.cfg.Keep = onDisk{persist.Disk{Key: storeKey}, disk}
	})
	op := r.as(r.operator)
	var seen bytes.Buffer
	say := func(method, path, ifMatch string, body []byte) {
		_, text := r.do(op, method, path, ifMatch, body)
		seen.WriteString(text)
		if z, err := gzip.NewReader(strings.NewReader(text)); err == nil { // a profile
			io.Copy(&seen, z)
		}
	}
	say("PUT", "/v1/log/level", "", []byte("debug"))
	root := mgmttest.Root(t, "servers")
	held := root.Issue(t, mgmttest.Spec{Name: "web", Hosts: []string{"w.example"}})
	refused := root.Issue(t, mgmttest.Spec{Name: "bad", Hosts: []string{"w.example"}})
	next := root.Issue(t, mgmttest.Spec{Name: "web", Hosts: []string{"w.example"}})
	for _, bad := range [][]byte{refused.KeyPEM(t), append(held.Cert(), refused.KeyPEM(t)...), append(refused.KeyPEM(t)[:90], "\n-----END PRIVATE KEY-----\n"...),
		append(refused.Bundle(t, root), refused.KeyPEM(t)...), bytes.ReplaceAll(refused.Bundle(t, root), []byte("PRIVATE"), []byte("SECRET"))} {
		say("PUT", "/v1/staged/certificates/web", "", bad)
		say("PUT", "/v1/staged/authorities/web", "", bad)
		say("PUT", "/v1/staged/staples/web", "", bad)
	}
	for i, p := range []*mgmttest.Pair{held, next} {
		say("PUT", "/v1/staged/certificates/web", "", p.Bundle(t, root))
		say("POST", "/v1/staged/validate", "", nil)
		say("POST", "/v1/staged/commit", `"`+string(rune('0'+i))+`"`, nil)
	}
	if r.generation() != 2 {
		t.Fatalf("generation %d\n%s", r.generation(), &seen)
	}
	for _, route := range r.server.Routes() {
		for _, name := range []string{"heap", "goroutine"} {
			if route.Method == "GET" {
				say("GET", strings.ReplaceAll(route.Path, "{name}", name), "", nil)
			}
		}
	}
	content := make([]byte, 8192*512)
	if err := disk.ReadAt(content, 0); err != nil || !bytes.Contains(content, []byte("certificates/web")) {
		t.Fatalf("nothing is on the disk: %v", err)
	}
	for what, b := range map[string][]byte{"the answers": seen.Bytes(), "the log": []byte(r.log.String()), "the disk": content} {
		for name, p := range map[string]*mgmttest.Pair{"the plane's key": given, "a key that is held": next, "one that was": held, "one that was refused": refused} {
			for form, secret := range forms(t, p) {
				if bytes.Contains(b, secret) {
					t.Errorf("%s has %s, as %s", what, name, form)
				}
			}
		}
		for form, secret := range map[string]string{"it is": storeKey, "hexadecimal": hex.EncodeToString([]byte(storeKey)), "base64": base64.StdEncoding.EncodeToString([]byte(storeKey))[:40]} {
			if bytes.Contains(b, []byte(secret)) {
				t.Errorf("%s has the disk's key, as %s", what, form)
			}
		}
	}
	if len(seen.Bytes()) < 10000 {
		t.Errorf("only %d bytes were looked at", seen.Len())
	}
}

// forms are how a private key could look.
func forms(t *testing.T, p *mgmttest.Pair) map[string][]byte {
	raw, err := p.Key.(*ecdsa.PrivateKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(p.KeyPEM(t))
	lines := strings.Split(string(p.KeyPEM(t)), "\n")
	return map[string][]byte{
		"bytes": raw, "half of them": raw[:16], "hexadecimal": []byte(hex.EncodeToString(raw)), "PKCS #8": block.Bytes,
		"a line of PEM": []byte(lines[1]), "its second line": []byte(lines[2]),
		"base64": []byte(base64.StdEncoding.EncodeToString(raw)),
	}
}
