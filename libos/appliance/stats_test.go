package appliance

import (
	"testing"
	"time"
)

func TestStatsInterval(t *testing.T) {
	for line, want := range map[string]time.Duration{
		"":         0,
		"stats=10": 10 * time.Second,
		"virtio_mmio.device=512@0xfeb00e00:12 stats=1 x": time.Second,
		"nostats=10":        0,
		"stats=":            0,
		"stats=-1":          0,
		"stats=99999999999": 0,
		"stats=ten":         0,
	} {
		if got := statsInterval(line); got != want {
			t.Errorf("%q: %v, want %v", line, got, want)
		}
	}
}
