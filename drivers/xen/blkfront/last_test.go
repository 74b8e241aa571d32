package blkfront

import (
	"bytes"
	"testing"
	"time"

	"ampoule/libos/iopage"
)

// TestLastWrite: a page is written and flushed while a call has the disk for itself.
// That nothing is allocated the guests show: the runtime would end there.
func TestLastWrite(t *testing.T) {
	for _, cache := range []string{"1", "0"} {
		r := start(t, map[string]string{"feature-flush-cache": cache})
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
		r.calls.Lock() // by a call that will never end
		flushes := r.back.Flushes()
		if !r.LastWrite(8 * 4096 / unit) {
			t.Error("not written")
		}
		r.calls.Unlock()
		if !bytes.Equal(r.back.Content()[8*4096:9*4096], page) {
			t.Error("the page is not on the disk")
		}
		if flushed := r.back.Flushes() > flushes; flushed != (cache == "1") {
			t.Errorf("cache %s, flushed: %t", cache, flushed)
		}
	}
}

// TestLastWriteNot: when it can't be, it says so, soon.
func TestLastWriteNot(t *testing.T) {
	r := start(t, nil)
	if r.LastWrite(0) {
		t.Error("without a page")
	}
	if _, err := r.LastPage(); err != nil {
		t.Fatal(err)
	}
	r.asking = true
	if r.LastWrite(0) {
		t.Error("amid requests that may be incomplete")
	}
	r.asking = false
	r.back.Fail()
	if r.LastWrite(0) {
		t.Error("the backend has failed to")
	}
	r.back.Hold(true)
	if begin := time.Now(); r.LastWrite(0) || time.Since(begin) > 4*lastTime {
		t.Error("the backend does not answer")
	}
	r.back.Hold(false)
	r.Suspend(t.Context())
	if r.LastWrite(0) {
		t.Error("there is no backend")
	}
	r.Resume(t.Context(), false)
}
