package virtioblk

import (
	"bytes"
	"testing"
	"time"

	"ampoule/drivers/virtio"
	"ampoule/libos/iopage"
)

// TestLastWrite: a page is written and flushed while a call has the disk for itself.
// That nothing is allocated the guests show: the runtime would end there.
func TestLastWrite(t *testing.T) {
	for _, features := range []uint64{Features &^ featureReadOnly, virtio.FeatureVersion1} {
		for _, block := range []int{512, 4096} {
			r := start(t, features, block, 256)
			page, err := r.LastPage()
			if err != nil || len(page) != iopage.Size {
				t.Fatal(err)
			}
			again, err := r.LastPage()
			if err != nil || &again[0] != &page[0] {
				t.Error("another page")
			}
			for i := range page {
				page[i] = byte(i)
			}
			r.mu.Lock() // by a call that will never end
			flushes := r.dev.Flushes()
			if !r.LastWrite(uint64(8 * 4096 / r.info.SectorSize)) {
				t.Error("not written")
			}
			r.mu.Unlock()
			if !bytes.Equal(r.dev.Content()[8*4096:9*4096], page) {
				t.Error("the page is not on the disk")
			}
			if flushed := r.dev.Flushes() > flushes; flushed != (features&featureFlush != 0) {
				t.Errorf("flushed: %t", flushed)
			}
		}
	}
}

// TestLastWriteNot: when it can't be, it says so, soon.
func TestLastWriteNot(t *testing.T) {
	r := start(t, Features&^featureReadOnly, 512, 256)
	if r.LastWrite(0) {
		t.Error("without a page")
	}
	if _, err := r.LastPage(); err != nil {
		t.Fatal(err)
	}
	r.giving = true
	if r.LastWrite(0) {
		t.Error("amid requests that may be incomplete")
	}
	r.giving = false
	r.dev.Fail()
	if r.LastWrite(0) {
		t.Error("the device has failed to")
	}
	r.dev.Hold(true)
	if begin := time.Now(); r.LastWrite(0) || time.Since(begin) > 4*lastTime {
		t.Error("the device does not answer")
	}
	r = start(t, Features&^featureReadOnly, 512, 16)
	if _, err := r.LastPage(); err == nil {
		t.Error("a queue without room")
	}
	if r.LastWrite(0) {
		t.Error("a queue without room")
	}
}
