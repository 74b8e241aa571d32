package virtionet

import "ampoule/libos/device"

var _ device.Turner = (*Device)(nil)

// Turn implements device.Turner. From a panic of fast on it is Abandon's.
func (d *Device) Turn(fast device.FastPath, frames []device.Frame) (device.Turned, error) {
	if d.gone.Load() {
		return device.Turned{}, device.ErrGone
	}
	r, tx, f := &d.rx, &d.tx, &d.turning
	d.io.Lock()
	d.inTurn, d.count = true, device.Turned{}
	left, ok := r.q.Ahead()
	if !ok {
		left = r.q.Sync()
	}
	d.end = r.q.Taken() + uint16(left)
	for more := min(left, len(frames)); more > 0; more-- {
		if !r.plain(f) {
			took, ok := d.next(f, int(d.end-r.q.Taken()))
			if took == 0 {
				break
			}
			more = min(more, int(d.end-r.q.Taken())+1) // a frame may have had several buffers
			if !ok {
				continue
			}
		}
		switch fast.Frame(f) {
		case device.Reply:
			if tx.plain(f) {
				d.count.Replied++
				continue
			}
			d.replySlowly(f)
		case device.Drop:
			d.count.Dropped++
			f.Buf.Release()
		default:
			frames[d.count.Passed] = *f
			d.count.Passed++
		}
	}
	return d.turned()
}

// replySlowly sends a reply that is not plain, or for which there is no room at once.
func (d *Device) replySlowly(f *device.Frame) {
	if d.put(f) == nil {
		d.count.Replied++
		return
	}
	d.count.Lost++
	f.Buf.Release()
}

// turned ends a Turn: it sends the replies and refills the ring.
func (d *Device) turned() (device.Turned, error) {
	r, tx := &d.rx, &d.tx
	tx.q.Flush()
	if want := r.fill - r.q.InFlight(); want >= r.lag {
		d.recycle(want)
		d.refill()
	} else if r.q.Pending() {
		r.q.Flush()
	}
	r.src.Seen = r.q.Taken()
	taken := d.count.Passed + d.count.Replied + d.count.Dropped + d.count.Lost
	tx.frames += uint64(d.count.Replied)
	r.frames += uint64(taken)
	d.inTurn = false
	good := r.q.Err() == nil
	d.io.Unlock()
	if !good || taken == 0 {
		return d.count, d.nothing(taken)
	}
	return d.count, nil
}

// nothing is why a Turn took no frame, or nil if it took some and found the device out
// of use then.
func (d *Device) nothing(taken int) error {
	if bad := d.rx.q.Err(); bad != nil {
		d.fail(bad, 1)
	}
	switch {
	case taken > 0:
		return nil
	case d.gone.Load():
		return device.ErrGone
	}
	return device.ErrAgain
}

// Abandon implements device.Turner.
func (d *Device) Abandon(frames []device.Frame) {
	if !d.inTurn {
		return
	}
	for _, f := range frames[:d.count.Passed] {
		f.Buf.Release()
	}
	d.turning.Buf.Release()
	d.turned()
}

// recycle offers the pages of completed frames for receiving again, as many as are
// wanted, and gives back the others. io is held.
func (d *Device) recycle(want int) {
	r, tx := &d.rx, &d.tx
	heads := tx.heads[:tx.q.Sync()]
	heads = heads[:tx.q.TakeAll(heads)]
	for len(heads) > 0 {
		n := d.swap(heads[:min(len(heads), max(want, 0))])
		r.q.PushAll(heads[:n])
		want -= n
		if heads = heads[n:]; len(heads) == 0 {
			break
		}
		id := heads[0]
		b := tx.bufs[id]
		tx.ids.Put(id)
		if heads = heads[1:]; want <= 0 || b.Next() != nil {
			b.Release()
		} else {
			r.offer(b)
			want--
		}
	}
	if err := tx.q.Err(); err != nil {
		d.fail(err, 1)
	}
}

// swap frees heads of transmitted frames, as long as they are of one page that a
// descriptor for receiving names, and puts the heads of those in their place. It
// returns how many. It calls nothing, so that all it works with stays in registers.
//
//go:nosplit
func (d *Device) swap(heads []uint8) int {
	r, tx := &d.rx, &d.tx
	for i, id := range heads {
		b := tx.bufs[id]
		if b.Next() != nil || int(b.Index()) >= len(r.idOf) {
			return i
		}
		at := r.idOf[b.Index()]
		if at == 0 {
			return i
		}
		tx.ids.Put(id)
		heads[i] = uint8(at - 1)
	}
	return len(heads)
}
