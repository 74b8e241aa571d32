package siege

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"ampoule/tools/netpeer"
)

// Perf is what dnsperf counted.
type Perf struct {
	Sent, Completed, Lost int
	Rate                  float64 // answers a second
	Rcodes                map[string]int
}

// underway is how many of dnsperf's queries wait for their answers: its default.
const underway = 100

// dnsperf asks the questions round and round, from the host of seg, for so long
// at full rate.
func dnsperf(ctx context.Context, host *netpeer.Linux, addr string, all []question, d time.Duration) (p Perf, err error) {
	bin, err := exec.LookPath("dnsperf")
	if err != nil {
		return p, fmt.Errorf("dnsperf is not installed: run make setup (Debian package dnsperf)")
	}
	dir, err := os.MkdirTemp("", "dnsperf")
	if err != nil {
		return p, err
	}
	defer os.RemoveAll(dir)
	var text strings.Builder
	for _, q := range all {
		fmt.Fprintf(&text, "%s %s\n", q.name, dns.TypeToString[q.qtype])
	}
	file := filepath.Join(dir, "questions")
	if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
		return p, err
	}
	cmd := exec.CommandContext(ctx, bin, "-s", addr, "-d", file, "-l", strconv.Itoa(int(d/time.Second)),
		"-q", strconv.Itoa(underway), "-c", "4", "-t", "5")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := host.Start(cmd); err != nil {
		return p, err
	}
	if err := cmd.Wait(); err != nil {
		return p, fmt.Errorf("dnsperf: %w\n%s", err, &out)
	}
	return parsePerf(out.String())
}

var (
	perfSent      = regexp.MustCompile(`Queries sent: +(\d+)`)
	perfCompleted = regexp.MustCompile(`Queries completed: +(\d+)`)
	perfLost      = regexp.MustCompile(`Queries lost: +(\d+)`)
	perfRate      = regexp.MustCompile(`Queries per second: +([0-9.]+)`)
	perfCodes     = regexp.MustCompile(`Response codes: +(.*)`)
	perfCode      = regexp.MustCompile(`([A-Z]+) (\d+) \(`)
)

func parsePerf(out string) (p Perf, err error) {
	number := func(re *regexp.Regexp) float64 {
		m := re.FindStringSubmatch(out)
		if m == nil {
			err = fmt.Errorf("dnsperf prints no %v:\n%s", re, out)
			return 0
		}
		f, e := strconv.ParseFloat(m[1], 64)
		if e != nil {
			err = e
		}
		return f
	}
	p = Perf{Sent: int(number(perfSent)), Completed: int(number(perfCompleted)), Lost: int(number(perfLost)), Rate: number(perfRate), Rcodes: map[string]int{}}
	if m := perfCodes.FindStringSubmatch(out); m != nil {
		for _, c := range perfCode.FindAllStringSubmatch(m[1], -1) {
			p.Rcodes[c[1]], _ = strconv.Atoi(c[2])
		}
	}
	return p, err
}

// rcodes is how often each is to come when the questions are asked in turn, n in
// all.
func rcodes(all []question, n int) map[string]int {
	want := map[string]int{}
	for i, q := range all {
		k := n / len(all)
		if i < n%len(all) {
			k++
		}
		want[dns.RcodeToString[q.rcode]] += k
	}
	return want
}
