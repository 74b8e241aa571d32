// Package xen boots the echo, DNS and HTTP images as PVH guests on real Xen, which
// itself runs in QEMU, and holds them to what an operator of xl expects.
// Everything is checked by the content of answers, never by ping.
package xen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"ampoule/tools/workspace"
	"ampoule/tools/xenrig/dom0"
	"ampoule/tools/xenrig/rig"
)

// addresses of the two guests; the second image is configured for its own.
const (
	echoAddr = rig.GuestIPv4 + ":7"
	dnsHost  = "10.0.2.16"
	dnsAddr  = dnsHost + ":53"
)

var serving = regexp.MustCompile(`info serving`)

// build makes an image for Xen.
func build(t *testing.T, app, name, config string) string {
	t.Helper()
	root, err := workspace.Root()
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(root, "build", "guests", name+".elf")
	args := []string{"run", "ampoule/tools/mkimage", "-target", "xen", "-app", app, "-o", out}
	if config != "" {
		args = append(args, "-config", config)
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, b)
	}
	return out
}

// dnsConfig is the default configuration at the second guest's address.
func dnsConfig(t *testing.T) string {
	t.Helper()
	root, err := workspace.Root()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "configs"), os.DirFS(filepath.Join(root, "configs"))); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "configs", "dns.toml")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("10.0.2.15/24", dnsHost+"/24", "fec0::15/64", "fec0::16/64").Replace(string(b))
	if text == string(b) {
		t.Fatal("configs/dns.toml has other addresses than this test replaces")
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// host is one booted Xen with what its tests share.
type host struct {
	*rig.Rig
	t *testing.T
}

// TestXen boots Xen once and goes through the life of appliances on it.
func TestXen(t *testing.T) {
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Fatal("qemu-system-x86_64 is not installed: run make setup")
	}
	httpToml, site := httpConfig(t)
	secured := newSecureWeb(t)
	images := map[string]string{
		"echo.elf": build(t, "echo", "echo-xen", ""),
		"dns.elf":  build(t, "dns", "dns-xen", dnsConfig(t)),

		"leased.elf": build(t, "dns", "leased-xen", leaseConfig(t)),
		"http.elf":   build(t, "http", "http-xen", httpToml),

		filepath.Base(secured.image): secured.image,
	}
	// SMEP and SMAP are for guests only: dom0 is one that cannot have them.
	r, err := rig.Start(t.Context(), rig.Options{Images: images, CPU: rig.CPU + ",+smep,+smap", Xen: "smep=hvm smap=hvm",
		Dom0: dnsperf, Say: func(s string) { t.Log(s) }})
	if errors.Is(err, dom0.ErrPackages) {
		t.Skipf("NOTHING WAS TESTED ON XEN: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	for _, test := range []struct {
		name string
		f    func(*host)
	}{
		{"TwoAtOnce", twoAtOnce}, {"Keys", keys}, {"Stream", stream}, {"Pause", pause}, {"Detach", detach},
		{"SaveRestore", saveRestore}, {"Migrate", migrate}, {"Load", load}, {"TLS", tlsRotation}, {"Reboot", reboot},
		{"Shutdown", shutdown}, {"Destroy", destroy}, {"LateVIF", lateVIF}, {"Disk", disk}, {"Crash", crashes}, {"Leased", leased}, {"HTTP", plainWeb(site)},
		{"HTTPS", secured.secure},
		{"TooLittleMemory", tooLittle},
		{"Runtime", runtimeSuite}, {"Endings", endings}, {"AttacksRecovered", attacksRecovered},
		{"AttacksFinal", attacksFinal}, {"StackGuards", stackGuards}, {"GateRefuses", gateRefuses}, {"GrantAttack", grantAttack},
	} {
		ok := t.Run(test.name, func(t *testing.T) {
			h := &host{r, t}
			defer h.show()
			test.f(h)
		})
		if !ok && test.name == "TwoAtOnce" {
			t.Fatal("the appliances do not run; nothing else can be tested")
		}
	}
}

// show logs the guests' consoles when a test has failed.
func (h *host) show() {
	if !h.t.Failed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, name := range []string{"echo", "dns", "late", "disk", crashGuest, "leased", tlsGuest, "http", "https"} {
		log, err := h.GuestLog(ctx, name)
		h.t.Logf("%s console (%v):\n%s", name, err, log)
	}
}

func (h *host) must(what string, err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatalf("%s: %v", what, h.Explain(err))
	}
}

func (h *host) xl(args ...string) string {
	h.t.Helper()
	out, err := h.XL(h.t.Context(), args...)
	h.must("xl "+strings.Join(args, " "), err)
	return out
}

func (h *host) create(name string, n int) {
	h.t.Helper()
	h.must("create "+name, h.Create(h.t.Context(), name, rig.Guest{Image: name + ".elf", Memory: 32, Cmdline: "stats=1",
		VIFs: []rig.VIF{{MAC: fmt.Sprintf("00:16:3e:00:00:%02x", n)}}, OnReboot: "restart", ShadowMemory: 8}))
	ctx, cancel := context.WithTimeout(h.t.Context(), 60*time.Second)
	defer cancel()
	_, err := h.WaitLog(ctx, name, serving)
	h.must(name+" does not serve", err)
}

// echo asks the echo appliance over UDP and answers an error when nothing, or
// something else, comes back within a second; tries are a second apart.
func (h *host) echo(tries int) error {
	for i := 0; ; i++ {
		err := h.echoOnce(fmt.Sprintf("%s %d %d", h.t.Name(), i, time.Now().UnixNano()))
		if err == nil || i+1 >= tries {
			return err
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func (h *host) echoOnce(text string) error {
	ctx, cancel := context.WithTimeout(h.t.Context(), 2*time.Second)
	defer cancel()
	c, err := h.DialContext(ctx, "udp", echoAddr)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(1500 * time.Millisecond))
	if _, err := c.Write([]byte(text)); err != nil {
		return err
	}
	b := make([]byte, 2000)
	n, err := c.Read(b)
	if err != nil {
		return err
	}
	if string(b[:n]) != text {
		return fmt.Errorf("echo of %q is %q", text, b[:n])
	}
	return nil
}

// ask puts a question to the DNS appliance and checks the answer.
func (h *host) ask(network string) error { return h.askAt(network, dnsAddr) }

// askAt is ask for an appliance at addr.
func (h *host) askAt(network, addr string) error {
	ctx, cancel := context.WithTimeout(h.t.Context(), 10*time.Second)
	defer cancel()
	c, err := h.DialContext(ctx, network, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	conn := &dns.Conn{Conn: c}
	if network == "udp" {
		conn.Conn = datagram{c}
	}
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	q := new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA)
	if err := conn.WriteMsg(q); err != nil {
		return err
	}
	a, err := conn.ReadMsg()
	if err != nil {
		return err
	}
	if a.Id != q.Id || a.Rcode != dns.RcodeSuccess || len(a.Answer) != 2 || !strings.Contains(a.Answer[1].String(), "192.0.2.80") {
		return fmt.Errorf("wrong answer over %s: %v", network, a)
	}
	return nil
}

// datagram tells package dns that a connection keeps messages apart.
type datagram struct{ net.Conn }

func (d datagram) ReadFrom(b []byte) (int, net.Addr, error) {
	n, err := d.Read(b)
	return n, d.RemoteAddr(), err
}

func (d datagram) WriteTo(b []byte, _ net.Addr) (int, error) { return d.Write(b) }

func twoAtOnce(h *host) {
	h.create("echo", 2)
	h.create("dns", 3)
	h.must("echo over UDP", h.echo(5))
	h.must("DNS over UDP", h.ask("udp"))
	h.must("DNS over TCP", h.ask("tcp"))
	log, err := h.GuestLog(h.t.Context(), "dns")
	h.must("console", err)
	if !strings.Contains(log, "platform=xen") {
		h.t.Errorf("the console has no platform=xen:\n%s", log)
	}
	// What an operator sees who attaches. The guest says something every second.
	log, err = h.Run(h.t.Context(), 30*time.Second, "sleep 4 | timeout 3 xl console dns; true")
	if err != nil || !strings.Contains(log, "info memory host=ns1") {
		h.t.Errorf("xl console shows no log (%v):\n%s", err, log)
	}
}

// keys are what toolstacks read.
func keys(h *host) {
	s, err := h.State(h.t.Context(), "dns")
	h.must("state", err)
	dir := fmt.Sprintf("/local/domain/%d/", s.ID)
	for key, want := range map[string]string{
		"attr/vif/0/ipv4/0": dnsHost, "attr/vif/0/ipv6/0": "fec0::16", "control/feature-suspend": "1",
		"control/feature-poweroff": "1", "control/feature-reboot": "1", "data/os_name": "ns1",
		"attr/PVAddons/MajorVersion": "7", "device/vif/0/state": "4",
	} {
		out, err := h.Exec(h.t.Context(), 20*time.Second, "xenstore-read", dir+key)
		if got := strings.TrimSpace(out); err != nil || got != want {
			h.t.Errorf("%s is %q (%v), want %q", key, got, err, want)
		}
	}
}

func stream(h *host) {
	r, err := h.StreamTCP(h.t.Context(), echoAddr, 4<<20)
	h.must("4 MiB each way over TCP", err)
	if r.Bytes != 4<<20 {
		h.t.Errorf("%d bytes came back as they went", r.Bytes)
	}
}

func pause(h *host) {
	h.xl("pause", "echo")
	if err := h.echo(2); err == nil {
		h.t.Error("it answers while paused")
	}
	h.xl("unpause", "echo")
	h.must("after unpause", h.echo(10))
}

// saveRestore keeps a TCP connection open across a save.
func saveRestore(h *host) {
	k, err := h.Keep(h.t.Context(), echoAddr, 100*time.Millisecond)
	h.must("connection", err)
	h.xl("save", "echo", "/run/echo.save")
	h.xl("restore", "/run/echo.save")
	began := time.Now()
	h.must("after restore", h.echo(20))
	h.t.Logf("first answer %v after xl restore returned", time.Since(began).Round(time.Millisecond))
	h.backSoon("echo")
	time.Sleep(3 * time.Second)
	res, err := k.Stop()
	h.must("stop", err)
	if res.Error != "" {
		h.t.Errorf("the TCP connection did not live through it: %s", res.Error)
	}
	h.t.Logf("TCP connection: %d round trips, the longest took %v", res.RoundTrips, res.Longest)
	if _, err := h.Run(h.t.Context(), 20*time.Second, "rm -f /run/echo.save"); err != nil {
		h.t.Error(err)
	}
}

func migrate(h *host) {
	out, err := h.Migrate(h.t.Context(), "echo")
	h.must("migrate", err)
	if err := h.echo(20); err != nil {
		h.t.Fatalf("after migration: %v\n%s", err, out)
	}
}

// acknowledged waits for the guest to take a request from control/shutdown, and
// says how long that took.
func (h *host) acknowledged(name, request string) time.Duration {
	h.t.Helper()
	s, err := h.State(h.t.Context(), name)
	h.must("state", err)
	// In one script, as the way to dom0 and back takes longer than the answer.
	out, err := h.Run(h.t.Context(), 30*time.Second, fmt.Sprintf(`
k=/local/domain/%d/control/shutdown
b=$(cut -d' ' -f1 /proc/uptime)
xenstore-write $k %s
while [ -n "$(xenstore-read $k 2>/dev/null)" ]; do usleep 10000; done
echo $b $(cut -d' ' -f1 /proc/uptime)`, s.ID, request))
	h.must("control/shutdown", err)
	var b, e float64
	if _, err := fmt.Sscan(out, &b, &e); err != nil {
		h.t.Fatalf("uptimes %q: %v", out, err)
	}
	return time.Duration((e - b) * float64(time.Second))
}

func reboot(h *host) {
	s, err := h.State(h.t.Context(), "echo")
	h.must("state", err)
	if d := h.acknowledged("echo", "reboot"); d > time.Second {
		h.t.Errorf("reboot was acknowledged after %v", d)
	}
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(500 * time.Millisecond) {
		n, err := h.State(h.t.Context(), "echo")
		if err == nil && n.ID != s.ID {
			break
		}
		if time.Now().After(end) {
			h.t.Fatalf("no new domain after reboot (%v)", err)
		}
	}
	h.must("after reboot", h.echo(60))
}

func shutdown(h *host) {
	if d := h.acknowledged("dns", "poweroff"); d > time.Second {
		h.t.Errorf("poweroff was acknowledged after %v", d)
	}
	ctx, cancel := context.WithTimeout(h.t.Context(), 30*time.Second)
	defer cancel()
	h.must("the domain does not end", h.WaitGone(ctx, "dns"))
}

func destroy(h *host) {
	h.xl("destroy", "echo")
	if _, err := h.State(h.t.Context(), "echo"); !errors.Is(err, rig.ErrGone) {
		h.t.Errorf("state after destroy: %v", err)
	}
}

// tooLittle is a guest without the memory that its image needs: it says so.
func tooLittle(h *host) {
	h.must("create", h.Create(h.t.Context(), "small", rig.Guest{Image: "echo.elf", Memory: 8, OnCrash: "destroy"}))
	ctx, cancel := context.WithTimeout(h.t.Context(), 30*time.Second)
	defer cancel()
	h.must("the domain does not end", h.WaitGone(ctx, "small"))
	log, err := h.GuestLog(h.t.Context(), "small")
	if err != nil {
		h.t.Log(err)
	}
	if !strings.Contains(log+h.XenConsole(), "too little memory") && !strings.Contains(log, "out of memory") {
		h.t.Errorf("nobody says that memory is too little; console:\n%s", log)
	}
}
