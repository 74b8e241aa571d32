//go:build ampoule

package main

import (
	"fmt"

	"ampoule/boot/gate"
	"ampoule/boot/guests/bare"
	"ampoule/boot/layout"
	"ampoule/libos/rt/rtabi"
)

// What is attacked: a RET instruction in each kind of memory, and a word.
var (
	//lint:ignore U1000 written, so that the compiler keeps what is read
	word     = uint64(0x1234)
	codeData = [8]byte{0xc3, 0xc3, 0xc3, 0xc3}
	codeBSS  [8]byte
	heapCode []byte
)

const codeConst = "\xc3\xc3\xc3\xc3 executed rodata"

// accesses reads or writes what ring 3 must not.
func accesses() []attack {
	text, etext := bare.Text()
	info := bare.Info()
	clock := bare.Address(info.Clock)
	at := info.Places
	all := []attack{
		write("text", text), write("text-own", bare.Entry(main)), write("text-end", etext-1),
		write("text-gate-copy", bare.Address(&gateCopy()[0])),
		write("rodata", bare.StringAddress(codeConst)), write("elf-header", text-layout.Page),
	}
	if onXen() {
		all = append(all, xenAccesses()...)
	} else {
		all = append(all, write("clock", clock), read("behind-clock", clock+layout.Page), write("behind-clock", clock+layout.Page))
	}
	for _, p := range []struct {
		name string
		addr uintptr
	}{
		{"null", 0}, {"null-page", 0xff8}, {"null-page-end", 0xfff},
		{"gate-code", at.Gate}, {"gate-code-2", at.Gate + layout.Page}, {"before-gate", at.Gate - 1},
		{"gate-data", at.Gate + layout.GateData}, {"gate-gdt", at.Gate + layout.GateGDT}, {"gate-tss", at.Gate + layout.GateGDT + 0x100},
		{"gate-idt", at.Gate + layout.GateIDT}, {"gate-stack-guard", at.Gate + layout.GateStack},
		{"gate-stack", at.Gate + layout.GateStackTop - 8}, {"fault-stack-guard", at.Gate + layout.FaultStack},
		{"fault-stack", at.Gate + layout.FaultTop - 8}, {"behind-gate", at.Gate + layout.FaultTop},
		{"lapic", at.Registers}, {"lapic-eoi", at.Registers + 0xb0},
		{"registers", at.Registers + layout.Page}, {"descriptors", at.Descriptors}, {"before-rings", at.Shared - 1},
		{"main-stack-guard", at.Stacks}, {"main-stack-guard-end", at.Stacks + layout.Page - 1},
		{"signal-stack-guard", info.Signal - info.SignalSize - 1},
		{"system-stack-guard", info.System - layout.SystemStack - 1},
		{"behind-system-stack", info.System},
		{"before-io", info.IO - 1}, {"behind-io", info.IO + info.IOSize + layout.Page}, // behind the page that is not named
		{"before-window", info.Window - 1}, {"behind-window", info.WindowEnd},
		{"lapic-physical", 0xfee00000}, {"ioapic-physical", 0xfec00000}, {"mmio-physical", 0xfeb00000},
		{"ecam-physical", 0xb0000000}, {"image-physical", layout.Image}, {"direct-map", layout.Direct},
		{"direct-map-image", layout.Direct + layout.Image}, {"gate-as-linked", layout.GateLink + layout.GateData}, {"kernel-half", 0xffffffff80000000},
		{"kernel-direct-map", 0xffff888000000000}, {"recursive-tables", 0xfffff6fb7dbed000},
		{"not-canonical", 0x8000000000000000},
	} {
		all = append(all, read(p.name, p.addr), write(p.name, p.addr))
	}
	return append(all, attack{name: "scan-low", do: scanLow}, attack{name: "scan-gigabytes", do: scanHigh})
}

func read(name string, addr uintptr) attack {
	return attack{name: "read-" + name, at: addr, do: func() { word += uint64(bare.Load(addr)) }}
}

func write(name string, addr uintptr) attack {
	return attack{name: "write-" + name, at: addr, do: func() { bare.Store(addr, 0x90) }}
}

// scan reads each address and ends in a fault if each of them did.
func scan(from, to, step uintptr) {
	for a := from; a < to; a += step {
		if bare.Try(func() { bare.Load(a) }) == nil {
			succeeded(fmt.Sprintf("read at %#x", a))
		}
	}
	bare.Load(from)
}

// scanLow looks for page tables where boot put them: one to one in low memory.
func scanLow() { scan(0, layout.LowEnd, layout.Page) }

// scanHigh looks into every large page of what boot's own page tables had
// mapped: 4 GiB around the image, which an image of less than 64 MiB leaves
// free, and the same again in the upper half. The gate's topmost 2 GiB follow.
func scanHigh() {
	text, etext := bare.Text()
	scan(layout.LowEnd, (text-layout.Page)&^(layout.Large-1), layout.Large)
	scan((etext+64<<20)&^(layout.Large-1), layout.UserLow, layout.Large)
	scan(layout.Direct, layout.Direct+1<<32, layout.Large)
	scan(layout.TopLow, layout.TopEnd, layout.Large)
}

// executions jumps to memory that is not text.
func executions() []attack {
	info := bare.Info()
	heapCode = append(make([]byte, 0, 64), codeData[:]...)
	copy(codeBSS[:], codeData[:])
	io := bare.Memory(info.IO+info.IOSize-layout.Page, layout.Page)
	at := info.Places
	stack := bare.Memory(at.Stacks+layout.Page, 8) // the far end of g0's
	big := make([]byte, 4<<20)
	meta := bare.Memory(info.WindowEnd-layout.Page, 8)
	saved := [8]byte(meta)
	for _, p := range [][]byte{io, stack, big} {
		copy(p, codeData[:])
	}
	all := []attack{
		execute("data", bare.Address(&codeData)), execute("bss", bare.Address(&codeBSS)),
		execute("heap", bare.Address(&heapCode[0])), execute("large-heap", bare.Address(&big[0])),
		execute("rodata", bare.StringAddress(codeConst)),
		execute("io", bare.Address(&io[0])), execute("main-stack", bare.Address(&stack[0])),
		execute("clock", bare.Address(info.Clock)), execute("null", 0), execute("null-page", 0x10),
		execute("gate-code", at.Gate), execute("gate-entry", at.Gate+gate.EntryOffset),
		execute("gate-enter", at.Gate+gate.EnterOffset),
		execute("before-window", info.Window-1), execute("kernel-half", 0xffffffff80000000),
		{name: "execute-stack", do: executeStack},
		{name: "execute-metadata", do: func() {
			defer copy(meta, saved[:])
			copy(meta, codeData[:])
			bare.Call(bare.Address(&meta[0]))
		}},
	}
	if onXen() {
		all = append(all, xenExecutions()...)
	}
	for i := range info.Devices[:info.NDevices] {
		for q := range info.Devices[i].Queues {
			if queue := &info.Devices[i].Queues[q]; queue.Size != 0 {
				all = append(all, execute(fmt.Sprintf("ring-%d-%d", i, q), queue.Ring+rtabi.QueueSubOff))
			}
		}
	}
	return all
}

func execute(name string, addr uintptr) attack {
	return attack{name: "execute-" + name, at: addr, do: func() { bare.Call(addr) }}
}

// executeStack runs code on this goroutine's own stack.
func executeStack() {
	code := codeData
	bare.Call(bare.Address(&code))
}
