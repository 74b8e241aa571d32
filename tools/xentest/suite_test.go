package xen

import (
	"context"
	"fmt"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ampoule/libos/rt/rtabi"
	"ampoule/tools/guesttest/expect"
	"ampoule/tools/workspace"
	"ampoule/tools/xenrig/rig"
)

// program builds a guest of the suites for Xen and leaves it in dom0; it
// answers the image's name there.
func (h *host) program(pkg string) string {
	h.t.Helper()
	root, err := workspace.Root()
	h.must("workspace", err)
	name := path.Base(pkg) + "-xen.elf"
	out := filepath.Join(root, "build", "guests", name)
	cmd := exec.CommandContext(h.t.Context(), "go", "run", "ampoule/tools/mkimage", "-target", "xen", "-pkg", pkg, "-o", out)
	cmd.Dir = root
	if b, err := cmd.CombinedOutput(); err != nil {
		h.t.Fatalf("build %s: %v\n%s", pkg, err, b)
	}
	h.must("push", h.Push(h.t.Context(), out, rig.ImagePath(name)))
	return name
}

// Shutdown reasons as toolstacks see them (SHUTDOWN_* of public/sched.h).
const (
	poweroff = 0
	crash    = 3
)

// guestName is the domain that the suites run in, one after the other.
const guestName = "guest"

// start creates the domain of a guest, which stays when it has ended. The clock
// is as in the configuration that mkimage writes.
func (h *host) start(g rig.Guest) {
	h.t.Helper()
	g.OnPoweroff, g.OnCrash, g.OnReboot = "preserve", "preserve", "preserve"
	g.Config = append(g.Config, `tsc_mode="native"`)
	h.must("create", h.Create(h.t.Context(), guestName, g))
}

// ended waits for the guest to end, looking now and then, which takes processor
// time away from it. It answers the reason, as xl has logged it, and the lines of
// the guest's console.
func (h *host) ended(limit, every time.Duration) (reason int, lines []string) {
	h.t.Helper()
	// In one script, as the way to dom0 and back takes long. The console daemon
	// is through when the log grows no more; it rests up to 200 ms from a guest
	// that writes much.
	out, err := h.Run(h.t.Context(), limit+30*time.Second, fmt.Sprintf(`
left=%[1]d
until grep -q 'has shut down' /var/log/xen/xl-%[2]s.log; do
	left=$((left - 1))
	[ $left -gt 0 ] || { xl list; break; }
	usleep %[4]d
done
sed -n 's/.* has shut down, reason code \([0-9]*\) .*/reason \1/p' /var/log/xen/xl-%[2]s.log
old=
until [ "$(stat -c %%s %[3]s)" = "$old" ]; do
	old=$(stat -c %%s %[3]s)
	usleep 250000
done
cat %[3]s
xl destroy %[2]s`, limit/every, guestName, rig.LogPath(guestName), every.Microseconds()))
	if err != nil {
		h.XL(context.WithoutCancel(h.t.Context()), "destroy", guestName)
	}
	h.must("the guest's end", err)
	lines = strings.Split(strings.TrimSpace(strings.ReplaceAll(out, "\r", "")), "\n")
	if _, err := fmt.Sscanf(lines[0], "reason %d", &reason); err != nil {
		h.t.Fatalf("the guest has not ended after %v:\n%s", limit, out)
	}
	return reason, lines[1:]
}

// ends runs a guest whose exit code must be code: 0 powers the domain off, all
// others are a crash to the toolstack.
func (h *host) ends(image, command string, memory, code int) []string {
	h.t.Helper()
	h.start(rig.Guest{Image: image, Memory: memory, Cmdline: command})
	reason, lines := h.ended(2*time.Minute, 150*time.Millisecond)
	want := crash
	if code == rtabi.ExitOK {
		want = poweroff
	}
	if reason != want {
		h.t.Errorf("shutdown reason %d, want %d:\n%s", reason, want, strings.Join(lines, "\n"))
	}
	return lines
}

// timing is the checks that a busy machine can fail, as it takes the processor
// away from the guest.
var timing = []string{"sleep", "timers", "ticker", "spinner-ticker"}

// runtimeSuite is TestRuntime of tools/guesttest on Xen, each check a subtest.
// The words of the command line make up for an emulated hypervisor: more rounds
// for what must be in time once, less to collect. What is only late gets two more
// chances.
func runtimeSuite(h *host) {
	const options = "rounds=25 mib=512"
	image := h.program(expect.Suite)
	lines := h.suite(image, options)
	for range 2 {
		late := slices.DeleteFunc(slices.Clone(timing), func(name string) bool { return !failed(lines, name) })
		if len(late) == 0 {
			break
		}
		h.t.Logf("again: %s", strings.Join(late, ", "))
		again := h.suite(image, options+" run="+strings.Join(late, ","))
		lines = append(again, lines...) // the first line of a check counts
	}
	for _, name := range expect.Checks() {
		h.t.Run(name, func(t *testing.T) {
			i := outcome(lines, name)
			if i < 0 {
				t.Fatalf("no result:\n%s", strings.Join(lines, "\n"))
			}
			t.Log(lines[i])
			if failed(lines, name) {
				t.Fail()
			}
		})
	}
	began := time.Now()
	again := h.ends(image, "run=random,wall-clock", 32, rtabi.ExitOK)
	h.t.Run("random-differs", func(t *testing.T) {
		a, b := line(t, lines, "^random [0-9a-f]{64}$"), line(t, again, "^random [0-9a-f]{64}$")
		if a == b {
			t.Errorf("two boots gave the same bytes: %s", a)
		}
	})
	h.t.Run("wall-clock-right", func(t *testing.T) {
		var ns int64
		fmt.Sscanf(line(t, again, "^wall [0-9]+$"), "wall %d", &ns)
		const off = 3 * time.Second
		if wall := time.Unix(0, ns); wall.Before(began.Add(-off)) || wall.After(time.Now().Add(off)) {
			t.Errorf("the guest's wall clock said %v between %v and %v", wall, began, time.Now())
		}
	})
}

// suite boots the runtime suite. That a check failed is for its line to say.
func (h *host) suite(image, options string) []string {
	h.t.Helper()
	h.start(rig.Guest{Image: image, Memory: 64, Cmdline: options})
	reason, lines := h.ended(4*time.Minute, time.Second)
	last := line(h.t, lines, "^suite: [0-9]+ run, [0-9]+ failed$")
	if (reason == poweroff) != strings.HasSuffix(last, " 0 failed") {
		h.t.Errorf("shutdown reason %d: %s", reason, last)
	}
	return lines
}

// outcome is the index of the line of a check, or below 0.
func outcome(lines []string, name string) int {
	return slices.IndexFunc(lines, func(l string) bool {
		return strings.HasPrefix(l, "ok "+name+" ") || strings.HasPrefix(l, "FAIL "+name+":")
	})
}

func failed(lines []string, name string) bool {
	i := outcome(lines, name)
	return i >= 0 && strings.HasPrefix(lines[i], "FAIL")
}

// line is the first line that matches; none fails the test.
func line(t *testing.T, lines []string, re string) string {
	t.Helper()
	match := regexp.MustCompile(re)
	i := slices.IndexFunc(lines, match.MatchString)
	if i < 0 {
		t.Fatalf("no line %q:\n%s", re, strings.Join(lines, "\n"))
	}
	return lines[i]
}

// endings lets a program end in every way.
func endings(h *host) {
	image := h.program(expect.Ending)
	for _, e := range expect.Endings() {
		h.t.Run(e.Name, func(t *testing.T) {
			lines := (&host{h.Rig, t}).ends(image, "end="+e.Name, 32, e.Code)
			text := strings.Join(lines, "\n")
			switch {
			case e.Want == "" && len(lines) != 1: // the guest says how it will end
				t.Errorf("the console says more than it should:\n%s", text)
			case !regexp.MustCompile("(?m)" + e.Want).MatchString(text):
				t.Errorf("no line %q:\n%s", e.Want, text)
			}
			// The toolstack does not see the code, so that the console says it.
			if last := lines[len(lines)-1]; e.Code != rtabi.ExitOK && e.Code != rtabi.ExitMax && last != fmt.Sprintf("ampoule: exit %d", e.Code) {
				t.Errorf("last line %q, want exit code %d", last, e.Code)
			}
			if e.Code == rtabi.ExitPanic && !strings.Contains(text, "main.go:") {
				t.Errorf("no trace:\n%s", text)
			}
		})
	}
}
