package cli_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"ampoule/libos/mgmt/mgmttest"
	"ampoule/tools/ampctl/cli"
	"ampoule/tools/ampctl/planetest"
)

// TestFollow: each line comes once, in order, until the command is interrupted; an
// appliance that goes away is asked on.
func TestFollow(t *testing.T) {
	f := planetest.NewFleet(t, 2, nil)
	var out, errs mgmttest.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int)
	go func() {
		ended <- cli.Main(ctx, []string{"-c", f.File, "--all", "logs", "-f", "-n", "1", "--every", "20ms"},
			cli.IO{In: strings.NewReader(""), Out: &out, Err: &errs, Getenv: func(string) string { return "" }, Now: time.Now})
	}()
	until := func(b *mgmttest.Buffer, text string) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !strings.Contains(b.String(), text); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("no %q:\n%s\n%s", text, out.String(), errs.String())
			}
		}
	}
	until(&out, "ns1: ")
	until(&out, "ns2: ")
	for i := range 50 {
		f.Planes[i%2].Logger.Info("line", "number", i)
		if i%10 == 0 {
			time.Sleep(30 * time.Millisecond)
		}
	}
	f.Planes[0].Logger.Info("hostile", "name", "\x1b[2J\u202e\u0085")
	until(&out, "number=49")
	until(&out, "hostile")
	f.Planes[1].Stop()
	until(&errs, "ns2: 127.0.0.1")
	cancel()
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d: %s", code, errs.String())
	}
	for i := range 50 {
		if n := strings.Count(out.String(), fmt.Sprintf("number=%d\n", i)); n != 1 {
			t.Errorf("line %d is there %d times", i, n)
		}
	}
	if strings.ContainsAny(out.String()+errs.String(), "\x1b\u202e\u0085") {
		t.Error("control characters come through")
	}
	if r := want(t, f, 0, nil, "-a", "ns1", "logs"); strings.ContainsAny(r.out, "\x1b\u202e\u0085") {
		t.Error("control characters come through")
	}
}

// TestCaptureEarly: an interrupt ends a capture, keeps it, and leaves none behind;
// another's is left alone.
func TestCaptureEarly(t *testing.T) {
	f := planetest.NewFleet(t, 1, nil)
	p := f.Planes[0]
	ctx, cancel := context.WithCancel(t.Context())
	file := f.Dir + "/x.pcap"
	ended := make(chan int)
	var errs mgmttest.Buffer
	go func() {
		ended <- cli.Main(ctx, []string{"-c", f.File, "capture", file, "--for", "10m"},
			cli.IO{In: strings.NewReader(""), Out: &errs, Err: &errs, Terminal: true, Getenv: func(string) string { return "" }, Now: time.Now})
	}()
	for end := time.Now().Add(20 * time.Second); !p.Capturing(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no capture")
		}
	}
	want(t, f, 7, []string{"!capture-busy"}, "capture", f.Dir+"/y.pcap")
	frame := make([]byte, 100) // Ethernet, IPv4, UDP from port 53
	frame[12], frame[14], frame[23], frame[35], frame[36] = 8, 0x45, 17, 53, 200
	p.Frame(frame)
	cancel()
	if code := <-ended; code != 0 || p.Capturing() || !strings.Contains(errs.String(), "capturing") {
		t.Errorf("exit code %d, capturing %v: %s", code, p.Capturing(), errs.String())
	}
	want(t, f, 1, []string{"!nothing is overwritten"}, "capture", file)
	want(t, f, 0, nil, "capture", "--for", "1s", f.Dir+"/z.pcap")
	if n := size(t, file); n != 24+16+100 {
		t.Errorf("the capture has %d bytes", n)
	}
}
