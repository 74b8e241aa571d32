//go:build ampoule

// Command suite is the guest of the runtime suite: it checks that Go behaves on
// the appliance as it does anywhere else. Each check prints a line "ok NAME" or
// "FAIL NAME: reason"; the exit code is 0 when all passed.
//
// On the kernel command line, run=NAME,NAME restricts it to some checks.
package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"ampoule/boot/guests/bare"
)

// check is one check; what it returns says what is wrong, note what was
// measured.
type check struct {
	name string
	run  func(*report)
}

// report collects what a check has to say.
type report struct {
	wrong []string
	notes []string
}

func (r *report) errorf(format string, args ...any) {
	r.wrong = append(r.wrong, fmt.Sprintf(format, args...))
}

func (r *report) notef(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

func checks() []check {
	var all []check
	for _, group := range [][]check{schedChecks, timerChecks, memoryChecks, panicChecks, preemptChecks, clockChecks, libraryChecks} {
		all = append(all, group...)
	}
	return all
}

func main() {
	only := map[string]bool{}
	for _, n := range strings.Split(bare.Option("run"), ",") {
		if n != "" {
			only[n] = true
		}
	}
	ran, failed := 0, 0
	for _, c := range checks() {
		if len(only) > 0 && !only[c.name] {
			continue
		}
		ran++
		if !c.do() {
			failed++
		}
	}
	fmt.Printf("suite: %d run, %d failed\n", ran, failed)
	if failed > 0 || ran == 0 {
		os.Exit(1)
	}
}

// do runs a check and prints its line.
func (c check) do() bool {
	r := &report{}
	start := time.Now()
	func() {
		defer func() {
			if e := recover(); e != nil {
				r.errorf("panic: %v\n%s", e, debug.Stack())
			}
		}()
		c.run(r)
	}()
	took := time.Since(start).Round(time.Millisecond)
	if len(r.wrong) > 0 {
		fmt.Printf("FAIL %s: %s\n", c.name, strings.Join(append(r.wrong, r.notes...), "; "))
		return false
	}
	fmt.Printf("ok %s %v %s\n", c.name, took, strings.Join(r.notes, "; "))
	return true
}
