package gate

import "unsafe"

// Hypercalls that the gate makes (public/xen.h, sched.h, event_channel.h), and
// places in the shared info page of x86-64.
const (
	hyperSched      = 29
	hyperEvent      = 32
	schedShutdown   = 2
	schedPoll       = 3
	shutdownOff     = 0
	shutdownReboot  = 1
	shutdownSuspend = 2
	shutdownCrash   = 3
	eventClose      = 3
	eventSend       = 4
	eventAlloc      = 6
	domSelf         = 0x7ff0
	sharedPending   = 2048 // evtchn_pending
	sharedMask      = 2560 // evtchn_mask
	sharedWords     = 64
	consoleOut      = 1024 // xencons_interface: out ring,
	consoleCons     = 3080 // its consumer
	consoleProd     = 3084 // and its producer index
	consoleSize     = 2048
	maxPoll         = 16
	maxPort         = 63
	noSpace         = 28     // ENOSPC
	grantBusy       = 3 << 3 // GTF_reading, GTF_writing (public/grant_table.h)
	debugPort       = 0xe9
)

// FirstRef is the first grant reference that is not reserved.
const FirstRef = 8

// Xen is the part of Data that the gate on Xen uses.
type Xen struct {
	Shared      uint64 // shared info page
	Console     uint64 // console ring page
	Grants      uint64 // grant table
	Backend     uint64 // domain that gets the grants and may bind ports
	RingFrame   uint64 // frame of the first ring page
	NRings      uint64
	IOFrame     uint64 // frame of the first I/O page
	NIO         uint64
	TimerPort   uint64
	StorePort   uint64
	ConsolePort uint64
	Ports       uint64 // bit set: ports that ring 3 may notify
	Own         uint64 // of those, the ones from GateAlloc
	Boot        uint64 // set-up is run by boot, not after a restore
	Poll        Poll
	PollPorts   [maxPoll]uint32
	Arg         [32]byte // argument of the hypercall being made
	NCalls      uint64
	Calls       [16]Call
}

// Poll is struct sched_poll (public/sched.h).
type Poll struct {
	Ports   uint64 // address of PollPorts
	N       uint32
	_       uint32
	Timeout uint64 // system time in ns; 0: none
}

// Call is one hypercall of the set-up, which runs at boot and again in a
// restored VM.
type Call struct {
	Nr     uint32
	Op     uint32
	VCPU   uint32 // 1: the argument comes third, after the number of the vCPU (0)
	Offset uint32 // of the result in the argument
	Result uint64 // where the result goes, 32 bits extended to 64; 0: nowhere
	Arg    [24]byte
}

var (
	_ [48]byte = [unsafe.Sizeof(Call{})]byte{}
	_ [24]byte = [unsafe.Sizeof(Poll{})]byte{}
)

// Add appends a hypercall to the set-up; false when there is no room. arg is up
// to three words.
func (x *Xen) Add(nr, op, vcpu uint32, offset uint32, result uint64, arg [3]uint64) bool {
	if x.NCalls >= uint64(len(x.Calls)) {
		return false
	}
	c := &x.Calls[x.NCalls]
	x.NCalls++
	c.Nr, c.Op, c.VCPU, c.Offset, c.Result = nr, op, vcpu, offset, result
	for i, w := range arg {
		for k := 0; k < 8; k++ {
			c.Arg[8*i+k] = byte(w >> (8 * k))
		}
	}
	return true
}
