//go:build !ampoule

package probe

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// compile builds the package as it is on the appliance and gives what the
// compiler says.
func compile(t *testing.T, level, gcflags string) string {
	t.Helper()
	cmd := exec.Command("go", "build", "-tags", "ampoule", "-gcflags="+gcflags, ".")
	cmd.Env = append(cmd.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0", "GOAMD64="+level)
	b, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	return string(b)
}

func TestNothingEscapes(t *testing.T) {
	out := compile(t, "v1", "-m=2")
	if !regexp.MustCompile(`can inline`).MatchString(out) {
		t.Fatalf("the compiler says nothing of use:\n%.500s", out)
	}
	for _, m := range regexp.MustCompile(`(?m)^.*(escapes to heap|moved to heap).*$`).FindAllString(out, -1) {
		t.Error(m)
	}
}

// TestNoRuntimeSupport checks that the code calls nothing of the runtime but
// what needs no runtime, and has no bounds check left that could panic. What
// the compiler adds for use through interfaces (DUPOK) is never called.
func TestNoRuntimeSupport(t *testing.T) {
	allowed := map[string]bool{
		"runtime.morestack_noctxt":     true, // the prologue's branch that a boot stack never takes
		"runtime.duffzero":             true,
		"runtime.duffcopy":             true,
		"runtime.memmove":              true,
		"runtime.memclrNoHeapPointers": true,
	}
	for _, level := range []string{"v1", "v3"} {
		calls := 0
		for _, f := range regexp.MustCompile(`(?m)^\S+ STEXT`).Split(compile(t, level, "-S"), -1)[1:] {
			if head, _, _ := strings.Cut(f, "\n"); strings.Contains(head, "dupok") {
				continue
			}
			for _, c := range regexp.MustCompile(`\tCALL\t([^ \t(]+)`).FindAllStringSubmatch(f, -1) {
				calls++
				if !strings.HasPrefix(c[1], "ampoule/boot/probe.") && !allowed[c[1]] {
					t.Errorf("%s: %s calls %s", level, f[:strings.Index(f, "\n")], c[1])
				}
			}
		}
		if calls < 100 {
			t.Errorf("%s: only %d calls in the listing", level, calls)
		}
	}
}

// TestStackFrames keeps the package well within the 16 KiB of the boot stack.
// The longest chain, Find to out32, has twelve frames.
func TestStackFrames(t *testing.T) {
	m := regexp.MustCompile(`(?m)^(\S+) STEXT.* locals=0x([0-9a-f]+)`).FindAllStringSubmatch(compile(t, "v1", "-S"), -1)
	if len(m) < 50 {
		t.Fatalf("only %d functions in the listing", len(m))
	}
	for _, f := range m {
		if n, err := strconv.ParseUint(f[2], 16, 64); err != nil || n > 512 {
			t.Errorf("%s has a frame of %s (hexadecimal) bytes, %v", f[1], f[2], err)
		}
	}
}

// TestAccessors runs the tests of the real Bus.
func TestAccessors(t *testing.T) {
	exe := filepath.Join(t.TempDir(), "bus.test")
	if b, err := exec.Command("go", "test", "-c", "-tags", "ampoule", "-o", exe, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	b, err := exec.Command(exe, "-test.run", "TestBus", "-test.v").CombinedOutput()
	if err != nil || strings.Count(string(b), "--- PASS: TestBus") != 2 {
		t.Errorf("%v\n%s", err, b)
	}
}
