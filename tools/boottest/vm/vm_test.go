package vm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ampoule/tools/boottest/tinyguest"
)

func needQEMU(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Fatal("qemu-system-x86_64 is not installed: run make setup")
	}
}

func image(t *testing.T, g *tinyguest.Guest) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "guest.elf")
	if err := os.WriteFile(p, g.ELF(), 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

func guest() *tinyguest.Guest { return new(tinyguest.Guest) }

func TestExitCode(t *testing.T) {
	needQEMU(t)
	for _, m := range Machines {
		for _, code := range []byte{0, 1, 2, 42, 127} {
			t.Run(fmt.Sprintf("%s/%d", m, code), func(t *testing.T) {
				r, err := Run(t.Context(), Config{Machine: m, RAM: 16, Append: "a=1 b",
					Image: image(t, guest().PrintCommandLine().Print("hello\r\nlast").Exit(code))})
				if err != nil {
					t.Fatal(err)
				}
				if r.Code != int(code) {
					t.Errorf("code %d, want %d", r.Code, code)
				}
				if want := []string{"a=1 b", "hello", "last"}; !slices.Equal(r.Lines, want) {
					t.Errorf("console %q, want %q", r.Lines, want)
				}
			})
		}
	}
}

func TestDevices(t *testing.T) {
	needQEMU(t)
	for _, m := range Machines {
		for name, n := range map[string]Net{
			"user": {Kind: NetUser, Forwards: []Forward{{Proto: "udp", Port: 7}, {Proto: "tcp", Port: 7}}},
			"pair": {Kind: NetSocket},
		} {
			t.Run(string(m)+"/"+name, func(t *testing.T) {
				if n.Kind == NetSocket {
					peer, far, err := SocketPair()
					if err != nil {
						t.Fatal(err)
					}
					defer peer.Close()
					defer far.Close()
					n.File = far
				}
				v, err := Start(t.Context(), Config{Machine: m, RNG: true, Net: n, Image: image(t, guest().Print("up\n").Hang())})
				if err != nil {
					t.Fatal(err)
				}
				defer v.Close()
				if _, err := v.WaitLine(t.Context(), regexp.MustCompile(`^up$`)); err != nil {
					t.Fatal(err)
				}
				if n.Kind == NetUser {
					c, err := net.Dial("tcp", v.Addr("tcp", 7))
					if err != nil {
						t.Fatalf("forwarded port: %v", err)
					}
					c.Close()
					if v.Addr("udp", 7) == "" || v.Addr("udp", 8) != "" {
						t.Errorf("Addr: udp 7 at %q, udp 8 at %q", v.Addr("udp", 7), v.Addr("udp", 8))
					}
				}
			})
		}
	}
}

func TestMonitor(t *testing.T) {
	needQEMU(t)
	v := boot(t, guest().Print("up\n").Hang())
	for line, want := range map[string]string{"info status": "running", "info registers": "CR3=", "no such": "unknown command"} {
		if text, err := v.Monitor(line); err != nil || !strings.Contains(text, want) {
			t.Errorf("%s: %q, %v, want %q in it", line, text, err, want)
		}
	}
	v.Close()
	if text, err := v.Monitor("info status"); err == nil {
		t.Errorf("a closed VM answers %q", text)
	}
}

func TestReset(t *testing.T) {
	needQEMU(t)
	code, err := boot(t, guest().Print("before\n").Crash()).Wait(t.Context())
	if !errors.Is(err, ErrNoCode) || code != -1 {
		t.Fatalf("triple fault: code %d, error %v", code, err)
	}
	for _, want := range []string{"guest-reset", "qemu-system-x86_64", "-kernel", "before"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q: %v", want, err)
		}
	}
}

func boot(t *testing.T, g *tinyguest.Guest) *VM {
	t.Helper()
	v, err := Start(t.Context(), Config{Image: image(t, g)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

func TestWaitLine(t *testing.T) {
	needQEMU(t)
	v := boot(t, guest().Print("one 1\ntwo\none 2\n").Exit(3))
	for _, want := range []string{"one 1", "one 2"} {
		if line, err := v.WaitLine(t.Context(), regexp.MustCompile(`^one`)); err != nil || line != want {
			t.Fatalf("line %q, error %v; want %q", line, err, want)
		}
	}
	_, err := v.WaitLine(t.Context(), regexp.MustCompile(`^one`))
	if !errors.Is(err, ErrEnded) || !strings.Contains(err.Error(), "code 3") {
		t.Errorf("after the end: %v", err)
	}
}

func TestTimeouts(t *testing.T) {
	needQEMU(t)
	v := boot(t, guest().Print("here\n").Hang())
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := v.WaitLine(ctx, regexp.MustCompile(`never`)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("WaitLine: %v", err)
	}
	if _, err := v.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Wait: %v", err)
	}
	gone(t, v, func() { v.Close() })
	if _, err := v.Wait(t.Context()); err == nil {
		t.Error("Wait after Close: no error")
	}
}

func TestContextKills(t *testing.T) {
	needQEMU(t)
	ctx, cancel := context.WithCancel(t.Context())
	v, err := Start(ctx, Config{Image: image(t, guest().Hang())})
	if err != nil {
		t.Fatal(err)
	}
	gone(t, v, func() { cancel(); <-v.Done() })
}

// gone checks that QEMU lives before end and not after.
func gone(t *testing.T, v *VM, end func()) {
	t.Helper()
	pid := v.Process().Pid
	if err := syscall.Kill(pid, 0); err != nil {
		t.Fatalf("QEMU is not there before its end: %v", err)
	}
	end()
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("QEMU is still there: %v", err)
	}
}

// TestParentDeath checks that QEMU dies with a process that has no chance to
// clean up: this test runs itself, boots there and is killed.
func TestParentDeath(t *testing.T) {
	needQEMU(t)
	if img := os.Getenv("BOOTTEST_ORPHAN"); img != "" {
		v, err := Start(context.Background(), Config{Image: img})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("pid %d\n", v.Process().Pid)
		os.Stdout.Sync()
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestParentDeath$")
	cmd.Env = append(os.Environ(), "BOOTTEST_ORPHAN="+image(t, guest().Hang()))
	out, _ := cmd.Output()
	var pid int
	if _, err := fmt.Sscanf(string(out), "pid %d", &pid); err != nil {
		t.Fatalf("the child did not boot: %q", out)
	}
	for end := time.Now().Add(5 * time.Second); !dead(pid); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			syscall.Kill(pid, syscall.SIGKILL)
			t.Fatal("QEMU outlived the process that started it")
		}
	}
}

// dead says whether pid is gone or a zombie that its new parent has not reaped.
func dead(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return strings.HasPrefix(rest, "Z")
}

func TestStartErrors(t *testing.T) {
	needQEMU(t)
	ok := image(t, guest().Exit(0))
	for name, tc := range map[string]struct {
		c    Config
		want string
	}{
		"no image":    {Config{Image: "/does/not/exist"}, "/does/not/exist"},
		"machine":     {Config{Image: ok, Machine: "pc"}, `machine "pc"`},
		"accelerator": {Config{Image: ok, Accel: "hvf"}, `accelerator "hvf"`},
		"no file":     {Config{Image: ok, Net: Net{Kind: NetTap}}, "without a File"},
		"forwards":    {Config{Image: ok, Net: Net{Forwards: []Forward{{Proto: "tcp", Port: 1}}}}, "user-mode"},
		"no QEMU":     {Config{Image: ok, Binary: "qemu-system-nowhere"}, "not installed"},
		"bad argument": {Config{Image: ok, Args: []string{"-device", "no-such-device"}},
			"'no-such-device' is not a valid device model name"},
		"not an image": {Config{Image: "/etc/passwd"}, "-kernel /etc/passwd"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Run(t.Context(), tc.c)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestCPUTime(t *testing.T) {
	needQEMU(t)
	since := func(g *tinyguest.Guest) (used func() time.Duration) {
		v := boot(t, g)
		if _, err := v.WaitLine(t.Context(), regexp.MustCompile(`^up$`)); err != nil {
			t.Fatal(err)
		}
		now := func() time.Duration {
			d, err := v.CPUTime()
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
		before := now()
		return func() time.Duration { return now() - before }
	}
	idle := since(guest().Print("up\n").Hang())
	time.Sleep(500 * time.Millisecond)
	if d := idle(); d > 50*time.Millisecond {
		t.Errorf("halted for half a second: %v", d)
	}
	// How soon it comes to that is up to who else wants the CPU.
	busy := since(guest().Print("up\n").Loop(1 << 31).Loop(1 << 31).Hang())
	for end := time.Now().Add(time.Minute); busy() < 100*time.Millisecond; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("busy for a minute: %v", busy())
		}
	}
}
