package virtioblk

import (
	"encoding/binary"
	"time"

	"ampoule/libos/device"
	"ampoule/libos/format"
	"ampoule/libos/rt/rtabi"
)

// Request types and status values (virtio 1.2, section 5.2.6).
const (
	typeIn    = 0
	typeOut   = 1
	typeFlush = 4

	statusOK    = 0
	statusError = 1
	statusUnsup = 2
	statusNone  = 0xff // ours: the device has not written it
)

// chain is the number of descriptors that a request takes: of slot i they are
// chain*i, its head, and the two that follow.
const chain = 3

// Layout of a slot's share of the control page: struct virtio_blk_req without
// its data, the header in front.
const (
	headerSize = 16
	statusAt   = headerSize
	ctlSize    = 32
)

// part is one request's share of a transfer.
type part struct {
	p  []byte
	at uint64 // in units of 512 bytes
}

// turn has the device carry out one request for each part, waits for all of
// them, and takes what was read. An error of the device in any of them is
// device.ErrIO, or ErrGone when the device is out of use.
func (d *Disk) turn(kind uint32, parts []part) error {
	d.giving = true
	for i := range parts {
		d.stage(i, kind, parts[i])
		d.q.Push(uint8(chain * i))
	}
	d.q.Flush()
	d.giving = false
	if err := d.wait(kind, parts); err != nil {
		d.err = err
		return d.usable()
	}
	var failed error
	for i := range parts {
		switch status := d.status[i]; status {
		case statusOK:
			if kind == typeIn {
				copy(parts[i].p, d.data[i].Page())
			}
		case statusError, statusUnsup:
			failed = format.Errorf("%w: request of type %d at %d: status %d", device.ErrIO, kind, parts[i].at, status)
		default:
			d.err = format.Errorf("virtioblk: status %#x", status)
			return d.usable()
		}
	}
	return failed
}

// stage writes the request of a slot and names its parts to the gate.
func (d *Disk) stage(i int, kind uint32, part part) {
	c := d.ctl.Page()[ctlSize*i : ctlSize*(i+1)]
	binary.LittleEndian.PutUint32(c, kind)
	binary.LittleEndian.PutUint32(c[4:], 0)
	binary.LittleEndian.PutUint64(c[8:], part.at)
	c[statusAt] = statusNone
	head := uint8(chain * i)
	at := d.ctl.Offset() + uint32(ctlSize*i)
	if kind == typeFlush {
		d.q.Stage(head, head+2, rtabi.DescNext, at, headerSize)
	} else {
		flags := uint16(rtabi.DescNext)
		if kind == typeOut {
			copy(d.data[i].Page(), part.p)
		} else {
			// What the device claims to have read and has not is zeros, not
			// another sector.
			clear(d.data[i].Page()[:len(part.p)])
			flags |= rtabi.DescWrite
		}
		d.q.Stage(head, head+1, rtabi.DescNext, at, headerSize)
		d.q.Stage(head+1, head+2, flags, d.data[i].Offset(), uint32(len(part.p)))
	}
	d.q.Stage(head+2, 0, rtabi.DescWrite, at+statusAt, 1)
}

// wait takes back the requests of all parts. An error is a reason to give the
// device up.
func (d *Disk) wait(kind uint32, parts []part) error {
	var late *time.Timer
	end := time.Now().Add(d.timeout)
	for left := len(parts); left > 0; {
		n := d.q.Sync()
		if err := d.q.Err(); err != nil {
			return err
		}
		for range n {
			if err := d.take(kind, parts); err != nil {
				return err
			}
			left--
		}
		d.src.Seen = d.q.Taken()
		if left == 0 {
			break
		}
		if d.closed.Load() {
			return format.Errorf("closed with %d requests at the device", left)
		}
		rest := time.Until(end)
		if rest <= 0 {
			return format.Errorf("virtioblk: no answer within %v", d.timeout)
		}
		if late == nil {
			late = time.AfterFunc(rest, d.src.Wake)
			defer late.Stop()
		}
		d.src.Wait()
	}
	return nil
}

// take takes one used entry back and checks how much the device wrote: a device
// writes all of the data of a read, then the status, and need not have when it
// failed.
func (d *Disk) take(kind uint32, parts []part) error {
	id, n, ok := d.q.Next()
	if !ok {
		d.q.FailEntry(id)
		return d.q.Err()
	}
	i := int(id) / chain                       // Next has seen that it is a head of this turn
	status := d.ctl.Page()[ctlSize*i+statusAt] // once: it is the device's to change
	d.status[i] = status
	most := uint32(1)
	if kind == typeIn {
		most += uint32(len(parts[i].p))
	}
	if n > most || kind == typeIn && n < most && status == statusOK {
		return format.Errorf("virtioblk: used length %d of a request that has %d to write", n, most)
	}
	return nil
}
