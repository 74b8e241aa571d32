package guesttest

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ampoule/libos/rt/rtabi"
	"ampoule/tools/boottest/vm"
	"ampoule/tools/guesttest/expect"
	"ampoule/tools/guesttest/guest"
)

// The programs of the runtime and attack suites.
const (
	suiteGuest  = expect.Suite
	endingGuest = expect.Ending
	attackGuest = expect.Attack
	placesGuest = "ampoule/boot/guests/places"
	framesGuest = "ampoule/boot/guests/frames"
	helloGuest  = "ampoule/boot/guests/hello"
)

// TestRuntime runs the runtime suite, each check a subtest, and compares what
// only the host can: the wall clock, and random bytes across boots.
func TestRuntime(t *testing.T) {
	seen := map[string]string{}
	guest.Each(t, func(t *testing.T, v guest.Variant) {
		var off time.Duration
		g := guest.Boot(t, vm.Config{Image: images.Program(t, suiteGuest, v.GOAMD64), Machine: v.Machine,
			CPU: guest.CPU(v.GOAMD64), RAM: 64, Tee: func(line string) {
				if s, ok := strings.CutPrefix(line, "wall "); ok {
					ns, _ := strconv.ParseInt(s, 10, 64)
					off = time.Since(time.Unix(0, ns))
				}
			}})
		code, err := g.Wait(t.Context())
		if err != nil || code != 0 {
			t.Errorf("exit code %d, %v", code, err)
		}
		if off == 0 || off.Abs() > 3*time.Second {
			t.Errorf("the guest's wall clock is off by %v", off)
		}
		results(t, g.Lines(), v, seen)
	})
}

// results makes a subtest of each line of the suite.
func results(t *testing.T, lines []string, v guest.Variant, random map[string]string) {
	for _, name := range expect.Checks() {
		t.Run(name, func(t *testing.T) {
			i := slices.IndexFunc(lines, func(l string) bool {
				return strings.HasPrefix(l, "ok "+name+" ") || strings.HasPrefix(l, "FAIL "+name+":")
			})
			if i < 0 {
				t.Fatal("no result")
			}
			t.Log(lines[i])
			if strings.HasPrefix(lines[i], "FAIL") {
				t.Fail()
			}
		})
	}
	i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "random ") })
	if i < 0 || len(lines[i]) != len("random ")+64 {
		t.Fatal("no random bytes")
	}
	if other, ok := random[lines[i]]; ok {
		t.Errorf("the same random bytes as on %s", other)
	}
	random[lines[i]] = v.String()
}

// TestEndings lets a program end in every way, on a small machine of each kind.
func TestEndings(t *testing.T) {
	for i, e := range expect.Endings() {
		t.Run(e.Name, func(t *testing.T) {
			level := []string{"v1", "v3"}[i%2]
			lines := ends(t, e.Code, vm.Config{Image: images.Program(t, endingGuest, level),
				Machine: vm.Machines[i/2%2], CPU: guest.CPU(level), RAM: 32, Append: "end=" + e.Name})
			text := strings.Join(lines, "\n")
			switch {
			case e.Want == "" && len(lines) != 1: // the guest says how it will end
				t.Errorf("the console says more than it should:\n%s", text)
			case !regexp.MustCompile("(?m)" + e.Want).MatchString(text):
				t.Errorf("no line %q:\n%s", e.Want, text)
			}
			if e.Code == rtabi.ExitPanic && !strings.Contains(text, "main.go:") {
				t.Errorf("no trace:\n%s", text)
			}
		})
	}
}

// ends boots c and holds its exit code to want.
func ends(t *testing.T, want int, c vm.Config) []string {
	t.Helper()
	g := guest.Boot(t, c)
	code, err := g.Wait(t.Context())
	if err != nil || code != want {
		t.Fatalf("exit code %d, %v, want %d", code, err, want)
	}
	return g.Lines()
}

// TestRefusedMachines boots images on machines that lack what they need: one
// clear line, and ExitBoot.
func TestRefusedMachines(t *testing.T) {
	for _, m := range vm.Machines {
		for _, tc := range []struct{ name, level, cpu, want string }{
			{"v3 on Nehalem", "v3", "Nehalem,rdrand=on", "ampoule: CPU lacks the image's GOAMD64 level"},
			{"v3 without AVX2", "v3", "max,-avx2", "ampoule: CPU lacks the image's GOAMD64 level"},
			{"v3 without LZCNT", "v3", "max,-abm", "ampoule: CPU lacks the image's GOAMD64 level"},
			{"v1 without long mode", "v1", "qemu32", "ampoule: CPU is not 64-bit"},
			{"v1 without NX", "v1", "max,-nx", "ampoule: cannot start: the CPU lacks NX, SYSCALL or a local APIC"},
		} {
			t.Run(string(m)+"/"+tc.name, func(t *testing.T) {
				lines := ends(t, rtabi.ExitBoot, vm.Config{Image: images.Program(t, helloGuest, tc.level),
					Machine: m, CPU: tc.cpu, RAM: 32})
				if len(lines) != 1 || lines[0] != tc.want {
					t.Errorf("console %q, want %q", lines, tc.want)
				}
			})
		}
		// From so little RAM that not even the image fits to enough: the machine
		// says that it is too small until it runs.
		ran := 0
		for _, ram := range []int{4, 5, 6, 8, 10, 12, 16} {
			v := guest.Boot(t, vm.Config{Image: images.Program(t, helloGuest, "v1"), Machine: m, CPU: guest.CPU("v1"), RAM: ram})
			code, err := v.Wait(t.Context())
			text := v.Console()
			switch {
			case err != nil:
				t.Errorf("%s, %d MiB: %v", m, ram, err)
			case code == 0 && strings.Contains(text, "hello"):
				ran++
			case ran > 0:
				t.Errorf("%s: %d MiB are not enough where less was", m, ram)
			case code != rtabi.ExitBoot && code != rtabi.ExitMemory || !strings.Contains(text, "memory"):
				t.Errorf("%s, %d MiB: exit code %d\n%s", m, ram, code, text)
			}
		}
		if ran == 0 {
			t.Errorf("%s: 16 MiB are not enough", m)
		}
	}
}
