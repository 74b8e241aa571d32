package rig

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

	"ampoule/tools/boottest/tinyguest"
	"ampoule/tools/boottest/vm"
	"ampoule/tools/xenrig/dom0"
)

// tiny writes guests of a few bytes and returns the files by name.
func tiny(t *testing.T) map[string]string {
	t.Helper()
	g := func() *tinyguest.Guest { return new(tinyguest.Guest) }
	dir, out := t.TempDir(), map[string]string{}
	for name, guest := range map[string]*tinyguest.Guest{
		"poweroff": g().PrintDebug("poweroff says hello\n").XenShutdown(tinyguest.XenPoweroff).Hang(),
		"crash":    g().PrintDebug("crash says hello\n").XenShutdown(tinyguest.XenCrash).Hang(),
		"triple":   g().PrintDebug("triple says hello\n").Crash(),
		"spin":     g().PrintDebug("spin says hello\n").Forever(),
	} {
		out[name] = filepath.Join(dir, name+".elf")
		if err := os.WriteFile(out[name], guest.ELF(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// start boots Xen once for all subtests.
func start(t *testing.T) *Rig {
	t.Helper()
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Fatal("qemu-system-x86_64 is not installed: run make setup")
	}
	r, err := Start(t.Context(), Options{Images: tiny(t), Say: func(s string) { t.Log(s) },
		Forwards: []vm.Forward{{Proto: "tcp", Port: 5000, Guest: Dom0IPv4}}})
	if errors.Is(err, dom0.ErrPackages) {
		t.Skipf("NOTHING WAS TESTED ON XEN: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	t.Logf("Xen and dom0 were up after %v", r.BootTime())
	return r
}

// TestXen boots one rig and does with it what a rig is for.
func TestXen(t *testing.T) {
	r := start(t)
	for name, f := range map[string]func(*testing.T, *Rig){
		"guests": testGuests, "commands": testCommands, "files": testFiles, "network": testNetwork,
	} {
		t.Run(name, func(t *testing.T) { f(t, r) })
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := r.Run(t.Context(), 5*time.Second, "true"); err == nil {
		t.Error("a closed rig obeys")
	}
}

func testGuests(t *testing.T, r *Rig) {
	ctx := t.Context()
	hello := func(name string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if _, err := r.XenConsoleLine(ctx, regexp.MustCompile(`^\(d\d+\) `+name+` says hello`)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"poweroff", "crash", "triple"} {
		if err := r.Create(ctx, name, Guest{Image: name, Memory: 16}); err != nil {
			t.Fatal(err)
		}
		hello(name)
		if err := r.WaitGone(ctx, name); err != nil {
			t.Fatal(err)
		}
	}

	if err := r.Create(ctx, "kept", Guest{Image: "crash", Memory: 16, OnCrash: "preserve", Paused: true}); err != nil {
		t.Fatal(err)
	}
	r.want(t, "kept", "--p---")
	r.xl(t, "unpause", "kept")
	hello("crash")
	r.want(t, "kept", "---sc-")
	r.xl(t, "destroy", "kept")
	if _, err := r.State(ctx, "kept"); !errors.Is(err, ErrGone) {
		t.Errorf("after destroy: %v", err)
	}

	if err := r.Create(ctx, "spin", Guest{Image: "spin", Memory: 16, VIFs: []VIF{{}}}); err != nil {
		t.Fatal(err)
	}
	hello("spin")
	if out := r.xl(t, "network-list", "spin"); !strings.Contains(out, DefaultMAC) {
		t.Errorf("network-list: %q", out)
	}
	r.xl(t, "destroy", "spin")

	var exit *ExitError
	if err := r.Create(ctx, "none", Guest{Image: "nowhere", Memory: 16}); !errors.As(err, &exit) || !strings.Contains(exit.Output, "nowhere") {
		t.Errorf("an image that is not there: %v", err)
	}
	if err := r.Create(ctx, "a;b", Guest{Image: "spin", Memory: 16}); err == nil {
		t.Error("a name with a semicolon was taken")
	}
}

// xl runs a command that must succeed.
func (r *Rig) xl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := r.XL(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// want waits for a domain to be in a state.
func (r *Rig) want(t *testing.T, name, flags string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; {
		s, err := r.State(t.Context(), name)
		if err == nil && s.Flags == flags && s.ID > 0 && s.Memory == 16 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s is %+v, %v; want %s", name, s, err, flags)
		}
	}
}

func testCommands(t *testing.T, r *Rig) {
	ctx := t.Context()
	if out, err := r.Run(ctx, time.Minute, "xl list | head -2; echo to-stderr >&2"); err != nil ||
		!strings.Contains(out, "Domain-0") || !strings.Contains(out, "to-stderr") {
		t.Errorf("%q, %v", out, err)
	}
	var exit *ExitError
	if out, err := r.Run(ctx, time.Minute, "echo x; exit 3"); !errors.As(err, &exit) || exit.Code != 3 || out != "x\n" {
		t.Errorf("exit status: %q, %v", out, err)
	}
	_, err := r.Run(ctx, time.Second, "sleep 77")
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), dom0.Ready) {
		t.Errorf("time-out: %v", err)
	}
	if out, err := r.Run(ctx, time.Minute, "sleep 1; ps | grep '[s]leep 77'"); !errors.As(err, &exit) {
		t.Errorf("a command lives on after its time-out: %q, %v", out, err)
	}
	out, err := r.Run(ctx, time.Minute, "head -c 3000000 /dev/zero; echo; echo end")
	if err != nil || len(out) > OutputLimit+100 || !strings.HasSuffix(out, "end\n") {
		t.Errorf("much output: %d bytes, %v", len(out), err)
	}
}

func testFiles(t *testing.T, r *Rig) {
	ctx := t.Context()
	content := strings.Repeat("0123456789abcdef", 1<<16)
	if err := r.Put(ctx, "/tmp/file", strings.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	b, size, err := r.Get(ctx, "/tmp/file", 0, 2<<20)
	if err != nil || string(b) != content || size != int64(len(content)) {
		t.Errorf("%d bytes of %d, %v", len(b), size, err)
	}
	if b, _, err := r.Get(ctx, "/tmp/file", -4, 3); err != nil || string(b) != "cde" {
		t.Errorf("the end: %q, %v", b, err)
	}
	if err := r.Push(ctx, "/no/such/file", "/tmp/x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("push of nothing: %v", err)
	}
	if err := r.Put(ctx, "/no/such/folder", strings.NewReader(content)); err == nil {
		t.Error("a file was written to nowhere")
	}
}

// testNetwork has dom0 play the guest: busybox gives back what it gets.
func testNetwork(t *testing.T, r *Rig) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go r.Stream(ctx, 0, func([]byte) {}, "nc", "-ll", "-p", "5000", "-e", "cat")
	guest := fmt.Sprintf("%s:5000", Dom0IPv4)
	dial := func(ctx context.Context, addr string, d func(context.Context, string, string) (net.Conn, error)) error {
		c, err := d(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := c.Write([]byte("hello")); err != nil {
			return err
		}
		b := make([]byte, 16)
		if n, err := c.Read(b); err != nil || string(b[:n]) != "hello" {
			return fmt.Errorf("%q, %w", b[:n], err)
		}
		return nil
	}
	var err error
	for range 50 { // until it listens
		if err = dial(ctx, guest, r.DialContext); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		t.Fatalf("from dom0: %v", err)
	}
	if err := dial(ctx, r.Addr("tcp", 5000, Dom0IPv4), new(net.Dialer).DialContext); err != nil {
		t.Errorf("through the forward: %v", err)
	}
	if _, err := r.DialContext(ctx, "tcp", Dom0IPv4+":1"); err == nil {
		t.Error("connected to nothing")
	}
	k, err := r.Keep(ctx, guest, 20*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * time.Second)
	if res, err := k.Stop(); err != nil || res.Error != "" || res.RoundTrips < 3 {
		t.Errorf("keep: %+v, %v", res, err)
	}
	if res, err := r.StreamTCP(ctx, guest, 1<<20); err != nil || res.Bytes != 1<<20 {
		t.Errorf("stream: %+v, %v", res, err)
	}
}
