// Command testall runs all tests of the tree: first those of the host, fuzz
// seeds included, then one at a time the packages that boot guests, whose
// timing suffers from neighbours. The last line of its output counts what
// passed, failed and was skipped; each skipped test is named with its reason.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

// modules lists what is tested.
var modules = []string{"libos", "drivers", "boot", "appliances", "tools"}

// guests and onXen are the packages that run alone, with those below them.
var (
	guests = []string{"ampoule/tools/guesttest", "ampoule/tools/reproduce", "ampoule/tools/graph"}
	onXen  = []string{"ampoule/tools/xenrig/rig", "ampoule/tools/xentest"}
)

func main() {
	filter := flag.String("run", "", "only tests that match, as for go test")
	xen := flag.Bool("xen", false, "only the tests on real Xen")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Stdout, *filter, *xen))
}

func run(ctx context.Context, w io.Writer, filter string, xen bool) int {
	host, guest, xenOnly, err := packages(ctx)
	if err != nil {
		fmt.Fprintln(w, "testall:", err)
		return 2
	}
	r := newReport(w)
	groups := [][]string{append([]string{"-timeout=15m"}, host...)}
	if len(guest) > 0 {
		groups = append(groups, append([]string{"-timeout=60m", "-p=1", "-count=1"}, guest...))
	}
	if xen {
		groups = nil
	}
	if len(xenOnly) > 0 {
		groups = append(groups, append([]string{"-timeout=60m", "-p=1", "-count=1"}, xenOnly...))
	}
	for _, g := range groups {
		args := []string{"test", "-json"}
		if filter != "" {
			args = append(args, "-run="+filter)
		}
		if err := goTest(ctx, append(args, g...), r); err != nil {
			r.broken(err)
		}
	}
	return r.finish()
}

// packages lists the tree's packages: those of the host, those that boot, and
// those that boot on Xen.
func packages(ctx context.Context) (host, guest, xen []string, err error) {
	args := []string{"list"}
	for _, m := range modules {
		args = append(args, "ampoule/"+m+"/...")
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, nil, nil, fmt.Errorf("go list: %w\n%s", err, stderr.String())
	}
	for p := range strings.FieldsSeq(string(out)) {
		below := func(g string) bool { return p == g || strings.HasPrefix(p, g+"/") }
		switch {
		case slices.ContainsFunc(guests, below):
			guest = append(guest, p)
		case slices.ContainsFunc(onXen, below):
			xen = append(xen, p)
		default:
			host = append(host, p)
		}
	}
	return host, guest, xen, nil
}

// goTest runs go and feeds its events to r. An error means that the run broke
// off; failed tests are in r.
func goTest(ctx context.Context, args []string, r *report) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	sc := bufio.NewScanner(out)
	sc.Buffer(nil, 16<<20)
	for sc.Scan() {
		r.event(sc.Bytes())
	}
	err = cmd.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil && r.failures() == 0 {
		return err
	}
	return sc.Err()
}
