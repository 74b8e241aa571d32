//go:build ampoule

package main

// Bodies are in cpu_amd64.s.

func cli()
func sti()
func hlt()
func rdmsr()
func wrmsr()
func rdpmc()
func clts()
func invd()
func wbinvd()
func readCR0()
func writeCR0()
func readCR2()
func readCR3()
func writeCR3()
func readCR4()
func writeCR4()
func readDR7()
func writeDR7()
func swapgs()
func xsetbv()
func inb()
func inl()
func outb()
func outl()
func insb()
func outsb()
func invlpg()
func lgdt()
func lidt()
func sgdt()
func sidt()
func sldt()
func str()
func lldt()
func ltr()
func smsw()
func lmsw()
func sysret()
func sysexit()
func int2()
func int8()
func int14()
func int32()
func int48()
func int63()
func int64()
func int128()
func int255()
func int3()
func ud2()
func stac()
func clac()
func vmcall()
func vmmcall()
func monitor()
func movDS()
func movSS()
func farCall()
func farJump()
func farReturn()
func iret()
func ioplOut()
func keepIF() uint64
func gateAC() uintptr
func wildStack(sp uintptr) uintptr
func trapFlag()
func overflow(top uintptr)
func hypercallAMD(nr, a, b, c uintptr) uintptr
func hypercallIntel(nr, a, b, c uintptr) uintptr
func lostG()

// privileged is what the CPU must refuse ring 3 with a fault that Go sees as a
// panic.
var privileged = []attack{
	{name: "cli", do: cli}, {name: "sti", do: sti}, {name: "hlt", do: hlt}, {name: "rdmsr", do: rdmsr}, {name: "wrmsr", do: wrmsr}, {name: "rdpmc", do: rdpmc},
	{name: "clts", do: clts}, {name: "invd", do: invd}, {name: "wbinvd", do: wbinvd}, {name: "invlpg", do: invlpg},
	{name: "read-cr0", do: readCR0}, {name: "write-cr0", do: writeCR0}, {name: "read-cr2", do: readCR2}, {name: "read-cr3", do: readCR3},
	{name: "write-cr3", do: writeCR3}, {name: "read-cr4", do: readCR4}, {name: "write-cr4", do: writeCR4},
	{name: "read-dr7", do: readDR7}, {name: "write-dr7", do: writeDR7}, {name: "swapgs", do: swapgs},
	{name: "in", do: inb}, {name: "in-long", do: inl}, {name: "out", do: outb}, {name: "out-long", do: outl}, {name: "ins", do: insb}, {name: "outs", do: outsb},
	{name: "iopl-out", do: ioplOut},
	{name: "lgdt", do: lgdt}, {name: "lidt", do: lidt}, {name: "lldt", do: lldt}, {name: "ltr", do: ltr}, {name: "lmsw", do: lmsw},
	{name: "sysret", do: sysret}, {name: "iret", do: iret},
	{name: "far-call", do: farCall}, {name: "far-jump", do: farJump}, {name: "far-return", do: farReturn},
	{name: "mov-ds", do: movDS}, {name: "mov-ss", do: movSS},
	{name: "int-2", do: int2}, {name: "int-8", do: int8}, {name: "int-14", do: int14}, {name: "int-32", do: int32}, {name: "int-48", do: int48},
	{name: "int-63", do: int63}, {name: "int-64", do: int64}, {name: "int-128", do: int128}, {name: "int-255", do: int255},
}

// leaks are refused by UMIP, where the CPU has it: they tell where the
// descriptor tables are.
var leaks = []attack{{name: "sgdt", do: sgdt}, {name: "sidt", do: sidt}, {name: "sldt", do: sldt}, {name: "str", do: str}, {name: "smsw", do: smsw}}
