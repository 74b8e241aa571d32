//go:build !ampoule

package pvh

import (
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// compile builds the package as it is on the appliance and gives what the
// compiler says.
func compile(t *testing.T, level, gcflags string) string {
	t.Helper()
	cmd := exec.Command("go", "build", "-tags", "ampoule", "-gcflags="+gcflags, ".", "ampoule/boot/gate", "ampoule/boot/layout")
	cmd.Env = append(cmd.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0", "GOAMD64="+level)
	b, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	return string(b)
}

// TestNothingEscapes: there is no heap yet.
func TestNothingEscapes(t *testing.T) {
	out := compile(t, "v1", "-m=2")
	for _, pkg := range []string{"# ampoule/boot/pvh", "# ampoule/boot/gate", "# ampoule/boot/layout"} {
		if !strings.Contains(out, pkg) {
			t.Fatalf("the compiler says nothing of %s:\n%.500s", pkg, out)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^.*(escapes to heap|moved to heap).*$`).FindAllString(out, -1) {
		t.Error(m)
	}
}

// TestNoRuntimeSupport: the code calls nothing of the runtime but what works
// without one.
func TestNoRuntimeSupport(t *testing.T) {
	allowed := map[string]bool{
		"runtime.morestack_noctxt":     true, // the prologue's branch that a boot stack never takes
		"runtime.morestack":            true,
		"runtime.duffzero":             true,
		"runtime.duffcopy":             true,
		"runtime.memmove":              true,
		"runtime.memclrNoHeapPointers": true,
		"runtime.memequal":             true, // with the CPU features still unknown: plain loops
		"runtime.gcWriteBarrier2":      true, // behind a test of a flag that is not set yet
		"runtime.wbZero":               true, // likewise
		// An index, a divisor or the extent of the gate's blob that the compiler
		// cannot prove. Were one wrong, there would be no handler yet: the VM
		// ends by a triple fault.
		"runtime.panicBounds": true, "runtime.panicdivide": true,
		"runtime.panicunsafeslicelen": true, "runtime.panicunsafeslicenilptr": true,
		// The runtime's half of the contract (libos/rt/_runtime/amp_os.go).
		"runtime.ampInfo": true, "runtime.ampHooks": true, "runtime.ampStart": true,
	}
	register := regexp.MustCompile(`^[A-Z]+[0-9]*$`) // a function value: those of package cpu and of start's list
	for _, level := range []string{"v1", "v3"} {
		calls := 0
		for _, f := range regexp.MustCompile(`(?m)^\S+ STEXT`).Split(compile(t, level, "-S"), -1)[1:] {
			head, _, _ := strings.Cut(f, "\n")
			if strings.Contains(head, "dupok") {
				continue
			}
			for _, c := range regexp.MustCompile(`\tCALL\t([^ \t(\n]+)`).FindAllStringSubmatch(f, -1) {
				calls++
				if !register.MatchString(c[1]) && !strings.HasPrefix(c[1], "ampoule/boot/") && !allowed[c[1]] {
					t.Errorf("%s: %.60s calls %s", level, head, c[1])
				}
			}
		}
		if calls < 100 {
			t.Errorf("%s: only %d calls in the listing", level, calls)
		}
	}
}

// TestStackFrames keeps boot within its 16 KiB of stack, with what package
// probe takes: no call chain is deeper than ten frames.
func TestStackFrames(t *testing.T) {
	m := regexp.MustCompile(`(?m)^(\S+) STEXT.* locals=0x([0-9a-f]+)`).FindAllStringSubmatch(compile(t, "v1", "-S"), -1)
	if len(m) < 50 {
		t.Fatalf("only %d functions in the listing", len(m))
	}
	for _, f := range m {
		if n, err := strconv.ParseUint(f[2], 16, 64); err != nil || n > 1024 {
			t.Errorf("%s has a frame of %s (hexadecimal) bytes, %v", f[1], f[2], err)
		}
	}
}
