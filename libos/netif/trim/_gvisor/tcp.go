package tcp

import (
	"runtime"
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/seqnum"
)

// turn is what makes a processor's work that of one goroutine at a time: its own,
// or the one that receives (Begin).
type turn struct {
	// polled says that the goroutine that receives will work when it has
	// received, so that nobody need wake the processor's.
	polled atomic.Bool

	mu sync.Mutex // held by who works; locks of endpoints come after it
	// owing are the endpoints whose last segments are not acknowledged yet.
	owing []*Endpoint
	late  lateAcks

	// Of the goroutine that receives.
	now   tcpip.MonotonicTime // when Begin was called
	taken []*Endpoint         // those that owe for what Take took

	flats
}

// Begin and Work are called by the one goroutine that receives, before and after
// it has queued what has come: the segments are processed in Work, which spares
// the way to the processor's goroutine and back. In between segments may be queued by
// any goroutine. Pay is for after those have run whom the segments were for.
//
// What is queued by a goroutine that saw polled set was queued before Work
// cleared it, and Work looks once more after that: nothing is left lying.
func (p *protocol) Begin() {
	t := &p.dispatcher.processors[0].turn
	t.polled.Store(true)
	t.now = p.stack.Clock().NowMonotonic()
}

// Work processes what is queued. Whatever it cannot, because the processor's
// goroutine is about it, is left to that one.
func (p *protocol) Work() {
	q := &p.dispatcher.processors[0]
	if q.turn.mu.TryLock() {
		q.work()
		q.turn.mu.Unlock()
	}
	q.polled.Store(false)
	if !q.epQ.empty() {
		q.newEndpointWaker.Assert()
	}
}

// Owes says whether there is an acknowledgement to be sent that no answer has carried.
func (p *protocol) Owes() bool {
	q := &p.dispatcher.processors[0]
	q.turn.mu.Lock()
	defer q.turn.mu.Unlock()
	q.taken = q.owes(q.taken, false)
	return len(q.taken)+len(q.owing) > 0
}

// Pay sends the acknowledgements that no answer has carried.
func (p *protocol) Pay() {
	q := &p.dispatcher.processors[0]
	q.turn.mu.Lock()
	q.taken = q.owes(q.taken, true)
	q.turn.mu.Unlock()
	q.pay()
}

// run is what the processor's goroutine does when it is woken for endpoints.
func (p *processor) run() {
	p.turn.mu.Lock()
	p.work()
	owes := len(p.owing) > 0
	p.turn.mu.Unlock()
	if owes {
		runtime.Gosched()
		p.pay()
	}
}

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

// takenAck is what becomes of the acknowledgement of what Take has taken.
//
// +checklocks:e.mu
func (e *Endpoint) takenAck(t *turn) {
	switch {
	case e.snd.MaxSentAck.Size(e.rcv.RcvNxt) >= 2*seqnum.Size(e.amss):
		e.snd.sendAck()
	case !e.owesAck:
		e.owesAck = true
		t.taken = append(t.taken, e)
	}
}

// pay sends the acknowledgements that are owed and not put off.
func (p *processor) pay() {
	p.turn.mu.Lock()
	defer p.turn.mu.Unlock()
	p.owing = p.owes(p.owing, true)
}

// owes is the rest of all that still owes an acknowledgement which is not put off, after
// it has been sent where pay says so.
//
// +checklocks:p.turn.mu
func (p *processor) owes(all []*Endpoint, pay bool) []*Endpoint {
	n := 0
	for i, e := range all {
		all[i] = nil
		e.mu.Lock()
		owes := e.EndpointState().connected() && e.rcv.RcvNxt != e.snd.MaxSentAck && !p.putOff(e)
		if owes && pay {
			e.snd.sendAck()
			e.owed.paid()
		}
		if e.owesAck = owes && !pay; e.owesAck {
			all[n] = e
			n++
		}
		e.mu.Unlock()
	}
	return all[:n]
}
