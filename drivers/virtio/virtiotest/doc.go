// Package virtiotest is a fake of everything below a virtio driver: the I/O
// region, the gate, and devices, on the host's memory.
//
// Machine is the I/O region and the gate. It checks what a driver asks for as
// the gate of package boot/gate does (rtabi.Desc), and panics with a Violation
// where the gate would end the VM. Queue is the device's end of a virtqueue
// (virtio 1.2, section 2.7): well-behaved by Next, Buffers and Complete, hostile
// by PutUsed, SetUsed and SetAvailEvent. Net and Blk are devices made of it.
//
// A device works in the goroutine of whoever calls it; Kick makes it work
// inside the driver's notify, as an emulator without threads does. Indexes are
// accessed atomically, so a device may also have a goroutine of its own.
package virtiotest
