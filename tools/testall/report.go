package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// event is one line of go test -json (go doc test2json).
type event struct {
	Action      string
	Package     string
	ImportPath  string // of build output
	Test        string
	Output      string
	Elapsed     float64
	FailedBuild string
	Key, Value  string // of an attribute
}

// report counts events and prints what a reader wants of them: a line for each
// package, all output of what failed, the reason of what was skipped, and the
// figures that tests measured (their attributes, testing.T.Attr).
type report struct {
	w       io.Writer
	output  map[string][]string // of tests and packages under way, by "package test"
	build   map[string][]string
	tests   map[string]int // tests passed, by package
	passed  int
	failed  int
	skipped int
	names   []string // of failures
}

func newReport(w io.Writer) *report {
	return &report{w: w, output: map[string][]string{}, build: map[string][]string{}, tests: map[string]int{}}
}

func (r *report) failures() int { return r.failed }

// event takes one line; one that is not an event is shown as it is.
func (r *report) event(line []byte) {
	var e event
	if json.Unmarshal(line, &e) != nil {
		fmt.Fprintf(r.w, "%s\n", line)
		return
	}
	key := e.Package + " " + e.Test
	switch e.Action {
	case "output":
		r.output[key] = append(r.output[key], e.Output)
	case "build-output":
		r.build[e.ImportPath] = append(r.build[e.ImportPath], e.Output)
	case "attr":
		fmt.Fprintf(r.w, "     %s: %s %s\n", e.Test, e.Key, e.Value)
	case "pass", "fail", "skip":
		if e.Test == "" {
			r.pkg(e, r.output[key])
		} else {
			r.test(e, r.output[key])
		}
		delete(r.output, key)
	}
}

func (r *report) test(e event, output []string) {
	switch e.Action {
	case "pass":
		r.passed++
		r.tests[e.Package]++
	case "skip":
		r.skipped++
		fmt.Fprintf(r.w, "SKIP %s.%s: %s\n", e.Package, e.Test, reason(output))
	case "fail":
		r.failed++
		r.names = append(r.names, e.Package+"."+e.Test)
		fmt.Fprint(r.w, strings.Join(output, ""))
	}
}

// reason is what a skipped test said.
func reason(output []string) string {
	for _, l := range output {
		l = strings.TrimSpace(l)
		if l != "" && !strings.HasPrefix(l, "===") && !strings.HasPrefix(l, "---") {
			return l
		}
	}
	return "(no reason given)"
}

func (r *report) pkg(e event, output []string) {
	switch {
	case e.Action == "skip" || e.Action == "pass" && r.tests[e.Package] == 0:
		// no tests
	case e.Action == "pass":
		fmt.Fprintf(r.w, "ok   %s: %d passed in %.1fs\n", e.Package, r.tests[e.Package], e.Elapsed)
	default:
		fmt.Fprintf(r.w, "FAIL %s\n", e.Package)
		fmt.Fprint(r.w, strings.Join(r.build[e.FailedBuild], ""))
		if e.FailedBuild != "" || !r.named(e.Package) {
			// not a test but the package itself: a build failure, a panic, a
			// time-out
			r.failed++
			r.names = append(r.names, e.Package)
			fmt.Fprint(r.w, strings.Join(output, ""))
			r.unfinished(e.Package)
		}
	}
}

// named says whether a failed test of pkg is known.
func (r *report) named(pkg string) bool {
	for _, n := range r.names {
		if strings.HasPrefix(n, pkg+".") {
			return true
		}
	}
	return false
}

// unfinished prints the output of tests of pkg that never ended.
func (r *report) unfinished(pkg string) {
	for k, out := range r.output {
		if strings.HasPrefix(k, pkg+" ") && k != pkg+" " {
			fmt.Fprint(r.w, strings.Join(out, ""))
		}
	}
}

// broken counts a run that broke off.
func (r *report) broken(err error) {
	r.failed++
	r.names = append(r.names, "run: "+err.Error())
}

// finish prints the summary and returns the exit code.
func (r *report) finish() int {
	verdict, code := "PASS", 0
	if r.failed > 0 || r.passed == 0 {
		verdict, code = "FAIL", 1
		for _, n := range r.names {
			fmt.Fprintln(r.w, "failed:", n)
		}
	}
	fmt.Fprintf(r.w, "%s: %d passed, %d failed, %d skipped\n", verdict, r.passed, r.failed, r.skipped)
	return code
}
