package blkfront

import (
	"testing"

	"ampoule/libos/device/devicetest"
)

// TestLastWrite runs the suite with and without a cache.
func TestLastWrite(t *testing.T) {
	patience := lastTime
	for _, cache := range []string{"1", "0"} {
		r := start(t, map[string]string{"feature-flush-cache": cache})
		devicetest.Last(t, devicetest.LastUnderTest{Dev: r, Peer: r.back, Flushed: cache == "1",
			Call: &r.calls, Asking: func(on bool) { r.asking = on }, Patience: patience})
		patience = 0 // once is enough
	}
}

// TestLastWriteNot: without a backend it says so.
func TestLastWriteNot(t *testing.T) {
	r := start(t, nil)
	if _, err := r.LastPage(); err != nil {
		t.Fatal(err)
	}
	r.Suspend(t.Context())
	if r.LastWrite(0) {
		t.Error("there is no backend")
	}
	r.Resume(t.Context(), false)
}
