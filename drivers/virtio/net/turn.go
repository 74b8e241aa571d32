package virtionet

import "ampoule/libos/device"

var _ device.Turner = (*Device)(nil)

// Turn implements device.Turner.
func (d *Device) Turn(fast device.FastPath, frames []device.Frame) (t device.Turned, err error) {
	if d.gone.Load() {
		return t, device.ErrGone
	}
	d.rx.mu.Lock()
	d.tx.mu.Lock()
	d.inTurn = true
	defer d.turned(frames, &t, &err)
	tx := &d.tx
	if tx.q.InFlight() >= tx.reapAt && !d.reap() {
		return t, nil
	}
	f := &d.turning
	for left := min(d.rx.q.Sync(), len(frames)); left > 0; left-- {
		if !d.rx.plain(f) {
			took, ok := d.next(f, left)
			if took == 0 {
				break
			}
			if left -= took - 1; !ok {
				continue
			}
		}
		switch fast.Frame(f) {
		case device.Reply:
			if tx.plain(f) || d.put(f) == nil {
				t.Replied++
				continue
			}
			t.Lost++
			f.Buf.Release()
		case device.Drop:
			t.Dropped++
			f.Buf.Release()
		default:
			frames[t.Passed] = *f
			t.Passed++
		}
	}
	f.Buf = nil
	return t, nil
}

// turned ends a Turn: it sends the replies and refills the ring. A frame that is still
// in hand says that the fast path has panicked.
func (d *Device) turned(frames []device.Frame, t *device.Turned, err *error) {
	r, tx := &d.rx, &d.tx
	if f := &d.turning; f.Buf != nil {
		f.Buf.Release()
		for _, f := range frames[:t.Passed] {
			f.Buf.Release()
		}
		f.Buf = nil
	}
	tx.q.Flush()
	taken := t.Passed + t.Replied + t.Dropped + t.Lost
	tx.frames += uint64(t.Replied)
	r.frames += uint64(taken)
	if r.src.Seen != r.q.Taken() {
		if want := r.fill - r.q.InFlight(); want >= r.lag {
			d.recycle(want)
		}
		d.refill()
		r.src.Seen = r.q.Taken()
	}
	bad := r.q.Err()
	d.inTurn = false
	tx.mu.Unlock()
	r.mu.Unlock()
	if bad != nil {
		d.fail(bad, 1)
	}
	if taken == 0 {
		*err = device.ErrAgain
		if bad != nil || d.gone.Load() {
			*err = device.ErrGone
		}
	}
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
