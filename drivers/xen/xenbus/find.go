package xenbus

import (
	"context"
	"errors"
	"time"

	"ampoule/drivers/xen/abi"
	"ampoule/drivers/xen/xenstore"
	"ampoule/libos/format"
)

// findBackend reads where the backend's directory is, watches its state, and says
// what that is. A backend that has moved or is gone is another one: rings are the
// former one's.
func (m *machine) findBackend(ctx context.Context) (abi.State, error) {
	paths := []string{m.d.Path() + "/backend", m.d.Path() + "/backend-id", m.back + "/state"}
	if m.back == "" {
		paths = paths[:2]
	}
	v, err := m.d.conf.Store.ReadAll(ctx, paths...)
	if err != nil {
		return abi.StateUnknown, err
	}
	if err := errors.Join(v[0].Err, v[1].Err); err != nil {
		return abi.StateUnknown, err
	}
	m.domain = v[1].Value
	if m.back != "" && v[0].Value == m.back {
		return parseState(v[2].Value), v[2].Err
	}
	// A backend of former times, of before a restore, is another domain's: that
	// its state can't be read is of no interest.
	if err := m.change(ctx, v[0]); err != nil || m.back == "" {
		return abi.StateUnknown, err
	}
	state, _, err := read(ctx, m.d.conf.Store, m.back+"/state")
	return parseState(state), err
}

// change goes over to another backend, or to none.
func (m *machine) change(ctx context.Context, to xenstore.Value) error {
	v := to.Value
	if to.Have {
		if err := checkBackend(v); err != nil {
			return err
		}
	}
	if v == m.back {
		return nil
	}
	m.unwatch()
	if m.phase == up || m.phase == linking {
		m.leave(ctx, format.Errorf("%w: its directory is gone", ErrLeft))
	}
	if m.phase == leaving {
		m.free()
	}
	m.back, m.barred, m.pause, m.retryAt = "", false, 0, time.Time{}
	if v == "" {
		m.note(format.Errorf("%w: no backend", ErrLeft))
		return nil
	}
	w, err := m.d.conf.Store.Watch(ctx, v+"/state")
	if err != nil {
		return err
	}
	m.back, m.backWatch = v, w
	return nil
}

// move is Device.Move.
func (m *machine) move(ctx context.Context, path string) error {
	if m.phase != idle || m.back != "" || m.suspended || m.d.stopping() {
		return ErrBusy
	}
	w, err := m.d.conf.Store.Watch(ctx, path)
	if err != nil {
		return err
	}
	m.drop(m.d.frontWatch)
	m.d.mu.Lock()
	m.d.path = path
	m.d.mu.Unlock()
	m.d.frontWatch = w
	m.barred, m.left, m.pause, m.retryAt = false, false, 0, time.Time{}
	return nil
}

// findRenewal finds out that the toolstack has removed the device and made it
// anew between two looks: the state is the first one again, which we have not
// written. What the former backend had is free, and what it did is forgotten.
func (m *machine) findRenewal(ctx context.Context) error {
	if !m.left || m.phase != leaving && !m.barred {
		return nil
	}
	v, _, err := read(ctx, m.d.conf.Store, m.d.Path()+"/state")
	if err != nil || parseState(v) != abi.StateInitialising {
		return err
	}
	if m.phase == leaving {
		m.free()
	}
	m.barred, m.left = false, false
	return nil
}

func (m *machine) unwatch() {
	if m.backWatch != nil {
		m.drop(m.backWatch)
		m.backWatch = nil
	}
}

// drop ends a watch. When the store did not hear of it, its events are dropped.
func (m *machine) drop(w *xenstore.Watch) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = m.d.conf.Store.Unwatch(ctx, w)
}

// end ends all watches.
func (m *machine) end() {
	m.unwatch()
	m.drop(m.d.frontWatch)
}
