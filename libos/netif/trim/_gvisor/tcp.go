package tcp

import (
	"runtime"

	"gvisor.dev/gvisor/pkg/tcpip/seqnum"
)

// owing are the endpoints of a processor whose last segments are not
// acknowledged yet. Its goroutine alone uses it.
type owing []*Endpoint

// oweAck puts off the acknowledgement of what has just been received until
// those have run who may answer it, since an answer carries it for nothing. It
// says false when the acknowledgement is due at once: RFC 9293, section 3.8.6.3,
// wants one for every second full-sized segment, RFC 5681, section 4.2, one for
// each segment while any is missing, and an end of the connection does not wait.
//
// +checklocks:e.mu
func (e *Endpoint) oweAck() bool {
	if e.EndpointState() != StateEstablished || len(e.rcv.pendingRcvdSegments) > 0 ||
		e.snd.MaxSentAck.Size(e.rcv.RcvNxt) >= 2*seqnum.Size(e.amss) {
		return false
	}
	if !e.owesAck {
		e.owesAck = true
		p := e.protocol.dispatcher.selectProcessor(e.ID)
		p.owing = append(p.owing, e)
	}
	return true
}

// payAcks lets other goroutines run and then sends the acknowledgements that no
// answer has carried. It says whether there was any to send: segments may have
// come meanwhile.
func (p *processor) payAcks() bool {
	if len(p.owing) == 0 {
		return false
	}
	runtime.Gosched()
	for i, e := range p.owing {
		p.owing[i] = nil
		e.mu.Lock()
		e.owesAck = false
		if e.EndpointState().connected() && e.rcv.RcvNxt != e.snd.MaxSentAck {
			e.snd.sendAck()
		}
		e.mu.Unlock()
	}
	p.owing = p.owing[:0]
	return true
}
