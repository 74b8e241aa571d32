//go:build ampoule && xen

package platform

import (
	"context"
	"fmt"
	"time"

	_ "ampoule/boot/pvh" // entry point, gate, address space
	"ampoule/drivers/xen"
	"ampoule/drivers/xen/netfront"
	"ampoule/drivers/xen/xenbus"
	"ampoule/drivers/xen/xenstore"
	"ampoule/libos/console"
	"ampoule/libos/iopage"
	"ampoule/libos/pvboot"
	"ampoule/libos/rt/rtabi"
)

// connectTime is how long a network interface may take to come up.
const connectTime = 30 * time.Second

// Open takes over the machine as boot left it: a PVH guest of Xen. It must be
// called once, and waits for the network interfaces to be connected.
func Open() (*pvboot.Machine, error) {
	info := bootInfo()
	m := &pvboot.Machine{
		Name:    "xen",
		Memory:  info.RAM,
		Command: string(info.Command[:info.CommandLen]),
		Clock:   clock{},
		Entropy: entropy{},
		Console: console.New(ampConsole),
		Pool:    iopage.NewPool(region(info.IO, info.IOSize)),
	}
	pages, err := xen.NewPages(region(info.Xen.Rings, uintptr(info.Xen.NRings)*rtabi.PageSize),
		xen.Ref(info.Xen.RingRef), xen.Ref(info.Xen.IORef), m.Pool.Len())
	if err != nil {
		return nil, err
	}
	store, err := xenstore.Open(xenstore.Config{Gate: gate{}, Line: storeLine})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectTime)
	defer cancel()
	paths, err := xenbus.Enumerate(ctx, store, "vif")
	if err != nil {
		return nil, err
	}
	for i, path := range paths {
		d, err := netfront.Open(ctx, fmt.Sprint("net", i), netfront.Config{
			Bus: xenbus.Config{Store: store}, Path: path, Gate: gate{}, Pages: pages, Pool: m.Pool})
		if err != nil {
			fmt.Fprintf(m.Console, "warning: %s: %v\n", path, err)
			continue
		}
		m.Devices = append(m.Devices, d)
	}
	return m, nil
}

// storeLine is the store's page and its port of the moment.
func storeLine() (xen.Line, error) {
	return xen.Line{Page: xen.PageOf(region(bootInfo().Xen.Store, rtabi.PageSize)),
		Port: xen.Port(ampGate(rtabi.GatePort, 0, 0))}, nil
}

// gate is the way to the gate's event channels.
type gate struct{}

func (gate) Notify(p xen.Port) { ampGate(rtabi.GateNotify, uintptr(p), 0) }
func (gate) Close(p xen.Port)  { ampGate(rtabi.GateClose, uintptr(p), 0) }

func (gate) Alloc() (xen.Port, error) {
	p := int(ampGate(rtabi.GateAlloc, 0, 0))
	if p < 0 {
		return 0, fmt.Errorf("platform: no event channel: error %d", -p)
	}
	return xen.Port(p), nil
}
