//go:build !ampoule

package probe

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// qemu is a real QEMU whose firmware has booted a kernel that only stores the
// address of its start info and sleeps. The test then plays ring 0 through
// QEMU's qtest protocol (docs/devel/testing/qtest.rst of QEMU): each access
// goes to the real device models.
type qemu struct {
	t       *testing.T
	cmd     *exec.Cmd
	qtest   *bufio.ReadWriter
	monitor net.Conn
	done    chan error
	info    uint64 // physical address of the PVH start info
}

// infoAt is where the kernel stores the address of its start info, with bit 31
// set to tell it from what was there before.
const infoAt = 0x200100

// startQEMU boots a machine and gives it back when the kernel sleeps. Without
// QEMU the test is skipped.
func startQEMU(t *testing.T, args ...string) *qemu {
	t.Helper()
	path, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Skip("SKIPPED: qemu-system-x86_64 is not installed; real devices are not tested")
	}
	dir, err := os.MkdirTemp("", "qtest") // t.TempDir makes names too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	kernel := filepath.Join(dir, "kernel.elf")
	if err := os.WriteFile(kernel, sleeper(), 0o644); err != nil {
		t.Fatal(err)
	}
	lq, lm := listen(t, dir, "qtest"), listen(t, dir, "monitor")
	cmd := exec.Command(path, append([]string{
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-accel", "tcg", "-m", "64",
		"-kernel", kernel, "-append", "first=1", "-qtest", "unix:" + lq.Addr().String(), "-qtest-log", "none",
		"-monitor", "unix:" + lm.Addr().String(),
	}, args...)...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	q := &qemu{t: t, cmd: cmd, done: make(chan error, 1)}
	go func() { q.done <- cmd.Wait() }()
	t.Cleanup(func() { cmd.Process.Kill() })
	q.monitor = accept(t, lm)
	c := accept(t, lq)
	q.qtest = bufio.NewReadWriter(bufio.NewReader(c), bufio.NewWriter(c))
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if v := q.ask("readl %#x", infoAt); v>>31 == 1 {
			q.info = v & 0x7fffffff
			return q
		}
		if time.Now().After(deadline) {
			t.Fatal("the kernel does not start")
		}
	}
}

func listen(t *testing.T, dir, name string) *net.UnixListener {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, name), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func accept(t *testing.T, l *net.UnixListener) net.Conn {
	l.SetDeadline(time.Now().Add(20 * time.Second))
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// sleeper is a PVH kernel: an ELF file with the entry note and ten bytes of code.
func sleeper() []byte {
	const base, entry = 0x200000, 0x200080
	code := []byte{
		0x0f, 0xba, 0xeb, 31, // bts ebx, 31
		0x89, 0x1d, 0, 1, 0x20, 0, // mov [infoAt], ebx
		0xfa, 0xf4, 0xeb, 0xfd, // cli; hlt; jmp to hlt
	}
	le := binary.LittleEndian
	b := append([]byte("\x7fELF\x01\x01\x01"), make([]byte, 9)...)
	b = le.AppendUint16(b, 2) // ET_EXEC
	b = le.AppendUint16(b, 3) // EM_386
	for _, v := range []uint32{1, entry, 52, 0, 0} {
		b = le.AppendUint32(b, v)
	}
	for _, v := range []uint16{52, 32, 2, 0, 0, 0} {
		b = le.AppendUint16(b, v)
	}
	for _, v := range []uint32{
		1, 0, base, base, 0x100, 0x200, 7, 0x1000, // PT_LOAD
		4, 0x74 + 0x20, base + 0x94, base + 0x94, 20, 20, 4, 4, // PT_NOTE
	} {
		b = le.AppendUint32(b, v)
	}
	b = append(b, make([]byte, 0x80-len(b))...)
	b = append(b, code...)
	b = append(b, make([]byte, 0x94-len(b))...)
	for _, v := range []uint32{4, 4, 18} { // XEN_ELFNOTE_PHYS32_ENTRY
		b = le.AppendUint32(b, v)
	}
	b = append(b, "Xen\x00"...)
	b = le.AppendUint32(b, entry)
	return append(b, make([]byte, 0x100-len(b))...)
}

// ask sends one command of the qtest protocol and gives the number it answers.
func (q *qemu) ask(format string, a ...any) uint64 {
	q.t.Helper()
	f := strings.Fields(q.line(format, a...))
	if len(f) < 2 {
		return 0
	}
	v, err := strconv.ParseUint(f[1], 0, 64)
	if err != nil {
		q.t.Fatalf("qtest: %q", f)
	}
	return v
}

func (q *qemu) line(format string, a ...any) string {
	q.t.Helper()
	fmt.Fprintf(q.qtest, format+"\n", a...)
	if err := q.qtest.Flush(); err != nil {
		q.t.Fatal("qtest: ", err)
	}
	s, err := q.qtest.ReadString('\n')
	if err != nil || !strings.HasPrefix(s, "OK") {
		q.t.Fatalf("qtest: %q, %v", s, err)
	}
	return s
}

var letter = map[int]string{1: "b", 2: "w", 4: "l", 8: "q"}

func (q *qemu) bus() *Bus {
	return &Bus{M: &Machine{
		Load: func(addr uint64, size int) uint64 { return q.ask("read%s %#x", letter[size], addr) },
		Store: func(addr uint64, size int, v uint64) {
			q.line("write%s %#x %#x", letter[size], addr, v)
		},
		In:  func(port uint16, size int) uint32 { return uint32(q.ask("in%s %#x", letter[size], port)) },
		Out: func(port uint16, size int, v uint32) { q.line("out%s %#x %#x", letter[size], port, v) },
	}}
}

func (q *qemu) read(addr, n uint64) []byte {
	q.t.Helper()
	f := strings.Fields(q.line("read %#x %#x", addr, n))
	b, err := hex.DecodeString(strings.TrimPrefix(f[1], "0x"))
	if err != nil || uint64(len(b)) != n {
		q.t.Fatalf("qtest: %q", f)
	}
	return b
}

// start gives what the PVH start info says.
func (q *qemu) start() (cmdline []byte, rsdp uint64) {
	b := q.read(q.info, 56)
	if binary.LittleEndian.Uint32(b) != 0x336ec578 {
		q.t.Fatalf("no start info at %#x: % x", q.info, b)
	}
	line := q.read(binary.LittleEndian.Uint64(b[24:]), 1024)
	return line[:strings.IndexByte(string(line), 0)], binary.LittleEndian.Uint64(b[32:])
}

// lapic gives what the monitor says of the CPU's local APIC.
func (q *qemu) lapic() string {
	q.t.Helper()
	q.monitor.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintln(q.monitor, "info lapic")
	var s strings.Builder
	for b := make([]byte, 4096); !strings.Contains(s.String(), "APR 0x"); {
		n, err := q.monitor.Read(b)
		if err != nil {
			q.t.Fatalf("monitor: %v after %q", err, s.String())
		}
		s.Write(b[:n])
	}
	return s.String()
}

// ends waits for QEMU to end by itself.
func (q *qemu) ends() error {
	select {
	case err := <-q.done:
		return err
	case <-time.After(10 * time.Second):
		return fmt.Errorf("still running after 10 s")
	}
}
