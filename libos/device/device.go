// Package device says what a driver offers to the library OS.
//
// Interfaces live here, implementations in drivers/..., and devicetest holds
// the conformance suite that every implementation runs.
package device

import (
	"errors"
	"io"

	"ampoule/libos/event"
	"ampoule/libos/iopage"
)

var (
	// ErrAgain says that the call would block; wait for Ready and call again.
	ErrAgain = errors.New("device: would block")
	// ErrGone says that the device or its backend does not answer or broke
	// the protocol. The device is out of use until it comes back, if it ever
	// does.
	ErrGone = errors.New("device: gone")
)

// Device is what all devices have in common.
type Device interface {
	// Name is unique in the machine: "net0".
	Name() string
	io.Closer
}

// Net moves Ethernet frames. No method blocks. Each direction may be used by
// one goroutine at a time; the two directions are independent.
type Net interface {
	Device
	Info() NetInfo
	// Alloc gives an I/O page for a frame to send, with HeadRoom bytes left
	// free in front of the window. The caller owns it. It fails with ErrAgain
	// when all pages are in use.
	Alloc() (*iopage.Buf, error)
	// Send queues frames in order and tells the device once. The driver owns
	// frames[:n]; frames[n:] stay the caller's. err is nil when n is
	// len(frames), ErrAgain when the ring is full, ErrGone, or says which
	// frame is malformed.
	Send(frames []Frame) (n int, err error)
	// Recv takes up to len(frames) received frames. The caller owns
	// frames[:n] and must Release each Buf. ErrAgain comes with n == 0.
	Recv(frames []Frame) (n int, err error)
	// Ready is ready when Recv may return frames.
	Ready() *event.Source
}

// Chainer is what a Net offers besides when it gives all pages of a frame at once.
type Chainer interface {
	// AllocChain is Alloc for n bytes, at least one: as many pages as they take,
	// chained, with windows of n bytes together. It gives all of them or none.
	AllocChain(n int) (*iopage.Buf, error)
}

// TxReady is what a Net offers besides when a sender can wait for room.
type TxReady interface {
	// TxReady is ready when it is worth trying again a Send or an Alloc that
	// answered ErrAgain. Only the goroutine that sends may wait on it, and
	// only after such an answer: it is not ready otherwise.
	TxReady() *event.Source
}

// Turner is what a Net offers besides when it can answer frames itself: Recv and Send
// in one pass, for a FastPath.
type Turner interface {
	// Turn takes up to len(frames) received frames and shows each to fast. Those it
	// passes are in frames then, as from Recv, those it drops are forgotten, and those
	// it replies to are sent, or lost if there is no room. ErrAgain says that there
	// was no frame. The caller that recovers from a panic of fast must call Abandon.
	// Others may Send meanwhile.
	Turn(fast FastPath, frames []Frame) (Turned, error)
	// Abandon ends a Turn whose fast path panicked, if there is one. It is given the
	// same frames. The frame that fast had is lost, and those that it passed before.
	Abandon(frames []Frame)
}

// Turned is what became of the frames of a Turn.
type Turned struct {
	Passed, Replied, Dropped int
	Lost                     int // replies that could not be sent
}

// FastPath is shown received frames one at a time.
//
// Frame must not block, allocate or call the device. The frame is the device's
// memory, so everything in it is hostile and may even change between two reads. It is
// lent for the call. With Reply the hook has rewritten the frame in place, addresses
// and checksums included, and has set Meta for sending (the zero Meta: complete as it
// stands) and the window to the frame's length; the replies of a burst go out
// together.
//
// Frame must leave the NetInfo.HeadRoom bytes in front of the window alone and
// may not chain other pages.
type FastPath interface {
	Frame(f *Frame) Verdict
}

// Verdict is what becomes of a frame that a FastPath has seen.
type Verdict uint8

const (
	Pass  Verdict = iota // hand it out, unchanged
	Drop                 // forget it
	Reply                // send it back as it now is
)

// NetInfo does not change while the device lives, but for the MAC address.
type NetInfo struct {
	MAC      [6]byte // another one, maybe, when a device that Returns is back
	MTU      int     // bytes of an Ethernet payload
	HeadRoom int     // bytes that the driver needs free before a frame's first byte
	Offload  Feature
	Batch    int  // a good number of frames for one Send or Recv
	Returns  bool // the backend may go and come back: ErrGone is not the end
	// Constants is memory that the device can read besides I/O pages: frames to send may
	// end in a piece of it (iopage.Buf.SetTail). It is empty where there is none.
	Constants string
}

// Feature is a set of offloads.
type Feature uint32

const (
	TxChecksum Feature = 1 << iota // the device completes a partial checksum
	RxChecksum                     // received frames may come with ChecksumOK or ChecksumPartial
	TSO4                           // the device cuts a large TCP segment over IPv4
	TSO6                           // and over IPv6
	LRO4                           // received frames may be larger than the MTU (TCP over IPv4)
	LRO6                           // (TCP over IPv6)
)

// Frame is one Ethernet frame: a chain of I/O pages, when it is to be sent maybe with a
// tail behind it, and what is known of its checksum and segmentation. It is passed by value and holds no other state.
type Frame struct {
	Buf *iopage.Buf // the chain's head; the rest follows by Next
	Meta
}

// Meta is the part of struct virtio_net_hdr, and of Xen's netif extra info,
// that both know.
type Meta struct {
	State       ChecksumState
	GSO         GSOType
	CsumStart   uint16 // ChecksumPartial: where summing starts, from the frame's first byte
	CsumOffset  uint16 // where the sum goes, from CsumStart
	HeaderLen   uint16 // GSO: bytes of link, network and transport header
	SegmentSize uint16 // GSO: payload bytes of a segment
}

// ChecksumState says what is known of a frame's transport checksum.
type ChecksumState uint8

const (
	ChecksumNone    ChecksumState = iota // complete in the frame when sent, unknown when received
	ChecksumPartial                      // the field holds the pseudo-header's sum only
	ChecksumOK                           // received and verified by the device
)

// GSOType says how a frame larger than the MTU is cut into segments.
type GSOType uint8

const (
	GSONone GSOType = iota
	GSOTCP4
	GSOTCP6
)
