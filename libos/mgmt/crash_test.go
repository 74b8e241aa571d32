package mgmt_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"ampoule/libos/mgmt/certs"
	"ampoule/libos/mgmt/plane"
)

// crashes is a mgmt.Keeper and what it opens, which keeps crashes.
type crashes struct {
	last *plane.Crash
	why  string
}

func (c crashes) Open(*plane.Host) (certs.Keeper, error)          { return c, nil }
func (crashes) Load() ([]certs.Value, uint64)                     { return nil, 0 }
func (crashes) Keep(base uint64, _ []certs.Value) (uint64, error) { return base + 1, nil }
func (crashes) Kept() (bool, string)                              { return true, "" }
func (c crashes) Crash() (*plane.Crash, string)                   { return c.last, c.why }

// TestCrash: the record of the last crash is shown as it is, whatever is in it.
func TestCrash(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	text := "panic: \"x\"\x00\xff\ngoroutine 1 [running]:\n" + strings.Repeat("y", 3000)
	r := start(t, func(r *rig) { r.cfg.Keep = crashes{&plane.Crash{Time: at, Build: "b1", Text: text}, ""} })
	_, body := r.do(r.as(r.reader), "GET", "/v1/crash", "", nil)
	var got struct {
		Time        time.Time
		Build, Text string
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || !got.Time.Equal(at) || got.Build != "b1" || !strings.HasPrefix(got.Text, "panic: \"x\"\x00") || len(got.Text) < 3000 {
		t.Errorf("%v: %s", err, body)
	}
	if _, body := r.do(r.as(r.reader), "GET", "/metrics", "", nil); !strings.Contains(body, "\nampoule_last_crash_timestamp_seconds 1772600767\n") {
		t.Errorf("the metrics lack it:\n%s", body)
	}
	if !strings.Contains(r.log.String(), "warn an earlier run crashed time=") {
		t.Errorf("the log lacks it:\n%s", r.log)
	}
	r = start(t, func(r *rig) { r.cfg.Keep = crashes{nil, "the disk is too small"} })
	if status, body := r.do(r.as(r.reader), "GET", "/v1/crash", "", nil); status != 404 || !strings.Contains(body, "none would be: the disk is too small.") {
		t.Errorf("%d %s", status, body)
	}
}
