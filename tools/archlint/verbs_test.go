package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ampoule/tools/workspace"
)

func TestVerbs(t *testing.T) {
	for call, want := range map[string]string{
		`format.Sprintf("%d %s %q %v %x %X %c %b %t %T %%", 1)`:     "",
		`format.Errorf("%-10s %+d %#x %08.3s %.2s: %w", 1)`:         "",
		`format.Fprintf(w, "%e", 1)`:                                `"%e" is no verb`,
		`format.Sprintf("%d %g", 1)`:                                `"%g" is no verb`,
		`format.Sprintf("%[1]d", 1)`:                                `"%[1]d" is no verb`,
		`format.Sprintf("%*d", 1, 2)`:                               `"%*d" is no verb`,
		`format.Sprintf("% x", 1)`:                                  `"% x" is no verb`,
		"format.Sprintf(`%p`, 1)":                                   `"%p" is no verb`,
		`format.Sprintf("100%", 1)`:                                 `"%" is no verb`,
		`other.Sprintf("%e", 1)`:                                    "",
		`format.Sprint("%e", 1)`:                                    "",
		`format.Sprintf("%d" + "%e", 1)`:                            "", // vet sees that; this does not
		`func() error { return format.Errorf("%w %U", nil, 1) } ()`: `"%U" is no verb`,
	} {
		got := lint(t, "libos/netif/x.go", "package x\nimport \"ampoule/libos/format\"\nvar _ = "+call+"\n")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", call, got, want)
		}
	}
	if got := lint(t, "libos/netif/x.go", "package x\nimport f \"ampoule/libos/format\"\nvar _ = f.Sprintf(\"%e\", 1)\n"); !strings.Contains(got, "x.go:3: ") {
		t.Errorf("under another name: %q", got)
	}
}

// With the overlay go vet sees what is wrong with arguments of libos/format, also
// in other packages and through functions that pass them on.
func TestOverlay(t *testing.T) {
	root, err := workspace.Root()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	bad, overlay := filepath.Join(dir, "bad.go"), filepath.Join(dir, "vet.json")
	write(t, bad, `package netif

import "ampoule/libos/format"

func badArguments(w string) error {
	_ = format.Sprintf("%d", "text")
	_ = format.Sprintf("%s")
	_ = format.Errorf("%w", 7)
	_ = format.Errorf("%w: %d", format.Errorf("fine"), 7)
	return badThrough("%d", w)
}

func badThrough(f string, args ...any) error { return format.Errorf(f, args...) }
`)
	if err := writeOverlay(root, overlay, map[string]string{filepath.Join(root, "libos", "netif", "bad_arguments.go"): bad}); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "vet", "-overlay="+overlay, "ampoule/libos/netif").CombinedOutput()
	if err == nil {
		t.Error("nothing was found")
	}
	for _, want := range []string{"6:22: ", "7:22: ", "8:21: ", "10:21: "} {
		if !strings.Contains(string(out), "bad.go:"+want) && !strings.Contains(string(out), "bad_arguments.go:"+want) {
			t.Errorf("nothing at %s", want)
		}
	}
	if n := strings.Count(string(out), ".go:"); n != 4 {
		t.Errorf("%d findings, want 4", n)
	}
	t.Logf("%s", out)
}
