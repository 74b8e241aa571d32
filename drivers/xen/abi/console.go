package abi

// ConsolePage is the page that xenconsoled and the VM share (xencons_interface):
// a ring of bytes for each direction. The indexes count bytes freely and wrap at
// 2^32.
type ConsolePage struct {
	In      [ConsoleIn]byte  // written by the console daemon
	Out     [ConsoleOut]byte // written by the VM
	InCons  uint32
	InProd  uint32
	OutCons uint32
	OutProd uint32
}

// Sizes, and offsets in the page.
const (
	ConsoleIn  = 1024
	ConsoleOut = 2048

	ConsoleInAt    = 0
	ConsoleOutAt   = 1024
	ConsoleInCons  = 3072
	ConsoleInProd  = 3076
	ConsoleOutCons = 3080
	ConsoleOutProd = 3084
)
