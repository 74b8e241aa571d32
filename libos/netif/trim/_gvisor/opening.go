package tcp

import "gvisor.dev/gvisor/pkg/tcpip"

// countSyn counts a SYN or SYN-ACK that was sent, or was not for err.
func (e *Endpoint) countSyn(err tcpip.Error) {
	if err != nil {
		e.stats.SendErrors.SynSendToNetworkFailed.Increment()
		return
	}
	e.stats.SegmentsSent.Increment()
}
