package xentest

import (
	"fmt"
	"sync"
	"testing"

	"ampoule/drivers/xen"
	"ampoule/libos/iopage"
)

// Violation is what Dom0 panics with where the gate would end the VM.
type Violation string

func (v Violation) Error() string { return "gate: violation: " + string(v) }

// References of the fake's grants; they do not start at 0, so that an index
// taken for a reference is found.
const (
	ringRef   = 8
	ringPages = 8
	ioRef     = 1000
)

// Dom0 is everything around a VM, and its gate: a xen.Gate. All methods may be
// called from any goroutine.
type Dom0 struct {
	IO      []byte // the I/O region
	Pool    *iopage.Pool
	Pages   *xen.Pages
	Store   *Store
	Console *Console

	tb    testing.TB
	rings []byte

	mu     sync.Mutex
	ports  map[xen.Port]*port
	next   xen.Port
	refuse int              // Allocs to answer with an error
	mapped map[xen.Ref]bool // pages that some backend has mapped
}

type port struct {
	unbound  bool // from Alloc
	peer     func()
	notifies int
}

// New makes a VM with the given number of I/O pages.
func New(tb testing.TB, pages int) *Dom0 {
	tb.Helper()
	d := &Dom0{tb: tb, IO: mapPages(tb, pages), rings: mapPages(tb, ringPages), ports: map[xen.Port]*port{}, next: 5}
	d.Pool = iopage.NewPool(d.IO)
	var err error
	if d.Pages, err = xen.NewPages(d.rings, ringRef, ioRef, pages); err != nil {
		tb.Fatal(err)
	}
	d.Store = newStore(d)
	d.Console = newConsole(d)
	return d
}

// bind makes a port with a peer, as boot finds it.
func (d *Dom0) bind(peer func()) xen.Port {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.next += 3
	d.ports[d.next] = &port{peer: peer}
	return d.next
}

// Notify is the gate's.
func (d *Dom0) Notify(p xen.Port) {
	d.mu.Lock()
	q := d.ports[p]
	if q == nil {
		d.mu.Unlock()
		panic(Violation(fmt.Sprintf("notify of port %d, which is not bound", p)))
	}
	q.notifies++
	peer := q.peer
	d.mu.Unlock()
	if peer != nil {
		peer()
	}
}

// Alloc is the gate's.
func (d *Dom0) Alloc() (xen.Port, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refuse > 0 {
		d.refuse--
		return 0, fmt.Errorf("gate: no port left")
	}
	d.next += 3
	d.ports[d.next] = &port{unbound: true}
	return d.next, nil
}

// Close is the gate's.
func (d *Dom0) Close(p xen.Port) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if q := d.ports[p]; q == nil || !q.unbound {
		panic(Violation(fmt.Sprintf("close of port %d, which is not from Alloc", p)))
	}
	delete(d.ports, p)
}

// InUse is the gate's.
func (d *Dom0) InUse(r xen.Ref) bool {
	d.page(uint32(r)) // or it is a violation
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mapped[r]
}

// Map makes a page look mapped by a backend, or not any more.
func (d *Dom0) Map(r xen.Ref, on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mapped == nil {
		d.mapped = map[xen.Ref]bool{}
	}
	d.mapped[r] = on
}

// RefusePorts makes the next n Allocs fail.
func (d *Dom0) RefusePorts(n int) {
	d.mu.Lock()
	d.refuse = n
	d.mu.Unlock()
}

// OpenPorts is the number of ports from Alloc that are not closed.
func (d *Dom0) OpenPorts() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.ports {
		if p.unbound {
			n++
		}
	}
	return n
}

// Notifies is how often a port was notified.
func (d *Dom0) Notifies(p xen.Port) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if q := d.ports[p]; q != nil {
		return q.notifies
	}
	return 0
}

// connect gives a port from Alloc a peer; the backend binds it.
func (d *Dom0) connect(p xen.Port, peer func()) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	q := d.ports[p]
	if q == nil || !q.unbound {
		return false
	}
	q.peer = peer
	return true
}

// Restore makes the VM a new domain, as xl restore does: all ports are gone,
// store and console have new ones, watches and transactions are forgotten, and
// the backends of all vifs start anew. It must not run beside the drivers.
func (d *Dom0) Restore(vifs ...*Netback) {
	d.mu.Lock()
	d.ports = map[xen.Port]*port{}
	d.mapped = nil // a new domain, and a new grant table
	d.mu.Unlock()
	d.Store.restore()
	d.Console.restore()
	for _, n := range vifs {
		n.restart()
	}
}

// page is the page of a grant reference.
func (d *Dom0) page(ref uint32) []byte {
	at, mem := int(ref)-ringRef, d.rings
	if ref >= ioRef {
		at, mem = int(ref)-ioRef, d.IO
	}
	if at < 0 || at >= len(mem)/xen.PageSize {
		panic(Violation(fmt.Sprintf("grant reference %d was never made", ref)))
	}
	return mem[at*xen.PageSize : (at+1)*xen.PageSize : (at+1)*xen.PageSize]
}
