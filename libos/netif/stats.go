package netif

import "sync/atomic"

// Stats counts since New.
type Stats struct {
	RxFrames     uint64 // taken from the device
	RxInvalid    uint64 // dropped: malformed, or of no known type
	RxFragments  uint64 // dropped: IP fragments
	RxForeign    uint64 // dropped: for another station
	RxUnresolved uint64 // dropped: the sender's link address is still being asked for
	RxNoMemory   uint64 // dropped: memory was short
	FastReplied  uint64 // answered by the fast path
	FastDropped  uint64 // dropped by the fast path
	TxFrames     uint64 // given to the device by the stack
	TxDropped    uint64 // the ring stayed full, or no page was free
	TxInvalid    uint64 // larger than the MTU, or a fragment
	Panics       uint64 // of the stack or the fast path on a received packet
	UDPDropped   uint64 // datagrams that a socket had no room for
	Refused      uint64 // TCP connections beyond Limits.MaxConns
	Conns        int    // TCP connections that exist now
	Gone         bool   // the device does not answer any more
}

type counters struct {
	rxFrames, rxInvalid, rxFragments, rxForeign atomic.Uint64
	rxUnresolved, fastReplied, fastDropped      atomic.Uint64
	rxNoMemory                                  atomic.Uint64
	txFrames, txDropped, txInvalid              atomic.Uint64
	panics, refused, udpDropped                 atomic.Uint64
	conns                                       atomic.Int64
	gone                                        atomic.Bool
}

// Stats reads all counters. They are read one by one, not at one instant.
func (s *Stack) Stats() Stats {
	c := &s.link.count
	return Stats{
		RxFrames: c.rxFrames.Load(), RxInvalid: c.rxInvalid.Load(),
		RxUnresolved: c.rxUnresolved.Load(), RxNoMemory: c.rxNoMemory.Load(),
		RxFragments: c.rxFragments.Load(), RxForeign: c.rxForeign.Load(),
		FastReplied: c.fastReplied.Load(), FastDropped: c.fastDropped.Load(),
		TxFrames: c.txFrames.Load(), TxDropped: c.txDropped.Load(),
		TxInvalid: c.txInvalid.Load(), Panics: c.panics.Load(),
		UDPDropped: c.udpDropped.Load(), Refused: c.refused.Load(), Conns: int(c.conns.Load()), Gone: c.gone.Load(),
	}
}
