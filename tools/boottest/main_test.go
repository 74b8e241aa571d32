package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"ampoule/tools/boottest/tinyguest"
)

func TestCommand(t *testing.T) {
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Fatal("qemu-system-x86_64 is not installed: run make setup")
	}
	dir := t.TempDir()
	image := func(name string, g *tinyguest.Guest) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, g.ELF(), 0o644); err != nil {
			t.Fatal(err)
		}
		return p
	}
	exit := image("exit.elf", new(tinyguest.Guest).Print("console\n").Exit(42))
	hang := image("hang.elf", new(tinyguest.Guest).Hang())
	crash := image("crash.elf", new(tinyguest.Guest).Crash())
	for _, tc := range []struct {
		args []string
		want int
	}{
		{[]string{"-machine", "q35", "-m", "32", exit}, 42},
		{[]string{"-machine", "microvm", "-v", "-forward", "udp:7", exit}, 42},
		{[]string{exit, "--", "-name", "test"}, 42},
		{[]string{"-timeout", "300ms", hang}, exitTimeout},
		{[]string{crash}, exitNoCode},
		{[]string{"-machine", "pdp11", exit}, exitNoCode},
		{[]string{"-net", "bridge", exit}, exitUsage},
		{[]string{"-forward", "x", exit}, exitUsage},
		{nil, exitUsage},
	} {
		if got := run(tc.args); got != tc.want {
			t.Errorf("boottest %q exits with %d, want %d", tc.args, got, tc.want)
		}
	}
}
