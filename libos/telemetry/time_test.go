package telemetry

import (
	"math/rand/v2"
	"testing"
	"time"
)

// The text is package time's, for every day of 400 years, which is when the
// calendar repeats, and for times between the years 1 and 9999.
func TestAppendTime(t *testing.T) {
	const layout = "2006-01-02T15:04:05.000Z07:00"
	check := func(at time.Time) {
		t.Helper()
		if got, want := string(appendTime(nil, at)), at.UTC().Format(layout); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	}
	day := time.Date(1800, 1, 1, 23, 59, 59, 999e6, time.UTC)
	for range 146097 {
		check(day)
		day = day.AddDate(0, 0, 1)
	}
	first := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	last := time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC).UnixMilli()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 100000 {
		check(time.UnixMilli(first + rng.Int64N(last-first)))
	}
	check(time.UnixMilli(first))
	check(time.UnixMilli(last))
}
