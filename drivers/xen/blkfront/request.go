package blkfront

import (
	"time"

	"ampoule/drivers/xen/abi"
	"ampoule/libos/device"
	"ampoule/libos/format"
)

// part is one request's share of a transfer.
type part struct {
	p    []byte
	at   uint64
	id   uint64 // of its request; 0: none is in flight
	done bool
}

// turn has the backend carry out one request for each part, in slot i of
// Disk.data, and waits for all of them.
func (d *Disk) turn(op uint8, parts []part) error {
	end := time.Now().Add(d.conf.Timeout)
	late := time.AfterFunc(d.conf.Timeout, d.src.Wake)
	defer late.Stop()
	asked := uint64(0) // the ring that has the requests
	var failed error
	for {
		rings, err := d.connected(end)
		if err != nil && asked != 0 {
			// The requests may still be with the backend.
			return d.broken(err)
		}
		if err != nil {
			return err
		}
		more, bad, err := d.exchange(op, parts, rings, rings != asked)
		if err != nil {
			return err
		}
		asked = rings
		if bad != nil {
			failed = bad
		}
		if !more {
			return failed
		}
		if time.Now().After(end) {
			return d.broken(format.Errorf("no answer within %v", d.conf.Timeout))
		}
		d.src.Wait()
	}
}

// connected waits until the disk is, and says which ring it has.
func (d *Disk) connected(end time.Time) (rings uint64, err error) {
	for {
		l := &d.link
		l.mu.Lock()
		live, closed, rings, note := l.live, l.closed, l.rings, l.note
		given := rings > 0 && l.stale == rings // nothing will come of this backend
		l.mu.Unlock()
		if closed {
			return 0, l.over()
		}
		if live {
			return rings, nil
		}
		if cause := d.Cause(); given && cause != nil {
			return 0, format.Errorf("%w: %w", device.ErrGone, cause)
		}
		t := time.NewTimer(max(0, time.Until(end)))
		select {
		case <-note:
			t.Stop()
		case <-t.C:
			if cause := d.Cause(); cause != nil {
				return 0, format.Errorf("%w: %w", device.ErrGone, cause)
			}
		}
	}
}

// exchange takes the answers there are, after it has made the requests if ask
// says so. more says that some are not answered; it is also true when the
// connection is another one by now. bad is what the backend failed to do.
func (d *Disk) exchange(op uint8, parts []part, rings uint64, ask bool) (more bool, bad, err error) {
	l := &d.link
	l.mu.Lock()
	if !l.live || l.rings != rings {
		l.mu.Unlock()
		// Not ready to be waited for: connected waits instead.
		d.src.Wake()
		return true, nil, nil
	}
	if op == abi.BlkFlush && !l.flush {
		l.mu.Unlock()
		return false, nil, nil
	}
	if ask {
		d.asking = true
		d.ask(op, parts)
		d.asking = false
	}
	for range l.ring.Sync() {
		why, e := d.take(op, parts, l.ring.Next())
		if why != nil {
			bad = why
		}
		if e != nil {
			l.ring.Fail(e)
			break
		}
	}
	err = l.ring.Err()
	d.src.Seen, d.src.Event = uint16(l.ring.Taken()), l.ring.Taken()+1
	l.mu.Unlock()
	if err != nil {
		return false, nil, d.broken(err)
	}
	for i := range parts {
		more = more || !parts[i].done
	}
	return more, bad, nil
}

// ask makes the requests of the parts that are not done; link.mu is held.
func (d *Disk) ask(op uint8, parts []part) {
	l := &d.link
	for i := range parts {
		if parts[i].done {
			continue
		}
		d.ids++
		parts[i].id = d.ids
		r := abi.BlkRequest{Operation: op, ID: d.ids}
		if op != abi.BlkFlush {
			page := d.data[i].Page()
			if op == abi.BlkWrite {
				copy(page, parts[i].p)
			} else {
				// What the backend claims to have read and has not is zeros,
				// not another sector.
				clear(page[:len(parts[i].p)])
			}
			r.Sector, r.Segments = parts[i].at, 1
			r.Segment[0] = abi.BlkSegment{Ref: uint32(d.conf.Pages.IORef(d.data[i].Offset())), Last: uint8(len(parts[i].p)/unit - 1)}
		}
		l.ring.Put(r)
	}
	if l.ring.Flush() {
		d.conf.Gate.Notify(l.port)
	}
}

// take takes one answer; link.mu is held. err says that it breaks the protocol.
func (d *Disk) take(op uint8, parts []part, r abi.BlkResponse) (bad, err error) {
	for i := range parts {
		p := &parts[i]
		if p.done || p.id != r.ID {
			continue
		}
		p.done = true
		switch {
		case r.Operation != op:
			return nil, format.Errorf("answer to operation %d for one of %d", r.Operation, op)
		case r.Status == abi.BlkOK:
			if op == abi.BlkRead {
				copy(p.p, d.data[i].Page())
			}
			return nil, nil
		case r.Status == abi.BlkError || r.Status == abi.BlkUnsupported:
			return format.Errorf("%w: operation %d at %d: status %d", device.ErrIO, op, p.at, r.Status), nil
		}
		return nil, format.Errorf("status %d", r.Status)
	}
	return nil, format.Errorf("answer to request %d, which is not in flight", r.ID)
}

// broken gives the backend up.
func (d *Disk) broken(err error) error {
	l := &d.link
	l.mu.Lock()
	l.live, l.stale = false, l.rings
	if !l.closed {
		l.cause = err
	}
	l.mu.Unlock()
	d.bus.Broken(err)
	return format.Errorf("%w: %w", device.ErrGone, err)
}
