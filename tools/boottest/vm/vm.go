package vm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// VM is a running QEMU, or one that has ended. Its methods may be called from
// any goroutine, WaitLine from one at a time.
type VM struct {
	config  Config
	cmd     *exec.Cmd
	cancel  context.CancelCauseFunc
	console *console
	monitor *monitor
	stderr  *console
	ports   map[string]int
	started time.Time
	running atomic.Bool   // the guest was let run, so QEMU's status is the guest's
	ended   chan struct{} // closed when QEMU has been reaped
	err     error         // of the end; valid after ended
	code    int           // guest's exit code; valid after ended
}

// Errors of an end that is not the guest's exit with a code.
var (
	// ErrNoCode says that the guest reset, powered off or triple faulted.
	ErrNoCode = errors.New("the guest stopped without an exit code")
	errClosed = errors.New("closed")
)

// Start boots c and returns when the guest is about to execute its first
// instruction. QEMU is killed when ctx ends.
func Start(ctx context.Context, c Config) (*VM, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	bin, err := exec.LookPath(c.Binary)
	if err != nil {
		return nil, fmt.Errorf("vm: %s is not installed: run make setup (Debian package qemu-system-x86)", c.Binary)
	}
	c.Binary = bin
	ctx, cancel := context.WithCancelCause(ctx)
	v := &VM{config: c, cancel: cancel, ended: make(chan struct{}),
		console: newConsole(c.ConsoleLimit, c.Tee), stderr: newConsole(64<<10, nil)}
	if err := v.launch(ctx); err != nil {
		cancel(errClosed)
		return nil, fmt.Errorf("vm: %w\n%s", err, v.Command())
	}
	if err := v.bringUp(); err != nil {
		v.Close()
		return nil, v.explain(fmt.Errorf("start: %w", err))
	}
	return v, nil
}

// launch starts QEMU, stopped before the first instruction.
func (v *VM) launch(ctx context.Context) error {
	mon, peer, err := socketPair(unix.SOCK_STREAM, "monitor")
	if err != nil {
		return err
	}
	defer peer.Close()
	conn, err := net.FileConn(mon)
	mon.Close()
	if err != nil {
		return err
	}
	c := &v.config
	v.cmd = exec.CommandContext(ctx, c.Binary, c.args()...)
	v.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	v.cmd.ExtraFiles = []*os.File{peer, c.Net.File}
	for len(v.cmd.ExtraFiles) < ExtraFD-monitorFD && len(c.Files) > 0 {
		v.cmd.ExtraFiles = append(v.cmd.ExtraFiles, nil)
	}
	v.cmd.ExtraFiles = append(v.cmd.ExtraFiles, c.Files...)
	stdout, err := v.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	stderr, err := v.cmd.StderrPipe()
	if err != nil {
		return err
	}
	v.monitor = newMonitor(conn)
	start := make(chan error)
	go v.reap(start, func() {
		done := make(chan struct{})
		go func() { defer close(done); v.stderr.readFrom(stderr) }()
		v.console.readFrom(stdout)
		<-done
	})
	if err := <-start; err != nil {
		conn.Close()
		return err
	}
	return nil
}

// reap starts QEMU and waits for its end. It keeps its thread to itself: the
// kernel sends the parent-death signal when the thread that started QEMU ends,
// so that must be one that lives as long as QEMU is wanted.
func (v *VM) reap(start chan<- error, drain func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	v.started = time.Now()
	err := v.cmd.Start()
	start <- err
	if err != nil {
		return
	}
	drain()
	err = v.cmd.Wait()
	v.code, v.err = v.outcome(err)
	v.monitor.conn.Close()
	close(v.ended)
}

// bringUp gets the ports and lets the guest run.
func (v *VM) bringUp() error {
	v.monitor.conn.(net.Conn).SetDeadline(time.Now().Add(v.config.StartTimeout))
	if err := v.monitor.handshake(); err != nil {
		return err
	}
	if v.config.Net.Kind == NetUser {
		var err error
		if v.ports, err = v.monitor.forwards(); err != nil {
			return err
		}
		for _, f := range v.config.Net.Forwards {
			if v.ports[f.String()] == 0 {
				return fmt.Errorf("QEMU does not name the host port of %s", f)
			}
		}
	}
	v.running.Store(true)
	if err := v.monitor.command("cont", nil, nil); err != nil && !v.exited() {
		return err
	}
	v.monitor.conn.(net.Conn).SetDeadline(time.Time{})
	return nil
}

// exited waits a moment for QEMU's end: a guest of a few instructions may be
// gone before the monitor's answer is.
func (v *VM) exited() bool {
	select {
	case <-v.ended:
		return true
	case <-time.After(time.Second):
		return false
	}
}

// outcome turns QEMU's exit status into the guest's code. Before the guest ran,
// every end is QEMU's failure, as its status 1 is also that of guest code 0.
func (v *VM) outcome(err error) (int, error) {
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return -1, err
	}
	st := v.cmd.ProcessState
	switch {
	case !v.running.Load():
		return -1, fmt.Errorf("QEMU: %s", st)
	case !st.Exited():
		return -1, fmt.Errorf("QEMU: %s", st)
	case st.ExitCode()&1 == 1:
		return st.ExitCode() >> 1, nil
	}
	if r := v.monitor.shutdownReason(); r != "" {
		return -1, fmt.Errorf("%w (%s)", ErrNoCode, r)
	}
	return -1, ErrNoCode
}

// Close kills QEMU if it still runs and waits until it is gone. It may be
// called more than once.
func (v *VM) Close() error {
	v.cancel(errClosed)
	<-v.ended
	return nil
}

// Wait blocks until the guest ends and returns its exit code. When ctx ends
// first, the VM runs on. An end without an exit code is an error that holds
// QEMU's command line and the end of the console.
func (v *VM) Wait(ctx context.Context) (int, error) {
	select {
	case <-v.ended:
	case <-ctx.Done():
		return -1, v.explain(fmt.Errorf("waiting for the guest to end: %w", ctx.Err()))
	}
	if v.err != nil {
		return -1, v.explain(v.err)
	}
	return v.code, nil
}

// Done is closed when the VM has ended.
func (v *VM) Done() <-chan struct{} { return v.ended }

// WaitLine blocks until the console shows a line that matches and returns it.
// It looks at lines after the one that the last WaitLine returned, so a line
// is found once; after a failure it goes on with new lines only. The error
// holds QEMU's command line and the end of the console.
func (v *VM) WaitLine(ctx context.Context, re *regexp.Regexp) (string, error) {
	line, err := v.console.wait(ctx, re)
	if errors.Is(err, ErrEnded) {
		select { // the console ends a moment before the process is reaped
		case <-v.ended:
			if v.err == nil {
				err = fmt.Errorf("%w with code %d", err, v.code)
			} else {
				err = fmt.Errorf("%w: %w", err, v.err)
			}
		case <-ctx.Done():
		}
	}
	if err != nil {
		return "", v.explain(fmt.Errorf("waiting for a line %q: %w", re, err))
	}
	return line, nil
}

// Lines is a copy of the console so far.
func (v *VM) Lines() []string { return v.console.lines() }

// Console is the console so far as one text.
func (v *VM) Console() string { return strings.Join(v.console.lines(), "\n") }

// Addr is where a forwarded port of the guest is reached: "127.0.0.1:40123".
// It is empty when that port is not forwarded.
func (v *VM) Addr(proto string, port int) string {
	return v.Forwarded(Forward{Proto: proto, Port: port})
}

// Forwarded is where f is reached: "127.0.0.1:40123". It is empty when Config
// had no such forward.
func (v *VM) Forwarded(f Forward) string {
	if p := v.ports[f.String()]; p != 0 {
		return fmt.Sprintf("127.0.0.1:%d", p)
	}
	return ""
}

// Monitor executes a line of QEMU's monitor, such as "info registers" or
// "stop", and returns its answer. It blocks until QEMU has answered or is gone.
// What the monitor thinks of the line is in the answer, not in the error.
func (v *VM) Monitor(line string) (string, error) {
	text, err := v.monitor.human(line)
	if err != nil {
		return "", v.explain(err)
	}
	return text, nil
}

// Started is the moment when QEMU was started.
func (v *VM) Started() time.Time { return v.started }

// Process is QEMU's process, for measurements. Signals are Close's business.
func (v *VM) Process() *os.Process { return v.cmd.Process }

// Command is QEMU's command line, quoted for a shell. The descriptors that it
// names exist in the test only.
func (v *VM) Command() string {
	words := append([]string{v.config.Binary}, v.config.args()...)
	for i, w := range words {
		if strings.ContainsAny(w, " \t\n'\"\\$&|;<>()*?[]#~`!{}") || w == "" {
			words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

// Error is a failure of a VM with what is needed to find out more.
type Error struct {
	Err     error
	Command string // QEMU's command line
	QEMU    string // the end of what QEMU itself said
	Console string // the end of the guest's console
}

func (e *Error) Unwrap() error { return e.Err }

func (e *Error) Error() string {
	s := "vm: " + e.Err.Error() + "\ncommand: " + e.Command
	if e.QEMU != "" {
		s += "\nQEMU says: " + e.QEMU
	}
	if e.Console == "" {
		return s + "\nthe console is empty"
	}
	return s + "\nconsole:\n" + e.Console
}

func (v *VM) explain(err error) error {
	return &Error{err, v.Command(), v.stderr.last(10), v.console.last(30)}
}

// Result is what Run returns.
type Result struct {
	Code    int
	Lines   []string
	Command string
}

// Run boots c and waits for its end.
func Run(ctx context.Context, c Config) (Result, error) {
	v, err := Start(ctx, c)
	if err != nil {
		return Result{Code: -1}, err
	}
	defer v.Close()
	code, err := v.Wait(ctx)
	return Result{Code: code, Lines: v.Lines(), Command: v.Command()}, err
}

// CPUTime is what QEMU has used of the host's processors so far, its helper
// threads included. It fails when QEMU has ended.
func (v *VM) CPUTime() (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", v.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("vm: %w", err)
	}
	// The command in parentheses may hold anything; user and system time are
	// the 12th and 13th field after it (proc_pid_stat(5)).
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0, fmt.Errorf("vm: short %q", b)
	}
	var ticks int64
	for _, s := range f[11:13] {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("vm: process times: %w", err)
		}
		ticks += n
	}
	const hz = 100 // USER_HZ, fixed on Linux on x86
	return time.Duration(ticks) * time.Second / hz, nil
}
