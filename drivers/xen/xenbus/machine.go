package xenbus

import (
	"context"
	"errors"
	"strconv"
	"time"

	"ampoule/drivers/xen/abi"
	"ampoule/drivers/xen/xenstore"
	"ampoule/libos/format"
)

// phase is where the machine is; see the package comment.
type phase uint8

const (
	idle phase = iota
	linking
	up
	leaving
)

// machine is the state of a Device's goroutine; nobody else touches it.
type machine struct {
	d         *Device
	phase     phase
	suspended bool
	linked    bool // leaving: the backend had taken the rings
	barred    bool // the backend broke the protocol: not again with this one
	left      bool // the store has taken that we are Closed, and nothing since

	back      string // the backend's directory, "" when there is none
	domain    string // and its domain
	backWatch *xenstore.Watch

	deadline time.Time     // linking: when to give up
	retryAt  time.Time     // idle: not before
	pause    time.Duration // of the last attempt that failed
}

// run takes steps as there is reason to, until Stop.
func (d *Device) run() {
	defer close(d.done)
	m := &d.machine
	defer m.end()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var end time.Time
	for {
		next := time.Hour
		if !m.suspended {
			next = m.look()
		}
		if d.stopping() {
			if end.IsZero() {
				end = time.Now().Add(d.conf.Times.Close)
			}
			if m.phase == idle || time.Now().After(end) {
				return
			}
			next = min(next, time.Until(end))
		}
		time.Sleep(pace)
		timer.Reset(max(next, pace))
		m.sleep(timer.C)
	}
}

// sleep waits for the next reason to look.
func (m *machine) sleep(timer <-chan time.Time) {
	var back <-chan struct{}
	if m.backWatch != nil {
		back = m.backWatch.C()
	}
	select {
	case <-timer:
	case <-back:
	case <-m.d.frontWatch.C():
	case <-m.d.kick:
	case o := <-m.d.orders:
		o.do()
		close(o.done)
	}
}

// look takes one step, and says when to look again without any event.
func (m *machine) look() time.Duration {
	ctx, cancel := context.WithTimeout(context.Background(), m.d.conf.Times.Step)
	defer cancel()
	if err := m.d.takeBreach(); err != nil && (m.phase == up || m.phase == linking) {
		m.barred = true
		m.leave(ctx, err)
	}
	if m.d.stopping() && (m.phase == up || m.phase == linking) {
		m.leave(ctx, ErrClosed)
	}
	wait, err := m.step(ctx)
	if err != nil {
		// The store does not answer as it should. What the devices do is not
		// affected: look again later.
		m.note(err)
		return m.backOff()
	}
	return wait
}

// note publishes why the device is not up.
func (m *machine) note(err error) {
	if m.phase != up {
		m.d.tell(false, err)
	}
}

// backOff doubles the pause.
func (m *machine) backOff() time.Duration {
	t := m.d.conf.Times
	m.pause = min(max(2*m.pause, t.Retry), t.RetryMax)
	m.retryAt = time.Now().Add(m.pause)
	return m.pause
}

// step looks at both ends and does what follows.
func (m *machine) step(ctx context.Context) (time.Duration, error) {
	state, err := m.findBackend(ctx)
	if err != nil {
		return 0, err
	}
	if err := m.findRenewal(ctx); err != nil {
		return 0, err
	}
	switch m.phase {
	case idle:
		return m.inIdle(ctx, state)
	case linking:
		return m.inLinking(ctx, state), nil
	case up:
		if state != abi.StateConnected && state != abi.StateReconfiguring && state != abi.StateReconfigured {
			m.leave(ctx, format.Errorf("%w: state %d", ErrLeft, state))
			return 0, nil
		}
	case leaving:
		if !m.left {
			// The store did not take it before.
			if err := m.setState(ctx, abi.StateClosed); err != nil {
				return 0, err
			}
		}
		return m.inLeaving(state), nil
	}
	return time.Hour, nil
}

// inIdle begins a handshake, or asks the backend for one.
func (m *machine) inIdle(ctx context.Context, state abi.State) (time.Duration, error) {
	if m.barred || m.back == "" || m.d.stopping() {
		return time.Hour, nil
	}
	if state == abi.StateClosing {
		// It is being removed without ever having been connected.
		return time.Hour, m.setState(ctx, abi.StateClosed)
	}
	if m.d.drv == nil {
		return time.Hour, nil
	}
	if left := time.Until(m.retryAt); left > 0 {
		return left, nil
	}
	switch state {
	case abi.StateInitWait:
		if err := m.connect(ctx); err != nil {
			m.note(err)
			return m.backOff(), nil
		}
	case abi.StateClosed:
		v, have, err := read(ctx, m.d.conf.Store, m.back+"/online")
		if err != nil {
			return 0, err
		}
		if have && v == "0" {
			m.note(format.Errorf("%w: it is to be removed", ErrLeft))
			return time.Hour, nil
		}
		return time.Hour, m.setState(ctx, abi.StateInitialising)
	case abi.StateConnected, abi.StateInitialised:
		// It has the rings of a former life of this VM.
		return time.Hour, m.setState(ctx, abi.StateClosed)
	}
	return time.Hour, nil
}

// connect writes what the backend must know.
func (m *machine) connect(ctx context.Context) error {
	t := m.d.conf
	if id, err := strconv.ParseUint(m.domain, 10, 16); err != nil || uint16(id) != t.Domain {
		return format.Errorf("xenbus: %s: backend in domain %.16q, grants are for domain %d", m.d.Path(), m.domain, t.Domain)
	}
	keys, err := m.d.drv.Connect(ctx, &Peer{store: t.Store, front: m.d.Path(), back: m.back})
	if err != nil {
		return format.Errorf("xenbus: %s: %w", m.d.Path(), err)
	}
	err = m.publish(ctx, keys)
	m.phase, m.deadline = linking, time.Now().Add(t.Times.Connect)
	if err != nil {
		// The backend may have seen it or not.
		m.leave(ctx, err)
		return err
	}
	return nil
}

// errLeft says that the frontend's directory is gone.
var errLeft = format.Errorf("%w: no directory", ErrLeft)

// publish writes the keys and the state Connected, all or nothing, unless the
// directory is gone.
func (m *machine) publish(ctx context.Context, keys []Key) error {
	dir := m.d.Path()
	changes := []xenstore.Change{{Path: dir + "/state", Value: strconv.Itoa(int(abi.StateConnected))}}
	for _, k := range keys {
		changes = append(changes, xenstore.Change{Path: dir + "/" + k.Name, Value: k.Value, Remove: k.Remove})
	}
	m.left = false
	return m.d.conf.Store.Transact(ctx, func(tx xenstore.Tx) error {
		if _, err := tx.Read(ctx, dir+"/state"); errors.Is(err, xenstore.ErrNotExist) {
			return errLeft
		} else if err != nil {
			return err
		}
		return tx.Apply(ctx, changes...)
	})
}

// setState writes the frontend's state, but does not make a directory anew that
// is gone, and does not fire watches for nothing.
func (m *machine) setState(ctx context.Context, s abi.State) error {
	path, want := m.d.Path()+"/state", strconv.Itoa(int(s))
	m.left = false
	err := m.d.conf.Store.Transact(ctx, func(tx xenstore.Tx) error {
		v, err := tx.Read(ctx, path)
		if errors.Is(err, xenstore.ErrNotExist) || err == nil && v == want {
			return nil
		}
		if m.phase == leaving && err == nil && parseState(v) == abi.StateInitialising {
			return nil // made anew already: findRenewal must see it
		}
		if err != nil {
			return err
		}
		return tx.Write(ctx, path, want)
	})
	m.left = err == nil && s == abi.StateClosed
	return err
}

// inLinking waits for the backend to take the rings.
func (m *machine) inLinking(ctx context.Context, state abi.State) time.Duration {
	left := time.Until(m.deadline)
	var err error
	switch {
	case state == abi.StateConnected:
		m.phase, m.pause = up, 0
		m.d.drv.Up()
		m.d.tell(true, nil)
		return time.Hour
	case state == abi.StateClosing || state == abi.StateClosed || state == abi.StateUnknown:
		err = format.Errorf("%w: state %d in the handshake", ErrLeft, state)
	case left > 0:
		return left
	default:
		err = format.Errorf("xenbus: %s: the backend stays in state %d", m.d.Path(), state)
	}
	m.leave(ctx, err)
	m.backOff()
	return 0
}

// leave puts the device down and tells the backend.
func (m *machine) leave(ctx context.Context, cause error) {
	m.linked = m.phase == up
	m.phase = leaving
	m.d.drv.Down(cause)
	m.d.tell(false, cause)
	// If the store does not take it now, later steps try again.
	_ = m.setState(ctx, abi.StateClosed)
}

// inLeaving waits until the backend is done.
func (m *machine) inLeaving(state abi.State) time.Duration {
	switch state {
	case abi.StateInitialising, abi.StateInitWait:
		if !m.linked {
			// It may be about to take the rings, and will then find us Closed.
			return time.Hour
		}
	case abi.StateUnknown, abi.StateClosed:
	default:
		return time.Hour
	}
	m.free()
	return 0
}

func (m *machine) free() {
	m.phase = idle
	m.d.drv.Free()
}

// suspend is Device.Suspend.
func (m *machine) suspend() {
	m.suspended = true
	if m.phase == up {
		m.d.drv.Down(ErrSuspended)
		m.d.tell(false, ErrSuspended)
	}
}

// resume is Device.Resume.
func (m *machine) resume(restored bool) {
	m.suspended = false
	if !restored {
		if m.phase == up {
			m.d.drv.Up()
			m.d.tell(true, nil)
		}
		return
	}
	if m.phase == linking {
		m.d.drv.Down(ErrSuspended)
	}
	if m.phase != idle {
		m.d.drv.Lost()
	}
	m.phase, m.barred, m.pause, m.retryAt = idle, false, 0, time.Time{}
}
