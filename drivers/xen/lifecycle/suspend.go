package lifecycle

import (
	"context"
	"errors"
	"time"

	"ampoule/libos/format"
)

// Part is a driver that must rest while the VM is saved.
type Part interface {
	// Suspend makes it leave ports, and the store, alone until Resume. It
	// waits for what is under way.
	Suspend(context.Context) error
	// Resume ends a Suspend; restored says that this is a new domain.
	Resume(ctx context.Context, restored bool) error
}

// Machine is what takes part in a save, in the order in which it is put to rest:
// devices, the store that they use, the console. What comes last is back first.
type Machine struct {
	Parts []Part
	// Enter runs the hypercall and, in ring 0, all that must be rebuilt there.
	// restored is false when the save was cancelled: nothing has changed.
	Enter func() (restored bool, err error)
	// Restored, if not nil, is called after a restore when all parts are back:
	// to reseed, to read the clock, to announce.
	Restored func()
	// Rest bounds the time in which the parts must come to rest; 10 s if zero.
	// The same time is given them to be back.
	Rest time.Duration
}

// Suspend saves the VM: it returns when the VM runs again, restored or not. A
// part that does not come to rest cancels it, and the parts go on.
func (m *Machine) Suspend(ctx context.Context) error {
	rest := m.Rest
	if rest == 0 {
		rest = 10 * time.Second
	}
	down, cancel := context.WithTimeout(ctx, rest)
	defer cancel()
	n := 0
	var errs []error
	for _, p := range m.Parts {
		if err := p.Suspend(down); err != nil {
			errs = append(errs, format.Errorf("lifecycle: suspend: %w", err))
			break
		}
		n++
	}
	restored := false
	if n == len(m.Parts) {
		var err error
		if restored, err = m.Enter(); err != nil {
			errs = append(errs, format.Errorf("lifecycle: suspend: %w", err))
		}
	}
	// The time in which the VM was away does not count.
	back, cancel := context.WithTimeout(context.WithoutCancel(ctx), rest)
	defer cancel()
	for ; n > 0; n-- {
		if err := m.Parts[n-1].Resume(back, restored); err != nil {
			errs = append(errs, format.Errorf("lifecycle: resume: %w", err))
		}
	}
	if restored && m.Restored != nil {
		m.Restored()
	}
	return errors.Join(errs...)
}
