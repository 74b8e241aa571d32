package netif

import (
	"net/netip"

	"ampoule/libos/device"
)

// FastPath sees every received frame ahead of the stack, in the receiving goroutine.
type FastPath = device.FastPath

// Verdict is what becomes of a frame that the fast path has seen: the stack's is what
// it passes.
type Verdict = device.Verdict

const (
	Pass  = device.Pass
	Drop  = device.Drop
	Reply = device.Reply
)

// Relinker is a FastPath that wants to know when the device has another MAC
// address. Relink is called by the receiving goroutine between two frames.
type Relinker interface {
	Relink(device.NetInfo)
}

// Burster is a FastPath that may want to know when a burst of frames begins. Burst
// returns what the receiving goroutine is to call then, or nil; that must not block or
// allocate.
type Burster interface {
	FastPath
	Burst() func()
}

// Readdresser is a FastPath that must know our addresses. SetAddresses is called
// when it is put ahead of the stack and whenever they have changed, by any
// goroutine, also while Frame runs.
type Readdresser interface {
	FastPath
	SetAddresses([]netip.Prefix)
}
