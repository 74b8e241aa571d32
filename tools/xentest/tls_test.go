package xen

import (
	"bytes"
	"crypto/tls"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ampoule/libos/mgmt/mgmttest"
	"ampoule/tools/guesttest/rotation"
	"ampoule/tools/xenrig/rig"
)

// tlsGuest is the TLS terminator, in front of the echo appliance, which is another
// domain, with all its certificates through the management plane.
const (
	tlsGuest   = "tls"
	tlsHost    = "10.0.2.18"
	tlsService = tlsHost + ":443"
	tlsPlane   = tlsHost + ":9443"
	tlsTOML    = `hostname = "edge"
[network]
ipv4 = "%s/24"
[management]
client_ca = "clients.pem"
disk = true
pprof = true
capture = true
handshakes = 200
[tls]
[[tls.backends]]
address = %q
[tls.health]
every = "60s"
`
)

// rotations is how many are tried, in rotationTime at most.
const rotations = 1000

var rotationTime = flag.Duration("rotation-time", 6*time.Minute, "how long certificates are rotated on Xen at most; 1,000 times take some five and a half minutes")

// terminator is the image and who may manage it.
type terminator struct {
	*host
	ca       *mgmttest.Pair
	operator *mgmttest.Pair
}

// tlsRotation rotates certificates under load; the last generation is in force after xl
// destroy, and disks of something else are left alone.
func tlsRotation(h *host) {
	m := &terminator{host: h, ca: mgmttest.Root(h.t, "clients")}
	m.operator = m.ca.Issue(h.t, mgmttest.Spec{Name: "alice", Unit: "ampoule-operate", Client: true})
	dir := h.t.TempDir()
	config := filepath.Join(dir, "tls.toml")
	for name, data := range map[string][]byte{config: []byte(fmt.Sprintf(tlsTOML, tlsHost, echoAddr)), filepath.Join(dir, "clients.pem"): m.ca.Cert()} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			h.t.Fatal(err)
		}
	}
	image := build(h.t, "tls", "tls-managed-xen", config)
	h.t.Cleanup(func() { os.Remove(image) })
	h.must("push", h.Push(h.t.Context(), image, rig.ImagePath(tlsGuest+".elf")))

	m.disk(make([]byte, rotation.DiskSize))
	p := m.start()
	m.get(p, "/readyz", 503, "there are no certificates")
	began := time.Now()
	limit := *rotationTime
	if testing.Short() {
		limit /= 6
	}
	res := rotation.Run(h.t, rotation.Config{Dial: h.DialContext, Service: tlsService, Plane: tlsPlane, Operator: m.operator,
		Clients: 1, Streams: 2, Rotations: rotations, Blocks: 1, Now: func() time.Duration { return time.Since(began) }, Quiet: 2 * time.Second,
		Until: began.Add(limit)})
	res.Hold(h.t)
	if res.Rotations < 10 || res.Generations < 5 {
		h.t.Errorf("too little was seen")
	}
	h.xl("destroy", tlsGuest)

	m.restarted(res.Rotations + 1)
	h.xl("destroy", tlsGuest)
	m.crashed(res.Rotations + 2) // a client was revoked
	h.xl("destroy", tlsGuest)

	for what, content := range map[string][]byte{"noise": bytes.Repeat([]byte("noise!!!"), rotation.DiskSize/8), "another appliance's": rotation.Foreign(h.t)} {
		m.disk(content)
		sum := m.sum()
		p := m.start()
		m.get(p, "/v1/status", 200, `"persisted":false,"notice":"not persisted: `)
		m.get(p, "/readyz", 503, "there are no certificates")
		h.xl("destroy", tlsGuest)
		if m.sum() != sum {
			h.t.Errorf("%s: the disk was written to", what)
		}
	}
	_, err := h.Run(h.t.Context(), 30*time.Second, "losetup -d /dev/loop1; rm -f /run/tls.img")
	h.must("clean up", err)
}

// restarted starts the domain again: certificate last, of the generation with that number,
// is in force, and nobody but an operator changes anything.
func (m *terminator) restarted(last int) {
	m.t.Helper()
	h := m.host
	p := m.start()
	m.get(p, "/v1/status", 200, fmt.Sprintf(`"generation":%d,`, last))
	m.get(p, "/v1/status", 200, `"persisted":true`)
	c, err := h.DialContext(h.t.Context(), "tcp", tlsService)
	h.must("service", err)
	tc := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
	h.must("handshake after a restart", tc.Handshake())
	if n := tc.ConnectionState().PeerCertificates[0].SerialNumber.Int64(); n != int64(last) {
		h.t.Errorf("after a restart certificate %d serves, not %d", n, last)
	}
	tc.Close()
	began := time.Now()
	rotation.Access(h.t, h.DialContext, tlsPlane, m.ca)
	h.t.Logf("all routes with all credentials in %v", time.Since(began).Round(time.Millisecond))
	began = time.Now()
	rotation.Bundles(h.t, h.DialContext, tlsService, tlsPlane, m.operator)
	h.t.Logf("all bad bundles in %v", time.Since(began).Round(time.Millisecond))
}

// crashed has a run that has the appliance's store die of a panic: the next shows what it
// said, and has the generation of before. No appliance can be made to panic, so that run
// is another program.
func (m *terminator) crashed(last int) {
	m.t.Helper()
	h := m.host
	const said = "panic: on purpose"
	h.start(rig.Guest{Image: h.program("ampoule/boot/guests/disk"), Memory: 32,
		Cmdline: "load=none end=panic owner=tls/edge " + rotation.StoreArgument, Config: []string{loopDisk(1)}})
	if reason, lines := h.ended(time.Minute, 150*time.Millisecond); reason != crash || !strings.Contains(strings.Join(lines, "\n"), said) {
		h.t.Errorf("shutdown reason %d: %s", reason, strings.Join(lines, "\n"))
	}
	p := m.start()
	m.get(p, "/v1/crash", 200, `"build":"disk guest","text":"`+said)
	m.get(p, "/metrics", 200, "\nampoule_last_crash_timestamp_seconds ")
	m.get(p, "/v1/status", 200, fmt.Sprintf(`"generation":%d,`, last))
	m.get(p, "/v1/status", 200, `"persisted":true`)
	m.get(p, "/readyz", 200, "")
	log, err := h.GuestLog(h.t.Context(), tlsGuest)
	h.must("log", err)
	if !strings.Contains(log, "warn an earlier run crashed ") {
		h.t.Errorf("the log does not say so:\n%s", log)
	}
}

// disk makes the content of the domain's disk, which is a file in dom0.
func (m *terminator) disk(content []byte) {
	m.t.Helper()
	_, err := m.Run(m.t.Context(), 30*time.Second, "losetup -d /dev/loop1 2>/dev/null; rm -f /run/tls.img")
	m.must("loop device", err)
	m.must("disk", m.Put(m.t.Context(), "/run/tls.img", bytes.NewReader(content)))
	_, err = m.Run(m.t.Context(), 30*time.Second, "losetup /dev/loop1 /run/tls.img")
	m.must("loop device", err)
}

// sum is that of the disk's content, when no domain has it.
func (m *terminator) sum() string {
	m.t.Helper()
	out, err := m.Run(m.t.Context(), 30*time.Second, "sync; md5sum </run/tls.img")
	m.must("sum", err)
	return out
}

// start creates the domain and waits until it serves.
func (m *terminator) start() *rotation.Plane {
	m.t.Helper()
	m.must("create", m.Create(m.t.Context(), tlsGuest, rig.Guest{Image: tlsGuest + ".elf", Memory: 64, Cmdline: rotation.StoreArgument, ShadowMemory: 8,
		VIFs:   []rig.VIF{{MAC: "00:16:3e:00:00:08"}},
		Config: []string{loopDisk(1)}}))
	p := rotation.NewPlane(m.t, m.DialContext, tlsPlane, m.operator)
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		status, text, err := p.Do("GET", "/healthz", "", "")
		if err == nil && status == 200 {
			return p
		}
		if time.Now().After(end) {
			m.t.Fatalf("the plane does not answer: %v, %d %s", err, status, text)
		}
	}
}

// get asks the plane for a path and wants a status and a text in the answer.
func (m *terminator) get(p *rotation.Plane, path string, want int, text string) {
	m.t.Helper()
	if status, got, err := p.Do("GET", path, "", ""); err != nil || status != want || !strings.Contains(got, text) {
		m.t.Errorf("%s: %v, %d %s; want %d and %q", path, err, status, got, want, text)
	}
}
