package tcp

import (
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/seqnum"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// sendAtOnce does what queueSlices and sendData do, where that is one segment which
// leaves now: nothing else is queued, and the windows have room for all of it. It says
// false, and has done nothing, where they must. It leaves the endpoint as they would.
//
// +checklocks:e.mu
func (e *Endpoint) sendAtOnce(all [][]byte, skip int) (int, bool) {
	s, n := e.snd, -skip
	for _, b := range all {
		n += len(b)
	}
	if e.EndpointState() != StateEstablished || n <= 0 || n > largeFlat || n > s.MaxPayloadSize ||
		s.writeNext != nil || s.FastRecovery.Active || s.state == tcpip.RTORecovery ||
		e.ops.GetCorkOption() || s.Outstanding > 0 && e.ops.GetDelayOption() {
		return 0, false
	}
	end := s.SndUna.Add(s.SndWnd)
	if s.SndNxt.Size(end) < seqnum.Size(n) || !s.SndNxt.LessThan(end) || s.zeroWindowProbing {
		return 0, false
	}
	now, cwnd := e.stack.Clock().NowMonotonic(), s.SndCwnd
	if cwnd > InitialCwnd && now.Sub(s.LastSendTime) > s.RTO { // RFC 5681, section 4.1
		cwnd = InitialCwnd
	}
	if s.Outstanding >= cwnd || !e.reserve(n) {
		return 0, false
	}
	s.SndCwnd = cwnd
	seg := e.protocol.dispatcher.processors[0].flat(n)
	fill(seg.pkt.Refill(n), all, skip)
	seg.id, seg.dataMemSize = e.TransportEndpointInfo.ID, n+stack.PacketBufferStructSize
	seg.sequenceNumber, seg.flags = s.SndNxt, header.TCPFlagAck|header.TCPFlagPsh
	seg.rcvdTime, seg.xmitTime, seg.xmitCount = now, now, 1
	s.writeList.PushBack(seg)
	err := s.transmit(seg, now)
	if err != nil && !s.resendTimer.enabled() {
		s.resendTimer.enable(s.RTO)
	}
	s.SndNxt = s.SndNxt.Add(seqnum.Size(n))
	s.Outstanding++
	e.keepalive.Lock()
	e.keepalive.timer.disable()
	e.keepalive.Unlock()
	switch {
	case s.shouldSchedulePTO():
		s.schedulePTOAt(now)
	case !s.resendTimer.enabled():
		s.probeTimer.disable()
		s.resendTimer.enableAt(now, s.RTO)
	}
	return n, true
}

// reserve takes n bytes of the send buffer, if it has room.
func (e *Endpoint) reserve(n int) bool {
	q := &e.sndQueueInfo
	q.sndQueueMu.Lock()
	ok := !q.SndClosed && n <= e.getSendBufferSize()-q.SndBufUsed
	if ok {
		q.SndBufUsed += n
	}
	q.sndQueueMu.Unlock()
	return ok
}

// fill copies to b what is behind the first skip bytes of all, which has enough.
func fill(b []byte, all [][]byte, skip int) {
	for _, p := range all {
		if skip >= len(p) {
			skip -= len(p)
			continue
		}
		b = b[copy(b, p[skip:]):]
		skip = 0
	}
}

// transmit is sendSegmentFromPacketBuffer.
//
// +checklocks:s.ep.mu
func (s *sender) transmit(seg *segment, now tcpip.MonotonicTime) tcpip.Error {
	s.LastSendTime = now
	if seg.sequenceNumber == s.RTTMeasureSeqNum {
		s.RTTMeasureTime = now
	}
	ack, window := s.ep.rcv.getSendParams()
	s.MaxSentAck = ack
	if err, ok := s.ep.sendStraight(seg.pkt, seg.flags, seg.sequenceNumber, ack, window); ok {
		return err
	}
	pkt := seg.pkt.Clone()
	defer pkt.DecRef()
	return s.ep.sendRaw(pkt, seg.flags, seg.sequenceNumber, ack, window)
}

// schedulePTOAt is schedulePTO at a time that is known.
//
// +checklocks:s.ep.mu
func (s *sender) schedulePTOAt(now tcpip.MonotonicTime) {
	pto := time.Second
	if r := &s.rtt.TCPRTTState; r.SRTTInited && r.SRTT > 0 {
		pto = r.SRTT * 2
		if s.Outstanding == 1 {
			pto += wcDelayedACKTimeout
		}
	}
	if s.resendTimer.enabled() {
		if now.Add(pto).After(s.resendTimer.target) {
			pto = s.resendTimer.target.Sub(now)
		}
		s.resendTimer.disable()
	}
	s.probeTimer.enableAt(now, pto)
}

// enableAt is enable at a time that is known.
func (t *timer) enableAt(now tcpip.MonotonicTime, d time.Duration) {
	t.target = now.Add(d)
	if t.state == timerStateDisabled || t.target.Before(t.clockTarget) {
		t.clockTarget = t.target
		t.resetOrStart(d)
	}
	t.state = timerStateEnabled
}
