package main

import (
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	for name, tc := range map[string]struct {
		in   string
		code int
		want []string
	}{
		"passing": {`
{"Action":"output","Package":"p","Test":"TestA","Output":"noise\n"}
{"Action":"pass","Package":"p","Test":"TestA","Elapsed":0.1}
{"Action":"pass","Package":"p","Elapsed":1.25}
{"Action":"skip","Package":"q"}`, 0,
			[]string{"ok   p: 1 passed in 1.2s\nPASS: 1 passed, 0 failed, 0 skipped\n"}},
		"figures": {`
{"Action":"attr","Package":"p","Test":"TestA","Key":"hypercalls-per-query","Value":"0.15"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p","Elapsed":1}`, 0,
			[]string{"TestA: hypercalls-per-query 0.15\n"}},
		"failing": {`
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:1: wrong\n"}
{"Action":"fail","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p","Test":"TestB"}
{"Action":"fail","Package":"p"}`, 1,
			[]string{"a_test.go:1: wrong", "FAIL p\n", "failed: p.TestA\nFAIL: 1 passed, 1 failed, 0 skipped\n"}},
		"skipped": {`
{"Action":"pass","Package":"p","Test":"TestB"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:1: no kvm here\n"}
{"Action":"skip","Package":"p","Test":"TestA"}`, 0,
			[]string{"SKIP p.TestA: a_test.go:1: no kvm here\n", "PASS: 1 passed, 0 failed, 1 skipped\n"}},
		"not built": {`
{"ImportPath":"p [p.test]","Action":"build-output","Output":"p.go:1:1: syntax error\n"}
{"Action":"output","Package":"p","Output":"FAIL\tp [build failed]\n"}
{"Action":"fail","Package":"p","FailedBuild":"p [p.test]"}`, 1,
			[]string{"p.go:1:1: syntax error", "failed: p\nFAIL: 0 passed, 1 failed, 0 skipped\n"}},
		"panic": {`
{"Action":"output","Package":"p","Test":"TestA","Output":"panic: boom\n"}
{"Action":"fail","Package":"p"}`, 1,
			[]string{"panic: boom", "failed: p\n"}},
		"nothing ran":    {``, 1, []string{"FAIL: 0 passed, 0 failed, 0 skipped\n"}},
		"not an event":   {"go: cannot find x", 1, []string{"go: cannot find x\n"}},
		"no tests there": {`{"Action":"pass","Package":"p"}`, 1, []string{"FAIL: 0 passed"}},
	} {
		t.Run(name, func(t *testing.T) { checkReport(t, tc.in, tc.code, tc.want) })
	}
}

// checkReport wants the exit code and texts for events, one in a line.
func checkReport(t *testing.T, in string, code int, want []string) {
	t.Helper()
	var b strings.Builder
	r := newReport(&b)
	for l := range strings.SplitSeq(strings.TrimSpace(in), "\n") {
		if l != "" {
			r.event([]byte(l))
		}
	}
	if got := r.finish(); got != code {
		t.Errorf("exit code %d, want %d", got, code)
	}
	for _, w := range want {
		if !strings.Contains(b.String(), w) {
			t.Errorf("report lacks %q:\n%s", w, b.String())
		}
	}
}
