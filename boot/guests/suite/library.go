//go:build ampoule

package main

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime/pprof"
	"syscall"
	"time"
)

var libraryChecks = []check{
	{"random", random},
	{"refusals", refusals},
	{"signal-notify", signalNotify},
	{"cpu-profile", cpuProfile},
}

// random prints some bytes, which the host compares between boots, and looks
// for the grossest of failures.
func random(r *report) {
	var b [32]byte
	rand.Read(b[:])
	fmt.Printf("random %x\n", b)
	seen := map[[16]byte]bool{}
	ones := 0
	for range 2000 {
		var v [16]byte
		rand.Read(v[:])
		if seen[v] {
			r.errorf("16 random bytes came twice")
			return
		}
		seen[v] = true
		for _, c := range v {
			for ; c != 0; c &= c - 1 {
				ones++
			}
		}
	}
	// 256000 bits: mean 128000, standard deviation 253.
	if ones < 128000-2000 || ones > 128000+2000 {
		r.errorf("%d of 256000 bits are set", ones)
	}
}

// refusals: what an appliance does not have answers with an error, at once.
func refusals(r *report) {
	for name, f := range map[string]func() error{
		"open":     func() error { _, err := os.Open("/etc/passwd"); return err },
		"create":   func() error { _, err := os.Create("/tmp/x"); return err },
		"read dir": func() error { _, err := os.ReadDir("/"); return err },
		"getwd":    func() error { _, err := os.Getwd(); return err },
		"pipe":     func() error { _, _, err := os.Pipe(); return err },
		"exec":     func() error { return exec.Command("/bin/true").Run() },
		"start": func() error {
			_, err := os.StartProcess("/bin/sh", []string{"sh"}, &os.ProcAttr{})
			return err
		},
		"listen":  func() error { _, err := net.Listen("tcp", "127.0.0.1:80"); return err },
		"packet":  func() error { _, err := net.ListenPacket("udp", ":53"); return err },
		"dial":    func() error { _, err := net.Dial("tcp", "127.0.0.1:80"); return err },
		"resolve": func() error { _, err := net.LookupHost("example.org"); return err },
		"socket":  func() error { _, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0); return err },
		"fork":    func() error { _, _, e := syscall.RawSyscall(syscall.SYS_FORK, 0, 0, 0); return errno(e) },
		"ptrace":  func() error { _, _, e := syscall.RawSyscall(syscall.SYS_PTRACE, 0, 0, 0); return errno(e) },
		"bad fd":  func() error { _, err := syscall.Write(7, []byte("x")); return err },
	} {
		done := make(chan error, 1)
		go func() { done <- f() }()
		select {
		case err := <-done:
			if err == nil {
				r.errorf("%s succeeded", name)
			}
		case <-time.After(5 * time.Second):
			r.errorf("%s hangs", name)
		}
	}
	if n, err := os.Stdin.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		r.errorf("reading stdin: %d, %v", n, err)
	}
	if h, err := os.Hostname(); err == nil && h == "" {
		r.errorf("empty host name without an error")
	}
}

func errno(e syscall.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}

// signalNotify: programs ask for signals out of habit; none comes, nothing
// hangs.
func signalNotify(r *report) {
	c := make(chan os.Signal, 1)
	done := make(chan bool)
	go func() {
		signal.Notify(c, os.Interrupt, syscall.SIGTERM)
		time.Sleep(20 * time.Millisecond)
		signal.Stop(c)
		signal.Reset()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		r.errorf("signal.Notify hangs")
	}
	select {
	case s := <-c:
		r.errorf("signal %v out of nowhere", s)
	default:
	}
}

// cpuProfile: the profiler sees the function that burns the time, and does not
// cost the preemption of a spinner.
func cpuProfile(r *report) {
	var buf bytes.Buffer
	if err := pprof.StartCPUProfile(&buf); err != nil {
		r.errorf("start: %v", err)
		return
	}
	spinning(r, 1, func() { time.Sleep(400 * time.Millisecond) })
	pprof.StopCPUProfile()
	z, err := gzip.NewReader(&buf)
	if err != nil {
		r.errorf("profile: %v", err)
		return
	}
	p, err := io.ReadAll(z)
	if err != nil || !bytes.Contains(p, []byte("main.spin")) {
		r.errorf("profile of %d bytes does not name main.spin: %v", len(p), err)
	}
	r.notef("%d bytes", len(p))
}
