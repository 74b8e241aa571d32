package virtioblk

import (
	"testing"

	"ampoule/drivers/virtio"
	"ampoule/libos/device/devicetest"
)

// TestLastWrite runs the suite with and without a cache, with sectors of either size.
func TestLastWrite(t *testing.T) {
	patience := lastTime
	for _, features := range []uint64{Features &^ featureReadOnly, virtio.FeatureVersion1} {
		for _, block := range []int{512, 4096} {
			r := start(t, features, block, 256)
			devicetest.Last(t, devicetest.LastUnderTest{Dev: r, Peer: r.dev, Flushed: features&featureFlush != 0,
				Call: &r.mu, Asking: func(on bool) { r.giving = on }, Patience: patience})
			patience = 0 // once is enough
		}
	}
}

// TestLastWriteNot: a queue has room for it or has not.
func TestLastWriteNot(t *testing.T) {
	r := start(t, Features&^featureReadOnly, 512, 16)
	if _, err := r.LastPage(); err == nil {
		t.Error("a queue without room")
	}
	if r.LastWrite(0) {
		t.Error("a queue without room")
	}
}
