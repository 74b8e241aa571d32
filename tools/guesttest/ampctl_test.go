package guesttest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ampoule/libos/mgmt/mgmttest"
	"ampoule/tools/boottest/vm"
	"ampoule/tools/guesttest/guest"
	"ampoule/tools/workspace"
)

// operator is a managed DNS appliance, and ampctl for it.
type operator struct {
	*managed
	bin string
}

// newOperator makes keys with ampctl, builds an image with the lines that it prints,
// and boots it.
func newOperator(t *testing.T) *operator {
	t.Helper()
	root, err := workspace.Root()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	o := &operator{&managed{t: t, v: guest.Variant{Machine: vm.Machines[0], GOAMD64: "v3"}, dir: dir}, filepath.Join(dir, "ampctl")}
	build := exec.Command("go", "build", "-o", o.bin, "ampoule/tools/ampctl")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := o.ampctl(0, "init", filepath.Join(dir, "keys"), "--name", "ns1", "--host", "ns1", "--host", "127.0.0.1")
	config := "hostname = \"ns1\"\n[network]\nipv4 = \"10.0.2.15/24\"\ngateway4 = \"10.0.2.2\"\n" + lines +
		"pprof = true\ncapture = true\n[[management.certificates]]\nslot = \"dot\"\nhosts = [\"ns1.example.org\"]\n" +
		"[dns]\ntls_port = 853\n[[dns.zones]]\norigin = \"example.org\"\nfile = \"" + root + "/configs/dns/example.org.zone\"\n"
	o.image = images.Configured(t, "dns", "managed-"+t.Name(), config, o.v.GOAMD64)
	t.Cleanup(func() { os.Remove(o.image) })
	o.boot(vm.Config{RAM: 32})
	fleet := fmt.Sprintf("ca = \"keys/ca.pem\"\ncert = \"keys/operator.pem\"\nkey = \"keys/operator.key\"\ntimeout = \"60s\"\n[appliances.ns1]\naddress = %q\nserver_name = \"ns1\"\n", o.Addr("tcp", 9443))
	o.write("fleet.toml", []byte(fleet))
	return o
}

// ampctl runs a command, wants an exit code, and returns the output; behind it the
// standard error if the code is not 0.
func (o *operator) ampctl(code int, args ...string) string {
	o.t.Helper()
	cmd := exec.Command(o.bin, append([]string{"-c", filepath.Join(o.dir, "fleet.toml")}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // its code is looked at
	if got := cmd.ProcessState.ExitCode(); got != code {
		o.t.Fatalf("ampctl %v: exit code %d, want %d\n%s%s", args, got, code, &out, &errs)
	}
	if code != 0 {
		out.Write(errs.Bytes())
	}
	return out.String()
}

// says runs a command and wants a text in what it says.
func (o *operator) says(code int, text string, args ...string) {
	o.t.Helper()
	if out := o.ampctl(code, args...); !strings.Contains(out, text) {
		o.t.Errorf("ampctl %v lacks %q:\n%s", args, text, out)
	}
}

// TestAmpctl sets a DNS appliance up with ampctl, and operates it: from keys to
// rotation, rollback, metrics and a capture that tshark reads.
func TestAmpctl(t *testing.T) {
	o := newOperator(t)
	o.says(0, "ready", "health", "--wait", "30s")
	o.says(0, "hostname       ns1", "status")
	reader := []string{"--cert", filepath.Join(o.dir, "keys/reader.pem"), "--key", filepath.Join(o.dir, "keys/reader.key")}
	o.says(0, `"role":"read"`, append(reader, "-o", "json", "status")...)
	root := mgmttest.Root(t, "servers")
	files := map[string]string{}
	for name, host := range map[string]string{"first": "ns1.example.org", "second": "ns1.example.org", "wrong": "ns2.example.org"} {
		files[name] = o.write(name+".pem", root.Issue(t, mgmttest.Spec{Name: name, Hosts: []string{host}}).Bundle(t, root))
	}
	serves := func(name string) {
		t.Helper()
		if got := dialTLS(t, o.Addr("tcp", 853), root).ConnectionState().PeerCertificates[0].Subject.CommonName; got != name {
			t.Errorf("DNS over TLS has the certificate %s, want %s", got, name)
		}
	}
	o.says(5, "no-permission", append(reader, "rotate", "dot="+files["first"])...)
	o.says(6, "name-missing", "rotate", "dot="+files["wrong"])
	begin := time.Now()
	o.says(0, "committed  0 -> 1", "rotate", "--all", "dot="+files["first"])
	t.Logf("a rotation takes %v", time.Since(begin))
	serves("first")
	o.says(0, "committed  1 -> 2", "rotate", "--all", "dot="+files["second"])
	serves("second")
	o.says(0, "ns1.example.org", "certs", "list")
	o.says(7, "generation-conflict", "certs", "rollback", "1")
	o.says(0, "generation 3 is in force", "certs", "rollback", "2")
	serves("first")
	o.says(0, "ampoule_certificates_generation 3", "metrics", "ampoule_certificates")
	o.says(0, "what=rollback result=done old=2 new=3", "logs", "-n", "20")
	o.capture()
	o.says(0, "committed  3 -> 4", "clients", "revoke", filepath.Join(o.dir, "keys/reader.pem"))
	o.says(5, "not-welcome", append(reader, "status")...)
}

// capture has packets captured while questions are asked, and tshark read them.
func (o *operator) capture() {
	t := o.t
	t.Helper()
	file := filepath.Join(o.dir, "dns.pcap")
	done := make(chan string)
	go func() {
		out, err := exec.Command(o.bin, "-c", filepath.Join(o.dir, "fleet.toml"), "capture", file, "--port", "53", "--for", "4s").CombinedOutput()
		done <- fmt.Sprint(err, string(out))
	}()
	o.within(func() bool { return strings.Contains(o.Console(), "what=capture result=started") })
	dig(t, o.Addr("udp", 53), "udp", "www.example.org", "A")
	if out := <-done; out != "<nil>" {
		t.Fatalf("capture: %s", out)
	}
	out, err := exec.Command("tshark", "-r", file, "-T", "fields", "-e", "dns.qry.name", "-Y", "dns.flags.response == 1").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "www.example.org") {
		t.Errorf("tshark: %v (tools/setup installs it)\n%s", err, out)
	}
}

// within waits for a condition, for a minute at most.
func (o *operator) within(f func() bool) {
	o.t.Helper()
	for end := time.Now().Add(time.Minute); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			o.t.Fatal("it does not come to that")
		}
	}
}
