package tcp

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/hash/keyed"
	"gvisor.dev/gvisor/pkg/tcpip/internal/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/seqnum"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// generateSecureISN is an initial sequence number by RFC 6528, section 3: a
// keyed hash of the connection, and a clock that ticks every 64 ns.
func generateSecureISN(id stack.TransportEndpointID, clock tcpip.Clock, seed [16]byte) seqnum.Value {
	var room [16 + 2*16 + 4]byte
	b := append(room[:0], seed[:]...)
	b = append(b, id.LocalAddress.AsSlice()...)
	b = append(b, id.RemoteAddress.AsSlice()...)
	b = binary.LittleEndian.AppendUint16(b, id.LocalPort)
	b = binary.LittleEndian.AppendUint16(b, id.RemotePort)
	ticks := uint32(clock.NowMonotonic().Sub(tcpip.MonotonicTime{}).Nanoseconds() >> 6)
	return seqnum.Value(keyed.Sum32(b) + ticks)
}

// tsOffset is what is added to the timestamps of a pair of hosts (RFC 7323,
// section 5.4).
func (p *protocol) tsOffset(src, dst tcpip.Address) tcp.TSOffset {
	var room [16 + 2*16]byte
	b := append(room[:0], p.tsOffsetSecret[:]...)
	b = append(b, src.AsSlice()...)
	b = append(b, dst.AsSlice()...)
	return tcp.NewTSOffset(keyed.Sum32(b))
}
