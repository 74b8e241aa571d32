package blkfront

import (
	"time"

	"ampoule/drivers/xen/abi"
	"ampoule/libos/device"
	"ampoule/libos/iopage"
)

// lastTime is how long the backend may take for each of the last requests, whose
// number is lastID.
const (
	lastTime = 2 * time.Second
	lastID   = 1 << 63
)

var _ device.LastWriter = (*Disk)(nil)

// LastPage implements device.LastWriter.
func (d *Disk) LastPage() ([]byte, error) {
	d.calls.Lock()
	defer d.calls.Unlock()
	if d.last == nil {
		b, err := d.conf.Pool.Get()
		if err != nil {
			return nil, err
		}
		d.last = b
	}
	return d.last.Page(), nil
}

// LastWrite implements device.LastWriter. It writes nothing while there is no backend,
// or when a call was stopped just as it made requests, which may be incomplete.
func (d *Disk) LastWrite(sector uint64) bool {
	l := &d.link
	if d.last == nil || !l.live || d.asking || l.info.ReadOnly {
		return false
	}
	r := abi.BlkRequest{Operation: abi.BlkWrite, ID: lastID, Sector: sector, Segments: 1}
	r.Segment[0] = abi.BlkSegment{Ref: uint32(d.conf.Pages.IORef(d.last.Offset())), Last: iopage.Size/unit - 1}
	return d.lastRequest(r) && (!l.flush || d.lastRequest(abi.BlkRequest{Operation: abi.BlkFlush, ID: lastID + 1}))
}

// lastRequest makes a request and waits for it. The ring may be in the middle of
// another one's.
func (d *Disk) lastRequest(r abi.BlkRequest) bool {
	l := &d.link
	l.ring.Put(r)
	if l.ring.Flush() {
		d.conf.Gate.Notify(l.port)
	}
	for begin := time.Now(); time.Since(begin) < lastTime; {
		for range l.ring.Sync() {
			if got := l.ring.Next(); got.ID == r.ID {
				return got.Status == abi.BlkOK
			}
		}
	}
	return false
}
