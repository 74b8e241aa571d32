package guesttest

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"ampoule/libos/mgmt/mgmttest"
	"ampoule/tools/boottest/vm"
	"ampoule/tools/guesttest/guest"
	"ampoule/tools/load"
	"ampoule/tools/workspace"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"golang.org/x/crypto/ssh"
)

const managedTOML = `hostname = "ns1"
[network]
ipv4 = "10.0.2.15/24"
gateway4 = "10.0.2.2"
[management]
client_ca = "%[1]s/ca.pem"
pprof = true
capture = true
disk = true
ssh_port = 22
[[management.ssh_keys]]
name = "alice"
role = "operate"
key = "%[3]s"
[[management.certificates]]
slot = "dot"
hosts = ["ns1.example.org"]
[dns]
tls_port = 853
[[dns.zones]]
origin = "example.org"
file = "%[2]s/configs/dns/example.org.zone"
`

// managed is a booted DNS appliance with a management plane, and what its clients
// need.
type managed struct {
	*vm.VM
	t     *testing.T
	v     guest.Variant
	image string
	dir   string
	ca    *mgmttest.Pair
}

// bootManaged boots one. Each build is of its own, as it has the authority in it.
func bootManaged(t *testing.T, v guest.Variant, ram int) *managed {
	t.Helper()
	m := newManaged(t, v)
	m.boot(vm.Config{RAM: ram})
	return m
}

// newManaged builds the image and makes what its clients need.
func newManaged(t *testing.T, v guest.Variant) *managed {
	t.Helper()
	root, err := workspace.Root()
	if err != nil {
		t.Fatal(err)
	}
	m := &managed{t: t, v: v, dir: t.TempDir(), ca: mgmttest.Root(t, "clients")}
	m.write("ca.pem", m.ca.Cert())
	for name, unit := range map[string]string{"operate": "ampoule-operate", "read": "ampoule-read"} {
		c := m.ca.Issue(t, mgmttest.Spec{Name: name, Unit: unit, Client: true})
		m.write(name+".pem", c.Bundle(t))
	}
	public, private := sshKey(t)
	m.write("ssh", private)
	m.image = images.Configured(t, "dns", "managed-"+t.Name(), fmt.Sprintf(managedTOML, m.dir, root, public), v.GOAMD64)
	t.Cleanup(func() { os.Remove(m.image) })
	return m
}

// boot boots the image; c says how, beside what all have.
func (m *managed) boot(c vm.Config) {
	m.t.Helper()
	var forwards []vm.Forward
	for _, port := range []int{22, 53, 853, 9443} {
		forwards = append(forwards, vm.Forward{Proto: "tcp", Port: port})
	}
	c.Image, c.Machine, c.CPU, c.RNG = m.image, m.v.Machine, guest.CPU(m.v.GOAMD64), true
	c.Net = vm.Net{Kind: vm.NetUser, Forwards: append(forwards, vm.Forward{Proto: "udp", Port: 53})}
	m.VM = guest.Boot(m.t, c)
	var d net.Dialer
	guest.Up(m.t, m.VM, d.DialContext, m.Addr("udp", 53), load.DNS("www.example.org"))
}

func (m *managed) write(name string, data []byte) string {
	m.t.Helper()
	return put(m.t, m.dir, name, string(data))
}

// curl asks as a client: operate, read, or "" for none. It returns the body, with
// the status behind it, and curl's error.
func (m *managed) curl(as string, args ...string) (string, error) {
	all := []string{"-sk", "--tlsv1.3", "--max-time", "30", "-w", "\n%{http_code}"}
	if as != "" {
		all = append(all, "--cert", filepath.Join(m.dir, as+".pem"))
	}
	path := args[len(args)-1]
	all = append(append(all, args[:len(args)-1]...), "https://"+m.Addr("tcp", 9443)+path)
	out, err := exec.Command("curl", all...).CombinedOutput()
	return string(out), err
}

// want asks as curl does and wants a status and a text in the answer.
func (m *managed) want(as, status, text string, args ...string) string {
	m.t.Helper()
	out, err := m.curl(as, args...)
	i := strings.LastIndexByte(out, '\n')
	if err != nil || out[i+1:] != status || !strings.Contains(out[:i], text) {
		m.t.Errorf("curl as %q %v: %v, want %s and %q:\n%s", as, args, err, status, text, out)
	}
	return out[:max(i, 0)]
}

const udpA = `coredns_dns_requests_total{server="dns://:53",zone=".",view="",proto="udp",family="1",type="A"}`

// count reads a metric.
func (m *managed) count(name string) int {
	m.t.Helper()
	_, after, ok := strings.Cut(m.want("read", "200", name, "/metrics"), "\n"+name+" ")
	value, _, _ := strings.Cut(after, "\n")
	n, err := strconv.Atoi(value)
	if !ok || err != nil {
		m.t.Errorf("metric %s: %v", name, err)
	}
	return n
}

// sshKey makes a key for SSH: as a line of authorized_keys, and as a file.
func sshKey(t *testing.T) (public string, private []byte) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))), pem.EncodeToMemory(block)
}

// TestManagement asks the management plane of a booted DNS appliance with curl, in
// 32 MiB: health, status, metrics and log; nobody without a certificate is heard.
func TestManagement(t *testing.T) {
	m := bootManaged(t, guest.Variant{Machine: vm.Machines[0], GOAMD64: "v1"}, 32)
	m.want("read", "200", "ok", "/healthz")
	m.want("read", "200", "ready", "/readyz")
	var status struct {
		Hostname  string
		Ready     bool
		Persisted bool
		Memory    struct{ RAM, Heap, System uint64 }
	}
	if body := m.want("read", "200", "", "/v1/status"); json.Unmarshal([]byte(body), &status) != nil ||
		status.Hostname != "ns1" || !status.Ready || status.Persisted || status.Memory.RAM > 32<<20 {
		t.Errorf("status: %s", body)
	}
	t.Logf("memory: %+v", status.Memory)
	before := m.count(udpA)
	for range 20 {
		dig(t, m.Addr("udp", 53), "udp", "www.example.org", "A")
	}
	dig(t, m.Addr("tcp", 53), "tcp", "nowhere.example.org", "AAAA")
	if n := m.count(udpA) - before; n < 20 || n > 25 { // one may be asked again
		t.Errorf("20 questions are counted as %d", n)
	}
	text := m.want("read", "200", "", "/metrics")
	for _, line := range []string{
		`coredns_dns_responses_total{server="dns://:53",zone=".",view="",proto="tcp",rcode="NXDOMAIN",plugin="ampoule"} 1`,
		`ampoule_certificate_expiry_timestamp_seconds{slot="management",.*`, `go_goroutines \d+`,
	} {
		if !regexp.MustCompile(`(?m)^` + strings.NewReplacer("{", `\{`, "}", `\}`).Replace(line) + `$`).MatchString(text) {
			t.Errorf("the metrics lack %s:\n%s", line, text)
		}
	}
	m.want("read", "200", "serving", "/v1/log")
	m.want("read", "403", "no-permission", "-X", "PUT", "-d", "debug", "/v1/log/level")
	m.want("operate", "200", "debug", "-X", "PUT", "-d", "debug", "/v1/log/level")
	if !strings.Contains(m.Console(), `what="log level" result=done old=info new=debug`) {
		t.Errorf("the log lacks the change of its level")
	}
	out, err := exec.Command("ssh", "-F", "none", "-i", filepath.Join(m.dir, "ssh"), "-p", portOf(t, m.Addr("tcp", 22)), "-o", "StrictHostKeyChecking=no",
		"-o", "UserKnownHostsFile=/dev/null", "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "x@127.0.0.1", "status").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "hostname: ns1\n") || !strings.Contains(string(out), "you: ssh:alice\n") {
		t.Errorf("ssh: %v (tools/setup installs it)\n%s", err, out)
	}
	if out, err := m.curl("", "/healthz"); err == nil {
		t.Errorf("without a certificate: %s", out)
	}
	if out, err := exec.Command("openssl", "s_client", "-connect", m.Addr("tcp", 9443), "-tls1_2").CombinedOutput(); err == nil {
		t.Errorf("TLS 1.2 is spoken:\n%s", out)
	}
}

// TestExposition has Prometheus' own parser read the metrics of a booted image, and
// looks at names and values as CoreDNS has them; then tshark reads a capture, and
// go tool pprof the profiles.
func TestExposition(t *testing.T) {
	m := bootManaged(t, guest.Variant{Machine: vm.Machines[1], GOAMD64: "v3"}, 32)
	m.want("read", "403", "no-permission", "-X", "POST", "/v1/capture?port=53")
	m.want("operate", "201", "started", "-X", "POST", "/v1/capture?port=53&bytes=65536&seconds=60")
	for _, name := range []string{"www.example.org", "nowhere.example.org"} {
		dig(t, m.Addr("udp", 53), "udp", name, "A")
		dig(t, m.Addr("tcp", 53), "tcp", name, "A")
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(m.want("read", "200", "", "/metrics")))
	if err != nil {
		t.Fatal(err)
	}
	for name, kind := range map[string]string{"coredns_dns_requests_total": "COUNTER", "coredns_dns_responses_total": "COUNTER",
		"coredns_dns_do_requests_total": "COUNTER", "coredns_dns_response_size_bytes": "HISTOGRAM", "coredns_dns_request_duration_seconds": "HISTOGRAM",
		"coredns_panics_total": "COUNTER", "go_goroutines": "GAUGE", "ampoule_event_loop_lag_seconds": "GAUGE", "ampoule_gc_pause_seconds_total": "COUNTER",
		"ampoule_net_frames_total": "COUNTER", "ampoule_certificate_expiry_timestamp_seconds": "GAUGE"} {
		if f := families[name]; f == nil || f.GetType().String() != kind || f.GetHelp() == "" || len(f.GetMetric()) == 0 {
			t.Errorf("%s: %v", name, f)
		}
	}
	for _, h := range families["coredns_dns_response_size_bytes"].GetMetric() {
		last := uint64(0)
		for _, b := range h.GetHistogram().GetBucket() {
			if b.GetCumulativeCount() < last {
				t.Errorf("a bucket has less than the one before: %v", h)
			}
			last = b.GetCumulativeCount()
		}
	}
	pcap := filepath.Join(m.dir, "capture.pcap")
	m.want("operate", "200", "", "-o", pcap, "/v1/capture")
	out, err := exec.Command("tshark", "-r", pcap, "-T", "fields", "-e", "_ws.col.Protocol", "-e", "dns.qry.name", "-e", "dns.flags.rcode", "-Y", "dns.flags.response == 1").CombinedOutput()
	if err != nil {
		t.Fatalf("tshark: %v (tools/setup installs it)\n%s", err, out)
	}
	for _, line := range []string{"DNS\twww.example.org\t0", "DNS\tnowhere.example.org\t3"} {
		if n := strings.Count(string(out), line); n != 2 {
			t.Errorf("tshark shows %q %d times, want 2:\n%s", line, n, out)
		}
	}
	m.want("operate", "204", "", "-X", "DELETE", "/v1/capture")
	for profile, want := range map[string]string{"heap": "inuse_space", "goroutine": "goroutine"} {
		file := filepath.Join(m.dir, profile)
		m.want("read", "200", "", "-o", file, "/v1/pprof/"+profile)
		out, err := exec.Command("go", "tool", "pprof", "-top", file).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "Type: "+want) {
			t.Errorf("pprof: %v\n%s", err, out)
		}
	}
}

// TestDNSOverTLS asks over TLS with kdig, with certificates that are committed and
// replaced meanwhile; a connection goes on over a change.
func TestDNSOverTLS(t *testing.T) {
	m := bootManaged(t, guest.Variant{Machine: vm.Machines[0], GOAMD64: "v3"}, 32)
	_, port, err := net.SplitHostPort(m.Addr("tcp", 853))
	if err != nil {
		t.Fatal(err)
	}
	root := mgmttest.Root(t, "servers")
	rootFile := m.write("root.pem", root.Cert())
	kdig := func(host string) string {
		out, _ := exec.Command("kdig", "@127.0.0.1", "-p", port, "+tls-ca="+rootFile, "+tls-hostname="+host, "+retry=0", "www.example.org", "A").CombinedOutput()
		return string(out)
	}
	if out := kdig("ns1.example.org"); strings.Contains(out, "NOERROR") {
		t.Errorf("it serves without a certificate:\n%s", out)
	}
	wrong := root.Issue(t, mgmttest.Spec{Name: "wrong", Hosts: []string{"ns2.example.org"}})
	rotate := func(generation int, file string) (status string) {
		m.want("operate", "200", `"name":"dot"`, "-T", file, "/v1/staged/certificates/dot")
		out, err := m.curl("operate", "-X", "POST", "-H", fmt.Sprintf(`If-Match: "%d"`, generation), "/v1/staged/commit")
		if err != nil {
			t.Fatalf("%v %s", err, out)
		}
		return out
	}
	if out := rotate(0, m.write("wrong.pem", wrong.Bundle(t, root))); !strings.Contains(out, "name-missing") {
		t.Errorf("a certificate for another name: %s", out)
	}
	rotate(0, m.write("first.pem", root.Issue(t, mgmttest.Spec{Name: "first", Hosts: []string{"ns1.example.org"}}).Bundle(t, root)))
	if out := kdig("ns1.example.org"); !strings.Contains(out, "NOERROR") || !strings.Contains(out, "192.0.2.80") || !strings.Contains(out, "TLS1.3") {
		t.Errorf("kdig:\n%s", out)
	}
	if out := kdig("ns2.example.org"); strings.Contains(out, "NOERROR") {
		t.Errorf("a name that the certificate does not have:\n%s", out)
	}
	open := dialTLS(t, m.Addr("tcp", 853), root)
	defer open.Close()
	ask := func() { t.Helper(); askStream(t, open) }
	ask()
	if out := rotate(1, m.write("second.pem", root.Issue(t, mgmttest.Spec{Name: "second", Hosts: []string{"ns1.example.org"}}).Bundle(t, root))); !strings.Contains(out, `"generation":2`) {
		t.Errorf("commit: %s", out)
	}
	if next := dialTLS(t, m.Addr("tcp", 853), root); next.ConnectionState().PeerCertificates[0].Subject.CommonName != "second" {
		t.Errorf("a new connection has the certificate %v", next.ConnectionState().PeerCertificates[0].Subject)
	}
	ask()
	if text := m.want("read", "200", "", "/metrics"); !strings.Contains(text, `coredns_dns_requests_total{server="tls://:853",zone=".",view="",proto="tcp",family="1",type="A"} 3`) {
		t.Errorf("the metrics lack the queries over TLS:\n%s", text)
	}
}

// TestCertificatesKept: a generation that was committed is in force after QEMU was
// killed and started again, sealed on the disk. A disk of something else is left
// alone, and the status says that nothing is kept.
func TestCertificatesKept(t *testing.T) {
	m := newManaged(t, guest.Variant{Machine: vm.Machines[0], GOAMD64: "v3"})
	file := diskFile(t, nil)
	const key = "store-key=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	boot := func(file, command string) {
		t.Helper()
		m.boot(vm.Config{RAM: 32, Append: command, Args: drive(m.v.Machine, "format=raw,file="+file, "")})
	}
	boot(file, key)
	root := mgmttest.Root(t, "servers")
	bundle := root.Issue(t, mgmttest.Spec{Name: "kept", Hosts: []string{"ns1.example.org"}}).Bundle(t, root)
	m.want("operate", "200", `"name":"dot"`, "-T", m.write("bundle.pem", bundle), "/v1/staged/certificates/dot")
	m.want("operate", "200", `"generation":1`, "-X", "POST", "-H", `If-Match: "0"`, "/v1/staged/commit")
	kill(t, m.VM)
	boot(file, key)
	m.want("read", "200", `"generation":1,`, "/v1/status")
	m.want("read", "200", `"persisted":true`, "/v1/status")
	if c := dialTLS(t, m.Addr("tcp", 853), root); c.ConnectionState().PeerCertificates[0].Subject.CommonName != "kept" {
		t.Errorf("it serves %v", c.ConnectionState().PeerCertificates[0].Subject)
	}
	hostKey := regexp.MustCompile(`key=(SHA256:\S+) kept=true`)
	first := hostKey.FindStringSubmatch(m.Console())
	m.want("read", "404", "No crash is recorded.", "/v1/crash") // but one would be
	// What comes with the next generation: a staple, made by openssl.
	servers := authority{m.write("servers.pem", root.Cert()), m.write("servers.key", root.KeyPEM(t))}
	m.want("operate", "200", `"name":"dot"`, "-T", servers.staple(t, bundle, false), "/v1/staged/staples/dot")
	m.want("operate", "200", `"generation":2,`, "-X", "POST", "-H", `If-Match: "1"`, "/v1/staged/commit")
	kill(t, m.VM)
	boot(file, key)
	if again := hostKey.FindStringSubmatch(m.Console()); first == nil || again == nil || first[1] != again[1] {
		t.Errorf("the key of the SSH host was %v and is %v", first, again)
	}
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		m.status(version, "OCSP Response Status: successful (0x0)", "Cert Status: good")
	}
	m.want("read", "200", `ampoule_certificate_staple_expiry_timestamp_seconds{slot="dot",`, "/metrics")
	m.want("operate", "200", `"generation":3,`, "-X", "POST", "-H", `If-Match: "2"`, "/v1/certificates/rollback")
	m.status("-tls1_3", "OCSP response: no response sent")
	kill(t, m.VM)
	content, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(content), "AMPSTORE") || strings.Contains(string(content), "PRIVATE KEY") {
		t.Errorf("disk: %v, or a private key is on it", err)
	}
	for command, disk := range map[string][]byte{"": content, key: []byte(strings.Repeat("noise", 1000)), strings.Replace(key, "00", "ff", 1): content} {
		other := diskFile(t, disk)
		boot(other, command)
		m.want("read", "200", `"persisted":false,"notice":"not persisted: `, "/v1/status")
		m.want("operate", "200", `"name":"dot"`, "-T", filepath.Join(m.dir, "bundle.pem"), "/v1/staged/certificates/dot")
		m.want("operate", "200", `"generation":1,`, "-X", "POST", "-H", `If-Match: "0"`, "/v1/staged/commit")
		kill(t, m.VM)
		after, err := os.ReadFile(other)
		if err != nil || !strings.HasPrefix(string(after), string(disk)) || strings.Contains(string(after[len(disk):]), "AMPSTORE") {
			t.Errorf("%v, or the disk was written to", err)
		}
	}
}

// status has openssl ask DNS over TLS for a staple and wants texts in what it says.
func (m *managed) status(version string, want ...string) {
	m.t.Helper()
	out, err := exec.Command("openssl", "s_client", "-connect", m.Addr("tcp", 853), "-servername", "ns1.example.org", "-status", version).CombinedOutput()
	for _, text := range want {
		if err != nil || !strings.Contains(string(out), text) {
			m.t.Errorf("openssl %s: %v, want %q:\n%s", version, err, text, out)
		}
	}
}

// dialTLS opens a connection of DNS over TLS.
func dialTLS(t *testing.T, addr string, root *mgmttest.Pair) *tls.Conn {
	t.Helper()
	c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: mgmttest.Pool(root), ServerName: "ns1.example.org", NextProtos: []string{"dot"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// askStream asks over a connection of TCP or TLS, and checks the answer.
func askStream(t *testing.T, c net.Conn) {
	t.Helper()
	s := load.DNS("www.example.org")
	q := s.Request(7)
	if _, err := c.Write(s.Stream(q)); err != nil {
		t.Fatal(err)
	}
	var length [2]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(c, answer); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(q, answer); err != nil {
		t.Error(err)
	}
}
