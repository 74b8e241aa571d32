package tcp

import (
	"encoding/binary"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/seqnum"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/waiter"
)

// What follows does at once what queueing a segment, handleSegmentsLocked and all
// that it calls do, for the segment that an established connection expects: the
// next one in order, of a peer that has lost nothing, with nothing but timestamps
// among its options. It leaves the endpoint as they would; a test compares them
// (tools/mkoverlay, TestEstablished).

// predicted is what such a segment says.
type predicted struct {
	seq, ack seqnum.Value
	window   seqnum.Size // scaled
	val, ecr uint32      // timestamps, if the connection has them
	size     seqnum.Size // of the data
	memory   int         // that the segment would take in a queue, in bytes
}

// Take processes a segment for an endpoint at once. h is its header with all
// options, data what follows, whose checksum has been checked; frame is the length
// of all in bytes, headers included. It says false, and has done nothing, for a
// segment that must be queued. It does not block and keeps nothing of what it is
// given. It is called between Begin and Work, by the goroutine that calls those.
func (p *protocol) Take(to stack.TransportEndpoint, h, data []byte, frame int) bool {
	e := to.(*Endpoint)
	if len(data) > largeFlat || !e.mu.TryLock() {
		return false
	}
	t := &p.dispatcher.processors[0].turn
	in, ok := e.predict(header.TCP(h), len(data))
	if !ok {
		e.mu.Unlock()
		return false
	}
	e.stack.Stats().TCP.ValidSegmentsReceived.Increment()
	e.stats.SegmentsReceived.Increment()
	e.rcv.lastRcvdAckTime = t.now
	in.memory = segSize + frame + stack.PacketBufferStructSize
	if in.size > 0 {
		s := t.flat(len(data))
		copy(s.pkt.Refill(len(data)), data)
		s.dataMemSize = frame + stack.PacketBufferStructSize
		e.deliver(s, &in, t.now)
	}
	e.acknowledged(&in, t)
	if e.rcv.RcvNxt != e.snd.MaxSentAck {
		e.takenAck(t)
	}
	e.mu.Unlock()
	if in.size > 0 {
		e.waiterQueue.Notify(waiter.ReadableEvents)
	}
	return true
}

// predict reads the header of a segment with size bytes of data, and says whether
// it is what the endpoint expects.
//
// +checklocks:e.mu
func (e *Endpoint) predict(h header.TCP, size int) (in predicted, ok bool) {
	if e.EndpointState() != StateEstablished || h[header.TCPFlagsOffset]&^uint8(header.TCPFlagPsh) != uint8(header.TCPFlagAck) {
		return in, false
	}
	r, s := e.rcv, e.snd
	in.seq, in.ack = seqnum.Value(h.SequenceNumber()), seqnum.Value(h.AckNumber())
	in.window, in.size = seqnum.Size(h.WindowSize())<<s.SndWndScale, seqnum.Size(size)
	switch {
	case in.seq != r.RcvNxt || in.size > r.RcvNxt.Size(r.RcvAcc) || len(r.pendingRcvdSegments) > 0 || e.sack.NumBlocks > 0,
		r.closed || e.RcvClosed || !r.acceptable(in.seq, in.size),
		e.receiveMemUsed() > int(e.ops.GetReceiveBufferSize()),
		in.window == 0 || s.zeroWindowProbing,
		s.FastRecovery.Active || s.state != tcpip.Open || s.rc.tlpRxtOut || !e.scoreboard.Empty(),
		s.SndUna.Size(in.ack) > s.SndUna.Size(s.SndNxt),
		!e.SACKPermitted && size == 0 && in.ack == s.SndUna && s.SndUna != s.SndNxt: // it may be a duplicate
		return in, false
	}
	if options := h[header.TCPMinimumSize:]; e.SendTSOk {
		if len(options) != header.TCPOptionTSLength+2 || binary.BigEndian.Uint32(options) != timestampsOnly {
			return in, false
		}
		in.val, in.ecr = binary.BigEndian.Uint32(options[4:]), binary.BigEndian.Uint32(options[8:])
		if int32(in.val-e.RecentTS) < 0 { // RFC 7323, section 5.3
			return in, false
		}
	} else if len(options) > 0 {
		return in, false
	}
	// What was sent twice, or lost, takes more.
	for seg := s.writeList.Front(); seg != nil && seg.xmitCount > 0; seg = seg.Next() {
		if seg.xmitCount > 1 || seg.acked || seg.lost {
			return in, false
		}
		if in.ack.LessThanEq(seg.sequenceNumber.Add(seqnum.Size(seg.payloadSize()))) {
			break
		}
	}
	e.segmentQueue.mu.Lock()
	ok = e.segmentQueue.emptyLocked() && !e.segmentQueue.frozen
	e.segmentQueue.mu.Unlock()
	return in, ok
}

// deliver queues data for the reader.
//
// +checklocks:e.mu
func (e *Endpoint) deliver(s *segment, in *predicted, now tcpip.MonotonicTime) {
	r := e.rcv
	s.setOwner(e, recvQ)
	r.RcvNxt = r.RcvNxt.Add(in.size)
	if r.RcvAcc.LessThan(r.RcvNxt) {
		r.RcvAcc = r.RcvNxt
	}
	e.rcvQueueMu.Lock()
	e.RcvBufUsed += int(in.size)
	e.rcvQueue.PushBack(s)
	// receiver.updateRTT
	switch a := &e.RcvAutoParams; {
	case a.RTTMeasureTime == tcpip.MonotonicTime{}:
		a.RTTMeasureTime, a.RTTMeasureSeqNumber = now, r.RcvNxt.Add(r.rcvWnd)
	case !r.RcvNxt.LessThan(a.RTTMeasureSeqNumber):
		if rtt := now.Sub(a.RTTMeasureTime); a.RTT == 0 || rtt < a.RTT {
			a.RTT = rtt
		}
		a.RTTMeasureTime, a.RTTMeasureSeqNumber = now, r.RcvNxt.Add(r.rcvWnd)
	}
	e.rcvQueueMu.Unlock()
}

// acknowledged is sender.handleRcvdSegment, and what handleSegmentsLocked does after
// it but for our own acknowledgement.
//
// +checklocks:e.mu
func (e *Endpoint) acknowledged(in *predicted, t *turn) {
	s, rack := e.snd, e.SACKPermitted && e.tcpRecovery&tcpip.TCPRACKLossDetection != 0
	rtt := unknownRTT
	if in.size == 0 { // it is counted while it is looked at
		e.updateReceiveMemUsed(in.memory)
		defer e.updateReceiveMemUsed(-in.memory)
	}
	switch {
	case e.SendTSOk:
		if e.RecentTS != in.val && in.seq.LessThanEq(s.MaxSentAck) {
			e.RecentTS, e.recentTSTime = in.val, t.now
		}
	case s.RTTMeasureSeqNum.LessThan(in.ack):
		rtt = t.now.Sub(s.RTTMeasureTime)
		s.updateRTO(rtt)
		s.RTTMeasureSeqNum = s.SndNxt
	}
	if rack {
		s.rc.DSACKSeen = false
	}
	if !rack || !s.rc.Reord {
		s.DupAckCount = 0
	}
	s.SndWnd = in.window
	if in.ack != s.SndUna {
		s.advance(in, rtt, rack, t)
		if t.now.Sub(e.confirmed) >= confirmEvery {
			e.confirmed = t.now
			e.route.ConfirmReachable()
		}
	}
	if rack {
		s.rc.updateRACKReorderWindow()
		if s.SndUna != s.SndNxt && s.rc.detectLoss(t.now) > 0 {
			s.cc.HandleLossDetected()
			s.enterRecovery()
			s.rc.DoRecovery(nil, true)
		}
	}
	if s.writeNext != nil || s.SndUna != s.SndNxt {
		s.sendData()
	} else if s.SndCwnd > InitialCwnd && t.now.Sub(s.LastSendTime) > s.RTO {
		s.SndCwnd = InitialCwnd
	}
	if e.ops.GetKeepAlive() {
		e.resetKeepaliveTimer(true)
		return
	}
	e.keepalive.Lock()
	e.keepalive.unacked = 0
	e.keepalive.timer.disable()
	e.keepalive.Unlock()
}

// advance is what an acknowledgement of new data does.
//
// +checklocks:s.ep.mu
func (s *sender) advance(in *predicted, rtt time.Duration, rack bool, t *turn) {
	e, all := s.ep, in.ack == s.SndNxt
	s.DupAckCount = 0
	if e.SendTSOk && in.ecr != 0 {
		rtt = e.elapsed(t.now, in.ecr)
		s.updateRTO(rtt)
	}
	switch {
	case all: // none is needed
		s.resendTimer.disable()
		s.probeTimer.disable()
	case s.shouldSchedulePTO():
		s.schedulePTO()
	default:
		s.probeTimer.disable()
		s.resendTimer.enable(s.RTO)
	}
	size := s.SndUna.Size(in.ack)
	s.SndUna = in.ack
	outstanding := s.Outstanding
	for left := size; left > 0; {
		seg := s.writeList.Front()
		n, count := seqnum.Size(seg.payloadSize()), s.pCount(seg, s.MaxPayloadSize)
		if n > left {
			seg.TrimFront(left)
			seg.sequenceNumber.UpdateForward(left)
			s.Outstanding -= count - s.pCount(seg, s.MaxPayloadSize)
			break
		}
		if rack {
			s.rc.passed(seg, t.now)
		}
		if s.writeNext == seg {
			s.updateWriteNext(seg.Next())
		}
		s.writeList.Remove(seg)
		s.Outstanding -= count
		t.recycle(seg)
		left -= n
	}
	s.cc.Update(outstanding-s.Outstanding, rtt)
	if s.FastRecovery.Last.LessThan(s.SndUna) {
		if e.tcpRecovery&tcpip.TCPRACKLossDetection != 0 {
			s.rc.exitRecovery()
		}
		s.reorderTimer.disable()
	}
	e.updateSndBufferUsage(int(size))
	if s.Outstanding < 0 || all {
		s.Outstanding = 0
	}
	if all {
		s.firstRetransmittedSegXmitTime = tcpip.MonotonicTime{}
	}
}

// passed is update and detectReorder for a segment that was sent once.
func (rc *rackControl) passed(seg *segment, now tcpip.MonotonicTime) {
	rc.RTT = now.Sub(seg.xmitTime)
	if rc.RTT < rc.minRTT || rc.minRTT == 0 {
		rc.minRTT = rc.RTT
	}
	end := seg.sequenceNumber.Add(seqnum.Size(seg.payloadSize()))
	if rc.XmitTime.Before(seg.xmitTime) || seg.xmitTime == rc.XmitTime && rc.EndSequence.LessThan(end) {
		rc.XmitTime, rc.EndSequence = seg.xmitTime, end
	}
	rc.detectReorder(seg)
}
