package rotation

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// Percentile is the time that a share of all, in hundredths, did not exceed.
func Percentile(all []time.Duration, share int) time.Duration {
	if len(all) == 0 {
		return 0
	}
	all = slices.Sorted(slices.Values(all))
	return all[min(len(all)*share/100, len(all)-1)]
}

// Ratio is how much longer the slowest hundredth of handshakes took amid rotations; 0 if
// none had it quiet.
func (r *Result) Ratio() float64 {
	quiet := Percentile(r.Quiet, 99)
	if quiet == 0 {
		return 0
	}
	return float64(Percentile(r.Rotated, 99)) / float64(quiet)
}

// String says what was seen.
func (r *Result) String() string {
	return fmt.Sprintf("%d rotations in %v of %v, %d certificates seen; %d handshakes with it quiet (median %v, p99 %v), %d amid rotations (median %v, p99 %v): p99 %.2f; %d lines over streams",
		r.Rotations, r.RotationTime.Round(time.Millisecond), r.All.Round(time.Millisecond), r.Generations,
		len(r.Quiet), Percentile(r.Quiet, 50), Percentile(r.Quiet, 99), len(r.Rotated), Percentile(r.Rotated, 50), Percentile(r.Rotated, 99), r.Ratio(), r.Lines)
}

// Hold fails the test for what clients noticed.
func (r *Result) Hold(t *testing.T) {
	t.Helper()
	t.Log(r)
	for i, f := range r.Failures {
		if i == 20 {
			t.Errorf("and %d more", len(r.Failures)-i)
			break
		}
		t.Error(f)
	}
}
