package virtionet

import "ampoule/libos/device"

var _ device.Turner = (*Device)(nil)

// Turn implements device.Turner. From a panic of fast on it is Abandon's.
func (d *Device) Turn(fast device.FastPath, frames []device.Frame) (device.Turned, error) {
	if d.gone.Load() {
		return device.Turned{}, device.ErrGone
	}
	r, tx, f := &d.rx, &d.tx, &d.turning
	r.mu.Lock()
	tx.mu.Lock()
	d.inTurn, d.count = true, device.Turned{}
	left := r.q.Sync()
	for shown := 0; left > 0 && shown < len(frames); shown++ {
		if r.plain(f) {
			left--
		} else {
			took, ok := d.next(f, left)
			if took == 0 {
				break
			}
			if left -= took; !ok {
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
	r, tx, t := &d.rx, &d.tx, d.count
	tx.q.Flush()
	if want := r.fill - r.q.InFlight(); want >= r.lag {
		d.recycle(want)
		d.refill()
	} else if r.q.Pending() {
		r.q.Flush()
	}
	r.src.Seen = r.q.Taken()
	taken := t.Passed + t.Replied + t.Dropped + t.Lost
	tx.frames += uint64(t.Replied)
	r.frames += uint64(taken)
	bad := r.q.Err()
	d.inTurn = false
	tx.mu.Unlock()
	r.mu.Unlock()
	if bad != nil || taken == 0 {
		return t, d.nothing(taken, bad)
	}
	return t, nil
}

// nothing is why a Turn took no frame, or nil if it took some and found the device out
// of use then.
func (d *Device) nothing(taken int, bad error) error {
	if bad != nil {
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
// wanted, and gives back the others. rx.mu and tx.mu are held.
func (d *Device) recycle(want int) {
	r, tx := &d.rx, &d.tx
	for range tx.q.Sync() {
		id, _, ok := tx.q.Next()
		if !ok {
			tx.q.FailEntry(id)
			break
		}
		b := tx.bufs[uint8(id)]
		tx.ids.Put(uint8(id))
		if want--; want < 0 || b.Next() != nil {
			b.Release()
		} else if at := r.idOf[b.Index()]; at != 0 {
			r.q.Push(uint8(at - 1)) // offer, inlined
		} else {
			r.bind(b)
		}
	}
	if err := tx.q.Err(); err != nil {
		d.fail(err, 1)
	}
}
