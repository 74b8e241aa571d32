package cli

import "testing"

func TestRecord(t *testing.T) {
	got := string(record([]byte(`{"build":"1ee7","at":"2026-11-23T10:00:00Z","trace":"panic: x\n\ngoroutine 1\n","code":2}`)))
	want := "at             2026-11-23T10:00:00Z\nbuild          1ee7\ncode           2\ntrace:\npanic: x\n\ngoroutine 1\n"
	if got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := string(record([]byte("x"))); got != "x" {
		t.Errorf("%q", got)
	}
}
