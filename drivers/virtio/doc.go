// Package virtio drives split virtqueues (virtio 1.2, section 2.7) from ring 3.
//
// Boot code has found the device, negotiated its features and set up its queues
// before the machine was sealed; what is left for a driver is the run time:
//
//	driver (net, rng)     frames, requests         drivers/virtio/net, .../rng
//	Queue                 rings, batching, events  this package
//	Transport             one negotiated device    this package: Device
//	Gate                  post, notify             ring 0, passed in by boot/platform
//
// # What ring 3 may touch
//
// Each queue has one page that the device sees too: the available ring, the used
// ring, and an area where the driver leaves rtabi.Descs for the gate. The
// descriptor table itself is ring 0's: Post asks the gate to check the Descs and
// to write them there, so whatever happens in ring 3, a device can be pointed
// at I/O pages only.
//
// A Post is a gate call, and so is a Notify. Queue therefore gathers Descs and
// available entries, and Flush pays for a whole burst once: one Post for up to
// rtabi.MaxSubmit Descs, one store of the index, at most one Notify. What a
// descriptor says stays true until the gate writes it again: a driver that
// offers the same page under the same id needs no Post at all.
//
// # Memory order
//
// On amd64 stores are seen in order, and so are loads. The one place where that
// is not enough is the store of the available index before the load of the
// device's event index (section 2.7.10); the store is an exchange, which is a
// full fence. Loads of what a device writes are atomic, so that each happens
// exactly once and the host's race detector can follow the fake peers.
//
// # Who may call
//
// A Queue has no lock: it belongs to one goroutine at a time, and since a
// goroutine can be preempted anywhere, its owner holds a mutex around every
// burst. The drivers built on it do that, one mutex for each direction.
//
// # What a hostile device can do
//
// It can complete buffers wrongly, late or never, and lie about their content.
// Every index, id and length is loaded once and checked; the first one that
// breaks the protocol puts the queue out of use for good (Err says which), and
// pages that the device still holds are not used again. No call does more work
// than a queue has entries. It can not make a driver panic, loop, or touch
// memory outside its page. What it can do anyway, as any backend can, is to
// read and write every I/O page.
//
// A queue that was used cannot be started again: that takes a reset, which only
// boot can do.
package virtio
