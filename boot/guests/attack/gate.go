//go:build ampoule

package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"

	"ampoule/boot/gate"
	"ampoule/boot/guests/bare"
	"ampoule/boot/layout"
	"ampoule/libos/rt/rtabi"
)

// endings is what ends the VM, with a report, by way of the runtime or the
// gate.
func endings() []attack {
	info := bare.Info()
	return []attack{
		{name: "overflow-main-stack", do: func() { overflow(info.Places.Stacks + layout.Page + layout.MainStack) }},
		{name: "overflow-signal-stack", do: func() { overflow(info.Signal) }},
		{name: "overflow-system-stack", do: func() { overflow(info.System) }},
		{name: "fault-in-handler", do: lostG},
		{name: "write-bad-pointer", do: func() { syscall.RawSyscall(syscall.SYS_WRITE, 2, 0xdead000, 16) }},
		{name: "write-gate-pointer", do: func() { syscall.RawSyscall(syscall.SYS_WRITE, 2, info.Places.Gate+layout.GateData, 16) }},
		{name: "random-into-text", do: func() {
			text, _ := bare.Text()
			syscall.RawSyscall(318, text, 16, 0) // getrandom
		}},
		{name: "unrecovered-text-write", do: func() { t, _ := bare.Text(); bare.Store(t, 0) }},
		// The gate's code as linked is readable text: privileged instructions.
		{name: "execute-gate-copy", do: func() { intoGateCopy(gate.EntryOffset) }},
		{name: "execute-gate-enter-copy", do: func() { intoGateCopy(gate.EnterOffset) }},
		{name: "int-3", do: int3}, {name: "ud2", do: ud2}, {name: "stac", do: stac}, {name: "clac", do: clac},
		{name: "vmcall", do: vmcall}, {name: "vmmcall", do: vmmcall}, {name: "monitor", do: monitor}, {name: "sysexit", do: sysexit}, {name: "trap-flag", do: trapFlag},
	}
}

// intoGateCopy calls the gate's code as linked. The collector must not run
// then: it cannot walk a stack through that code, and would end the VM with
// another report if a tick let it in between the fault and its message.
func intoGateCopy(offset int) {
	debug.SetGCPercent(-1)
	runtime.GC() // waits for one that runs
	bare.Call(bare.Address(&gateCopy()[offset]))
}

const wide = ^uintptr(0)

// gateCalls hands the gate what it must refuse. They need a device, but on Xen.
func gateCalls() []attack {
	if onXen() {
		return xenGateCalls()
	}
	info := bare.Info()
	io := uint32(info.IOSize)
	size := uint16(info.Devices[0].Queues[0].Size)
	all := []attack{
		call("op-unknown", 99, 0, 0), call("op-huge", wide, 0, 0), call("op-high-bits", 1<<32|rtabi.GatePost, 0, 0),
		call("op-alloc", rtabi.GateAlloc, 0, 0), call("op-close", rtabi.GateClose, 0, 0),
		call("op-suspend", rtabi.GateSuspend, 0, 0), call("op-port", rtabi.GatePort, 0, 0), call("op-inuse", rtabi.GateInUse, 8, 0),
		call("console-9", rtabi.GateConsole, 0, 9), call("console-huge", rtabi.GateConsole, 0, wide),
		call("console-negative", rtabi.GateConsole, 0, 1<<63),
		call("post-queue", rtabi.GatePost, uintptr(info.NDevices)*rtabi.MaxQueues, 0),
		call("post-queue-huge", rtabi.GatePost, wide, 1), call("post-queue-wrap", rtabi.GatePost, 1<<58, 1),
		call("post-missing-queue", rtabi.GatePost, rtabi.MaxQueues-1, 1),
		call("post-41", rtabi.GatePost, 0, rtabi.MaxSubmit+1), call("post-huge", rtabi.GatePost, 0, wide),
		call("notify-queue", rtabi.GateNotify, uintptr(info.NDevices)*rtabi.MaxQueues, 0),
		call("notify-huge", rtabi.GateNotify, wide, 0),
		call("give-queue", rtabi.GateGive, uintptr(info.NDevices)*rtabi.MaxQueues, 0),
		call("give-queue-huge", rtabi.GateGive, wide, 1), call("give-queue-wrap", rtabi.GateGive, 1<<58, 1),
		call("give-missing-queue", rtabi.GateGive, rtabi.MaxQueues-1, 1),
		call("give-41", rtabi.GateGive, 0, rtabi.MaxSubmit+1),
		call("give-65535", rtabi.GateGive, 0, 0xffff),
		call("give-high-bits", rtabi.GateGive, 0, 1<<48), call("give-huge", rtabi.GateGive, 0, wide),
	}
	for name, d := range map[string]rtabi.Desc{
		"id":          {ID: size, Len: 1},
		"id-huge":     {ID: 0xffff, Len: 1},
		"next":        {Next: size, Flags: rtabi.DescNext, Len: 1},
		"next-idle":   {Next: 0xffff, Len: 1},
		"indirect":    {Flags: 4, Len: 16},
		"flags":       {Flags: 0x8000, Len: 16},
		"len-0":       {Len: 0},
		"offset":      {Offset: io, Len: 1},
		"offset-huge": {Offset: 0xffffffff, Len: 1},
		"len":         {Len: io + 1},
		"len-page":    {Len: rtabi.PageSize + 1},
		"len-huge":    {Len: 0xffffffff},
		"end":         {Offset: io - 1, Len: 2},
		"wrap":        {Offset: 0xfffff000, Len: 0x2000},
		"wrap-huge":   {Offset: 0xffffffff, Len: 0xffffffff},
	} {
		all = append(all, attack{name: "desc-" + name, do: func() { post(d) }}, attack{name: "desc-second-" + name, do: func() {
			post(rtabi.Desc{Len: 64, Flags: rtabi.DescWrite}, d)
		}}, attack{name: "give-" + name, do: func() { give(d) }})
	}
	return append(all, transmitCalls()...)
}

// transmitCalls name constants where a device writes, and what no device may write or
// read where it only reads.
func transmitCalls() (all []attack) {
	info := bare.Info()
	const end = rtabi.ConstOffset
	size := uint32(info.ConstSize)
	for name, d := range map[string]rtabi.Desc{
		"write":          {Flags: rtabi.DescWrite, Len: 64},
		"write-const":    {Flags: rtabi.DescWrite, Offset: end, Len: 64},
		"const-behind":   {Offset: end + size, Len: 1},
		"const-end":      {Offset: end + size - 1, Len: 2},
		"const-huge":     {Offset: 0xffffffff, Len: 1},
		"const-wrap":     {Offset: 0xffffffff, Len: rtabi.PageSize},
		"const-len-0":    {Offset: end, Len: 0},
		"const-len":      {Offset: end, Len: rtabi.PageSize + 1},
		"const-len-huge": {Offset: end, Len: 0xffffffff},
		"const-indirect": {Offset: end, Flags: 4, Len: 16},
		"io-behind":      {Offset: uint32(info.IOSize), Len: 1},
	} {
		all = append(all, attack{name: "transmit-" + name, do: func() {
			// What is allowed comes first, and must not be what is refused.
			q := &network().Queues[1]
			submit(q, rtabi.GatePost, 2, []rtabi.Desc{{Offset: end, Len: rtabi.PageSize}, {ID: 1, Offset: end + size - 1, Len: 1}})
			fmt.Println("armed")
			submit(q, rtabi.GatePost, 1, []rtabi.Desc{d})
		}})
	}
	for name, flags := range map[string]uint16{"read": 0, "write": rtabi.DescWrite} {
		all = append(all, attack{name: "receive-const-" + name, do: func() {
			submit(&network().Queues[0], rtabi.GatePost, 1, []rtabi.Desc{{Offset: end, Flags: flags, Len: 64}})
		}}, attack{name: "other-const-" + name, do: func() { post(rtabi.Desc{Offset: end, Flags: flags, Len: 64}) }})
	}
	return all
}

// network is the first network card.
func network() *rtabi.Device {
	for i := range bare.Info().Devices[:bare.Info().NDevices] {
		if d := &bare.Info().Devices[i]; d.Kind == 1 {
			return d
		}
	}
	fmt.Println("there is no network card")
	os.Exit(99)
	return nil
}

func call(name string, op, a, b uintptr) attack {
	return attack{name: name, do: func() { bare.Gate(op, a, b) }}
}

// post submits descriptors to the first queue of the first device.
func post(descs ...rtabi.Desc) {
	submit(&bare.Info().Devices[0].Queues[0], rtabi.GatePost, uintptr(len(descs)), descs)
}

// give does so and would show them to the device.
func give(descs ...rtabi.Desc) {
	submit(&bare.Info().Devices[0].Queues[0], rtabi.GateGive, uintptr(len(descs))|1<<rtabi.GiveIndex, descs)
}

func submit(q *rtabi.Queue, op, arg uintptr, descs []rtabi.Desc) {
	for i, d := range descs {
		bare.SetDesc(q, i, d)
	}
	bare.Gate(op, uintptr(q.ID), arg)
}
