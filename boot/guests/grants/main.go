//go:build ampoule

// Command grants is the guest of the grant attack: an appliance on Xen that was
// taken over and tries to have pages read or written by its backend that boot
// has not granted. It connects to netback, takes the rings over from the driver,
// and names every grant reference there is, and some that there are not, in both
// directions. It prints a line for each attempt and "done" at the end, or
// "WRONG" with a reason, and then waits, so that the host can look at its memory.
package main

import (
	"context"
	"fmt"
	"hash/crc32"
	"time"

	"ampoule/boot/guests/bare"
	"ampoule/drivers/xen"
	"ampoule/drivers/xen/netfront"
	"ampoule/drivers/xen/xenbus"
	"ampoule/drivers/xen/xenstore"
	"ampoule/libos/iopage"
	"ampoule/libos/rt/rtabi"
)

// vif is the frontend's directory of the one network interface.
const vif = "device/vif/0"

// gate notes the ports that the driver gets: rx first, then tx (netfront.Connect).
type gate struct{ ports []xen.Port }

func (*gate) Notify(p xen.Port) { bare.Gate(rtabi.GateNotify, uintptr(p), 0) }
func (*gate) Close(p xen.Port)  { bare.Gate(rtabi.GateClose, uintptr(p), 0) }

// InUse does not ask the gate, which ends a VM that asks for what boot has not
// granted; the attempts here are about what the backend does with such references.
func (*gate) InUse(xen.Ref) bool { return false }

func (g *gate) Alloc() (xen.Port, error) {
	p := int(bare.Gate(rtabi.GateAlloc, 0, 0))
	if p < 0 {
		return 0, fmt.Errorf("no event channel: error %d", -p)
	}
	g.ports = append(g.ports, xen.Port(p))
	return xen.Port(p), nil
}

// guest is what the attempts share.
type guest struct {
	gate   gate
	info   *rtabi.Xen
	pool   *iopage.Pool
	store  *xenstore.Client
	device *netfront.Device
	canary [][]byte
	text   uint32
}

func main() {
	b := bare.Info()
	g := &guest{info: &b.Xen, pool: iopage.NewPool(bare.Memory(b.IO, int(b.IOSize)))}
	g.plant()
	var err error
	g.store, err = xenstore.Open(xenstore.Config{Gate: &g.gate, Line: func() (xen.Line, error) {
		return xen.Line{Page: xen.PageOf(bare.Memory(g.info.Store, rtabi.PageSize)),
			Port: xen.Port(bare.Gate(rtabi.GatePort, 0, 0))}, nil
	}})
	check("store", err)
	g.device, err = g.connect(g.info.RingRef, 30*time.Second)
	check("connect", err)
	if len(g.gate.ports) != 2 {
		wrong("%d ports, want one for each direction", len(g.gate.ports))
	}
	bare.PrintPlaces()
	fmt.Println("ready", g.pool.Len(), "I/O pages")
	g.control()
	g.transmit()
	g.receive()
	g.ranges()
	g.forgeRings()
	g.forgeShared()
	g.intact()
	fmt.Println("done")
	for {
		time.Sleep(time.Second)
	}
}

// connect opens the network interface with ring pages that are said to have
// references from ref on.
func (g *guest) connect(ref uint32, limit time.Duration) (*netfront.Device, error) {
	rings := bare.Memory(g.info.Rings, int(g.info.NRings)*rtabi.PageSize)
	pages, err := xen.NewPages(rings, xen.Ref(ref), xen.Ref(g.info.IORef), g.pool.Len())
	check("pages", err)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return netfront.Open(ctx, "net0", netfront.Config{Path: vif, Gate: &g.gate, Pages: pages, Pool: g.pool,
		Bus: xenbus.Config{Store: g.store}})
}

// granted says whether boot or the toolstack has made a grant of this reference:
// that of the console's page (0), of the store's (1), of a ring or I/O page.
func (g *guest) granted(ref uint32) bool {
	return ref < 2 || ref >= g.info.RingRef && ref < g.info.RingRef+g.info.NRings ||
		ref >= g.info.IORef && ref < g.info.IORef+uint32(g.pool.Len())
}

// references are all of the first grant frame, and further ones that might wrap
// or be cut to one that is granted.
func (g *guest) references() (all []uint32) {
	const inFrame = 512
	for ref := range uint32(inFrame) {
		all = append(all, ref)
	}
	io := g.info.IORef
	return append(all, inFrame, inFrame+io, 1024+io, 1<<16+io, 1<<20, 1<<28|io, 1<<31|io, 1<<32-1, -io)
}

// plant fills pages of the heap with what must still be there at the end.
func (g *guest) plant() {
	for i := range 256 {
		p := make([]byte, rtabi.PageSize)
		for k := range p {
			p[k] = byte(i ^ k)
		}
		g.canary = append(g.canary, p)
	}
	g.text = textSum()
}

func textSum() uint32 {
	start, end := bare.Text()
	return crc32.ChecksumIEEE(bare.Memory(start, int(end-start)))
}

// intact compares what plant left.
func (g *guest) intact() {
	for i, p := range g.canary {
		for k := range p {
			if p[k] != byte(i^k) {
				wrong("canary page %d changed at %d", i, k)
			}
		}
	}
	if textSum() != g.text {
		wrong("text has changed")
	}
	fmt.Println("intact:", len(g.canary), "canary pages, text")
}

func check(what string, err error) {
	if err != nil {
		wrong("%s: %v", what, err)
	}
}

// wrong ends the attack: something was possible that must not be, or nothing
// could be tried.
func wrong(format string, args ...any) {
	panic("WRONG " + fmt.Sprintf(format, args...))
}
