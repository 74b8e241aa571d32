package blkfront

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"ampoule/drivers/xen"
	"ampoule/drivers/xen/abi"
	"ampoule/drivers/xen/ring"
	"ampoule/drivers/xen/xenbus"
	"ampoule/libos/device"
	"ampoule/libos/format"
)

// learnTime is how long the store may take to say what a disk is like, and
// learnPause how long it is left alone when it did not.
const (
	learnTime  = 5 * time.Second
	learnPause = time.Second
)

// link is the connection to the backend.
type link struct {
	page    xen.Page // fixed
	ref     xen.Ref
	started chan struct{} // closed when Disk.bus is set

	mu     sync.Mutex // guards all below
	ring   ring.Blk
	port   xen.Port
	ports  bool   // port is allocated
	rings  uint64 // started, one for each Connect
	stale  uint64 // of these, the last that was given up
	live   bool   // the ring may be used
	up     bool   // the backend has it; live follows when it is known what the disk is like
	closed bool
	known  bool // info is set
	info   device.BlockInfo
	flush  bool   // the backend has a cache
	lost   uint64 // times that a backend left by itself
	cause  error  // why it is not live
	note   chan struct{}
	peer   *xenbus.Peer
}

// changed wakes who waits for live; mu is held.
func (l *link) changed() {
	close(l.note)
	l.note = make(chan struct{})
}

// state says whether the ring may be used, and whether this backend was given up.
func (l *link) state() (live, given bool, note <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.live, l.rings > 0 && l.stale == l.rings, l.note
}

// flushes says whether the backend has a cache, and how many backends left.
func (l *link) flushes() (cache bool, lost uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.flush, l.lost
}

// over answers device.ErrGone when the disk is closed.
func (l *link) over() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return format.Errorf("%w: %w", device.ErrGone, errClosed)
	}
	return nil
}

// Connect implements xenbus.Driver: it makes an empty ring.
func (d *Disk) Connect(_ context.Context, p *xenbus.Peer) ([]xenbus.Key, error) {
	l := &d.link
	<-l.started
	if d.conf.Gate.InUse(l.ref) {
		return nil, errors.New("the former backend still has the ring")
	}
	for _, b := range d.data {
		if d.conf.Gate.InUse(d.conf.Pages.IORef(b.Offset())) {
			return nil, errors.New("the former backend still has a page")
		}
	}
	port, err := d.conf.Gate.Alloc()
	if err != nil {
		return nil, format.Errorf("event channel: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.port, l.ports, l.peer = port, true, p
	l.ring.Start(l.page)
	l.rings++
	return []xenbus.Key{
		{Name: "ring-ref", Value: strconv.FormatUint(uint64(l.ref), 10)},
		{Name: "event-channel", Value: strconv.FormatUint(uint64(port), 10)},
		{Name: "protocol", Value: "x86_64-abi"},
		{Name: "feature-persistent", Value: "0"},
	}, nil
}

// Up implements xenbus.Driver. What the disk is like is in the store from now on.
func (d *Disk) Up() {
	l := &d.link
	l.mu.Lock()
	defer l.mu.Unlock()
	l.up = true
	go d.learn(l.peer, l.rings)
}

// learn reads what the disk is like and lets calls go on, if the connection is
// still the same.
func (d *Disk) learn(p *xenbus.Peer, rings uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), learnTime)
	defer cancel()
	k, err := p.Read(ctx, nil, []string{"sectors", "sector-size", "info", "feature-flush-cache"})
	l := &d.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.up || l.closed || l.live || l.rings != rings || l.stale == rings {
		return
	}
	if err != nil {
		l.cause = err
		time.AfterFunc(learnPause, func() { d.learn(p, rings) })
		return
	}
	info, err := parseInfo(k.Back)
	if err == nil && l.known && info != l.info {
		err = format.Errorf("it is another disk: of %d sectors, not %d, or another mode", info.Sectors, l.info.Sectors)
	}
	if err != nil {
		// Nothing will come of it: who waits need not.
		l.cause, l.stale = err, rings
		l.changed()
		d.bus.Broken(err)
		return
	}
	l.info, l.known, l.flush = info, true, k.Offers("feature-flush-cache")
	l.live, l.cause = true, nil
	l.changed()
	d.src.Wake()
}

// parseInfo reads what a backend says of a disk.
func parseInfo(back map[string]string) (i device.BlockInfo, err error) {
	if i.Sectors, err = strconv.ParseUint(back["sectors"], 10, 48); err != nil {
		return i, format.Errorf("sectors %.32q", back["sectors"])
	}
	if v := back["sector-size"]; v != strconv.Itoa(unit) {
		return i, format.Errorf("sectors of %.32q bytes, only %d are served", v, unit)
	}
	bits, err := strconv.ParseUint(back["info"], 10, 32)
	if err != nil {
		return i, format.Errorf("info %.32q", back["info"])
	}
	i.SectorSize, i.ReadOnly = unit, bits&abi.BlkReadOnly != 0
	return i, nil
}

// Down implements xenbus.Driver. When it returns, nobody uses the ring.
func (d *Disk) Down(cause error) {
	l := &d.link
	l.mu.Lock()
	if !l.closed {
		l.cause = cause
	}
	l.live, l.up = false, false
	l.mu.Unlock()
	d.src.Wake()
}

// Free implements xenbus.Driver.
func (d *Disk) Free() {
	l := &d.link
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost++
	if l.ports {
		d.conf.Gate.Close(l.port)
		l.ports = false
	}
}

// Lost implements xenbus.Driver: a save is orderly, and what was written is not
// lost.
func (d *Disk) Lost() {
	d.link.mu.Lock()
	defer d.link.mu.Unlock()
	d.link.ports = false
}
