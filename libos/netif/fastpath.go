package netif

import (
	"net/netip"

	"ampoule/libos/device"
)

// Verdict is what becomes of a frame that the fast path has seen.
type Verdict uint8

const (
	Pass  Verdict = iota // hand it to the stack, unchanged
	Drop                 // forget it
	Reply                // send it back as it now is
)

// FastPath sees every received frame ahead of the stack.
//
// Frame is called by the receiving goroutine, one frame at a time, and must
// not block or allocate. The frame is the device's memory, so everything in it
// is hostile and may even change between two reads. It is lent for the call. With Reply the
// hook has rewritten the frame in place, addresses and checksums included, and
// has set Meta for sending (the zero Meta: complete as it stands) and the
// window to the frame's length; the replies of a burst go out together.
//
// Frame must leave the NetInfo.HeadRoom bytes in front of the window alone and
// may not chain other pages.
type FastPath interface {
	Frame(f *device.Frame) Verdict
}

// Relinker is a FastPath that wants to know when the device has another MAC
// address. Relink is called by the receiving goroutine between two frames.
type Relinker interface {
	Relink(device.NetInfo)
}

// Readdresser is a FastPath that must know our addresses. SetAddresses is called
// when it is put ahead of the stack and whenever they have changed, by any
// goroutine, also while Frame runs.
type Readdresser interface {
	FastPath
	SetAddresses([]netip.Prefix)
}
