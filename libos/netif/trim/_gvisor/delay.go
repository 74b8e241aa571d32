package tcp

import (
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/seqnum"
)

// A relay answers only when somebody else has answered it. Its connections may owe an
// acknowledgement for longer than the burst in which a segment came (RFC 9293, section
// 3.8.6.3): for one to two ticks, which is far below the 500 ms that are allowed and below
// any sender's time-out, so that the answer carries it if it comes soon. Senders that
// hold back a second small segment until the first is acknowledged (Nagle) would lose
// that time with each request: after an acknowledgement that no answer has carried, the
// next ones are not put off.

// ackTick is how long an acknowledgement is owed at least, and half of the most.
const ackTick = 20 * time.Millisecond

// promptAcks is how many acknowledgements are not put off after one that was in vain.
const promptAcks = 16

// ackDelay is what an endpoint has for it, guarded by Endpoint.mu.
type ackDelay struct {
	wanted bool
	listed bool         // in lateAcks.list
	prompt uint8        // acknowledgements that are not put off
	since  uint32       // the tick in which sent was owed first
	sent   seqnum.Value // what had been acknowledged then
}

// lateAcks are the endpoints that have put off acknowledgements, and may have sent them
// with something else since. turn.mu guards it.
type lateAcks struct {
	list  []*Endpoint
	timer tcpip.Timer
	armed bool
	tick  uint32
}

// DelayAcks lets acknowledgements wait for an answer that does not come at once.
func (e *Endpoint) DelayAcks() {
	e.LockUser()
	defer e.UnlockUser()
	e.owed.wanted = true
}

// putOff says whether the acknowledgement that e owes waits for an answer.
//
// +checklocks:e.mu
// +checklocks:p.turn.mu
func (p *processor) putOff(e *Endpoint) bool {
	d := &e.owed
	if !d.wanted || d.prompt > 0 || e.EndpointState() != StateEstablished {
		return false
	}
	if !d.listed {
		d.listed = true
		p.late.list = append(p.late.list, e)
		d.since, d.sent = p.late.tick, e.snd.MaxSentAck
	} else if d.sent != e.snd.MaxSentAck {
		d.since, d.sent = p.late.tick, e.snd.MaxSentAck
	}
	p.arm(e)
	return true
}

// paid says that an acknowledgement was sent by itself.
func (d *ackDelay) paid() {
	if d.prompt > 0 {
		d.prompt--
	}
}

// arm has the next tick come. While nothing is owed there are none.
//
// +checklocks:p.turn.mu
func (p *processor) arm(e *Endpoint) {
	l := &p.late
	switch {
	case l.armed:
		return
	case l.timer == nil:
		l.timer = e.stack.Clock().AfterFunc(ackTick, p.payLate)
	default:
		l.timer.Reset(ackTick)
	}
	l.armed = true
}

// payLate sends what has been owed for a tick or more.
func (p *processor) payLate() {
	p.turn.mu.Lock()
	defer p.turn.mu.Unlock()
	l := &p.late
	l.armed = false
	l.tick++
	kept := l.list[:0]
	for _, e := range l.list {
		e.mu.Lock()
		d := &e.owed
		switch {
		case !e.EndpointState().connected() || e.rcv.RcvNxt == e.snd.MaxSentAck:
			d.listed = false
		case d.sent != e.snd.MaxSentAck || l.tick-d.since < 2:
			kept = append(kept, e)
		default:
			d.listed = false
			d.prompt = promptAcks
			e.snd.sendAck()
		}
		e.mu.Unlock()
	}
	clear(l.list[len(kept):])
	if l.list = kept; len(kept) > 0 {
		p.arm(kept[0])
	}
}
