package devicetest

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"ampoule/libos/device"
	"ampoule/libos/iopage"
)

// LastUnderTest is a fresh disk of at least 16 pages that keeps last words.
type LastUnderTest struct {
	Dev  device.LastWriter
	Peer BlockPeer
	// Flushed says that the backend has a cache, which must be flushed.
	Flushed bool
	// Call is what a call holds while it has the disk for itself, and Asking tells the
	// driver that a call was stopped just as it made requests, or not.
	Call   sync.Locker
	Asking func(on bool)
	// Patience is how long the driver waits for an answer; 0: that is not tried.
	Patience time.Duration
}

// Last runs the suite for device.LastWriter: a page is written and flushed while a call
// has the disk for itself, and what can't be written is said so, soon. That nothing is
// allocated the guests show: the runtime would end there.
func Last(t *testing.T, u LastUnderTest) {
	const at = 8
	sector := uint64(at * iopage.Size / u.Dev.Info().SectorSize)
	if u.Dev.LastWrite(sector) {
		t.Error("written without a page")
	}
	page, err := u.Dev.LastPage()
	if err != nil || len(page) != iopage.Size {
		t.Fatal(err)
	}
	if again, err := u.Dev.LastPage(); err != nil || &again[0] != &page[0] {
		t.Errorf("another page, %v", err)
	}
	for i := range page {
		page[i] = byte(i)
	}
	u.Call.Lock() // by a call that will never end
	flushes := u.Peer.Flushes()
	if !u.Dev.LastWrite(sector) {
		t.Error("not written")
	}
	u.Call.Unlock()
	if !bytes.Equal(u.Peer.Content()[at*iopage.Size:(at+1)*iopage.Size], page) {
		t.Error("the page is not on the disk")
	}
	if flushed := u.Peer.Flushes() > flushes; flushed != u.Flushed {
		t.Errorf("flushed: %t", flushed)
	}
	u.Asking(true)
	if u.Dev.LastWrite(sector) {
		t.Error("written amid requests that may be incomplete")
	}
	u.Asking(false)
	u.Peer.Fail()
	if u.Dev.LastWrite(sector) {
		t.Error("written, and the backend has failed to")
	}
	if u.Patience == 0 {
		return
	}
	u.Peer.Hold(true)
	if begin := time.Now(); u.Dev.LastWrite(sector) || time.Since(begin) > 4*u.Patience {
		t.Error("the backend does not answer")
	}
	u.Peer.Hold(false)
}
