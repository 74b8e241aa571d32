package cli

import (
	"encoding/json"
	"testing"
)

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

// TestCompact: nothing of a plane's JSON moves a terminal, and all of it means the same.
func TestCompact(t *testing.T) {
	in := "{ \"a\":\t\"x\u007f\u009b2J\u202e\U000e0001é\"}\n"
	got := compact([]byte(in))
	if want := `{"a":"x\u007f\u009b2J\u202e\udb40\udc01é"}`; string(got) != want {
		t.Errorf("%s", got)
	}
	var before, after map[string]string
	if json.Unmarshal([]byte(in), &before) != nil || json.Unmarshal(got, &after) != nil || before["a"] != after["a"] {
		t.Errorf("%q became %q", before, after)
	}
	if got := string(compact([]byte("\x1b[2J \"no"))); got != `"\u001b[2J \"no"` {
		t.Errorf("%s", got)
	}
}
