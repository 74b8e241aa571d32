// Package vifs gives an appliance its network interfaces, whenever the toolstack
// makes them.
//
// A Set wants a number of interfaces (Config.Max) and watches device/vif. The vif
// with the lowest number becomes the first interface, and so on; one that is
// attached later takes the next place that is free. When a vif was removed for
// good, directory and all, the interface goes on with the next one there is:
// the lowest that nobody uses, or the next that is attached. What is left over is
// parked: it is not connected, takes no memory, and answers its removal.
//
// The work that a toolstack can cause is bounded as in xenbus: a look at the
// store ends in time, there is a pause between two, and no more than
// xenbus.MaxDevices vifs are looked at.
package vifs

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"ampoule/drivers/xen/netfront"
	"ampoule/drivers/xen/xenbus"
	"ampoule/drivers/xen/xenstore"
	"ampoule/libos/format"
)

const (
	dir   = "device/vif"
	step  = 5 * time.Second       // for one look at the store and what follows
	pace  = time.Millisecond      // between two looks
	retry = 50 * time.Millisecond // after one that left something undone; doubles up to
	late  = 5 * time.Second       // this
)

// Config says what a Set is made of.
type Config struct {
	// Net is what each interface is made of. Path and Link are set by the Set.
	Net netfront.Config
	// Link, if not nil, is told when interface i comes and goes; see
	// netfront.Config. It must not call the Set.
	Link func(i int, up bool)
	// Max is how many interfaces are wanted: 1 if zero.
	Max int
	// Say, if not nil, is told what an operator would want to know. It is
	// called from the Set's goroutine and must not call the Set.
	Say func(event string, pairs ...any)
}

// Set is the VM's network interfaces. All methods may be called from any
// goroutine.
type Set struct {
	conf  Config
	watch *xenstore.Watch
	kick  chan struct{}
	stop  chan struct{}
	done  chan struct{}

	mu        sync.Mutex
	nets      []*netfront.Device
	parked    map[string]*xenbus.Device // by directory
	note      chan struct{}             // closed when there is one more in nets
	suspended bool
	trouble   string // said last
}

// Watch begins to look after the VM's vifs. Those that are there are started
// before it returns; see Wait.
func Watch(ctx context.Context, conf Config) (*Set, error) {
	conf.Max = max(conf.Max, 1)
	if conf.Say == nil {
		conf.Say = func(string, ...any) {}
	}
	w, err := conf.Net.Bus.Store.Watch(ctx, dir)
	if err != nil {
		return nil, format.Errorf("vifs: %w", err)
	}
	s := &Set{
		conf: conf, watch: w, kick: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
		parked: make(map[string]*xenbus.Device), note: make(chan struct{}),
	}
	s.look()
	go s.run()
	return s, nil
}

// Len is how many interfaces have been given a vif, connected or not.
func (s *Set) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.nets)
}

// Wait waits until interface i is there and has been connected. When the context
// ends first, the error says why it is not, as far as that is known.
func (s *Set) Wait(ctx context.Context, i int) (*netfront.Device, error) {
	for {
		s.mu.Lock()
		note := s.note
		var d *netfront.Device
		if i < len(s.nets) {
			d = s.nets[i]
		}
		s.mu.Unlock()
		if d != nil {
			return d, d.Wait(ctx)
		}
		select {
		case <-note:
		case <-s.done:
			return nil, format.Errorf("vifs: %w", xenbus.ErrClosed)
		case <-ctx.Done():
			return nil, format.Errorf("vifs: no interface %d: %w", i, context.Cause(ctx))
		}
	}
}

// Path is the directory of interface i's vif, "device/vif/0", or "" when it never
// had one.
func (s *Set) Path(i int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i >= len(s.nets) {
		return ""
	}
	return s.nets[i].Path()
}

// Close ends the Set and closes its interfaces, and waits for its goroutine.
func (s *Set) Close() error {
	close(s.stop)
	<-s.done
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.nets {
		d.Close()
	}
	for _, d := range s.parked {
		d.Stop()
	}
	return nil
}

// Suspend puts all interfaces to rest, and opens none, until Resume.
func (s *Set) Suspend(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.suspended = true
	var errs []error
	for _, p := range s.parts() {
		errs = append(errs, p.Suspend(ctx))
	}
	err := errors.Join(errs...)
	if err != nil {
		_ = s.resume(context.WithoutCancel(ctx), false)
	}
	return err
}

// Resume ends a Suspend; restored says that this is a new domain.
func (s *Set) Resume(ctx context.Context, restored bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resume(ctx, restored)
}

func (s *Set) resume(ctx context.Context, restored bool) error {
	s.suspended = false
	var errs []error
	for _, p := range s.parts() {
		errs = append(errs, p.Resume(ctx, restored))
	}
	select {
	case s.kick <- struct{}{}:
	default:
	}
	return errors.Join(errs...)
}

// part is what rests during a save.
type part interface {
	Suspend(context.Context) error
	Resume(context.Context, bool) error
}

// parts lists them. mu is held.
func (s *Set) parts() (all []part) {
	for _, d := range s.nets {
		all = append(all, d)
	}
	for _, d := range s.parked {
		all = append(all, d)
	}
	return all
}

// run looks whenever there is reason to, until Close.
func (s *Set) run() {
	defer close(s.done)
	pause := retry
	for {
		var timer <-chan time.Time
		if s.look() {
			timer = time.After(pause)
			pause = min(2*pause, late)
		} else {
			pause = retry
		}
		time.Sleep(pace)
		select {
		case <-s.watch.C():
		case <-s.kick:
		case <-timer:
		case <-s.stop:
			return
		}
	}
}

// look gives each vif its place, and says whether something is left to do that
// no event will tell of.
func (s *Set) look() (again bool) {
	ctx, cancel := context.WithTimeout(context.Background(), step)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.suspended {
		return false
	}
	paths, err := xenbus.Enumerate(ctx, s.conf.Net.Bus.Store, "vif")
	if err != nil {
		s.complain(err)
		return true
	}
	s.unpark(paths)
	for _, path := range paths {
		if s.used(path) {
			continue
		}
		switch err := s.place(ctx, path, paths); {
		case errors.Is(err, xenbus.ErrBusy):
			again = true // its former vif has gone this very moment
		case err != nil:
			s.complain(err)
			again = true
		}
	}
	if !again {
		s.trouble = ""
	}
	return again
}

// complain says what is wrong, once for each trouble. mu is held.
func (s *Set) complain(err error) {
	if t := err.Error(); t != s.trouble {
		s.trouble = t
		s.conf.Say("network interfaces can't be looked after", "error", err)
	}
}

func (s *Set) used(path string) bool {
	return slices.ContainsFunc(s.nets, func(d *netfront.Device) bool { return d.Path() == path })
}

// place finds a place for a vif that has none: of an interface that has lost its
// own, or a new one, or it is parked. mu is held.
func (s *Set) place(ctx context.Context, path string, paths []string) error {
	if i := s.vacant(paths); i >= 0 {
		if err := s.nets[i].Move(ctx, path); err != nil {
			return err
		}
		s.take(path)
		s.conf.Say("network interface goes on with another vif", "net", s.nets[i].Name(), "vif", path)
		return nil
	}
	if len(s.nets) < s.conf.Max {
		c := s.conf.Net
		c.Path = path
		if i := len(s.nets); s.conf.Link != nil {
			c.Link = func(up bool) { s.conf.Link(i, up) }
		}
		d, err := netfront.Start(ctx, format.Sprint("net", len(s.nets)), c)
		if err != nil {
			return err
		}
		s.take(path)
		s.nets = append(s.nets, d)
		close(s.note)
		s.note = make(chan struct{})
		return nil
	}
	if s.parked[path] != nil {
		return nil
	}
	d, err := xenbus.Park(ctx, s.conf.Net.Bus, path)
	if err != nil {
		return err
	}
	s.parked[path] = d
	s.conf.Say("vif is not used, as there are enough", "vif", path, "used", len(s.nets))
	return nil
}

// vacant is the first interface whose vif is not there any more, or -1.
func (s *Set) vacant(paths []string) int {
	return slices.IndexFunc(s.nets, func(d *netfront.Device) bool { return !slices.Contains(paths, d.Path()) })
}

// take ends the parking of a vif that is used from now on.
func (s *Set) take(path string) {
	if d := s.parked[path]; d != nil {
		d.Stop()
		delete(s.parked, path)
	}
}

// unpark forgets parked vifs that are gone.
func (s *Set) unpark(paths []string) {
	for path := range s.parked {
		if !slices.Contains(paths, path) {
			s.take(path)
		}
	}
}
