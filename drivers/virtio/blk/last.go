package virtioblk

import (
	"encoding/binary"
	"time"

	"ampoule/libos/device"
	"ampoule/libos/format"
	"ampoule/libos/iopage"
	"ampoule/libos/rt/rtabi"
)

// lastTime is how long the device may take for each of the last requests.
const lastTime = 2 * time.Second

// lastSlot has descriptors and a share of the control page of its own.
const lastSlot = Depth

var _ device.LastWriter = (*Disk)(nil)

// LastPage implements device.LastWriter.
func (d *Disk) LastPage() ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last == nil {
		if d.q.Size() < chain*(lastSlot+1) {
			return nil, format.Errorf("%s: a queue of %d has no room for a last request", d.name, d.q.Size())
		}
		b, err := d.pool.Get()
		if err != nil {
			return nil, err
		}
		d.last = b
	}
	return d.last.Page(), nil
}

// LastWrite implements device.LastWriter. It writes nothing when a call was stopped
// just as it handed over requests, which may be incomplete.
func (d *Disk) LastWrite(sector uint64) bool {
	if d.last == nil || d.err != nil || d.giving || d.info.ReadOnly {
		return false
	}
	at := sector * uint64(d.info.SectorSize/unit)
	return d.lastRequest(typeOut, at) && (!d.flush || d.lastRequest(typeFlush, 0))
}

// lastRequest makes a request and waits for it. The queue may be in the middle of
// another one's; its own descriptors are not.
func (d *Disk) lastRequest(kind uint32, at uint64) bool {
	c := d.ctl.Page()[ctlSize*lastSlot : ctlSize*(lastSlot+1)]
	binary.LittleEndian.PutUint32(c, kind)
	binary.LittleEndian.PutUint32(c[4:], 0)
	binary.LittleEndian.PutUint64(c[8:], at)
	c[statusAt] = statusNone
	const head = chain * lastSlot
	off := d.ctl.Offset() + ctlSize*lastSlot
	if kind == typeFlush {
		d.q.Stage(head, head+2, rtabi.DescNext, off, headerSize)
	} else {
		d.q.Stage(head, head+1, rtabi.DescNext, off, headerSize)
		d.q.Stage(head+1, head+2, rtabi.DescNext, d.last.Offset(), iopage.Size)
	}
	d.q.Stage(head+2, 0, rtabi.DescWrite, off+statusAt, 1)
	d.q.PushLast(head)
	d.q.Flush()
	for begin := time.Now(); c[statusAt] == statusNone; {
		if time.Since(begin) > lastTime {
			return false
		}
	}
	return c[statusAt] == statusOK
}
