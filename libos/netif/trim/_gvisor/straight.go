package tcp

import (
	"encoding/binary"
	"io"
	"math"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/seqnum"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// What follows does what the functions of these names without Straight or Slice
// do, for the common case and without what makes them general: packets that are
// cloned to be given away, readers and writers behind interfaces, results with
// the control messages of datagrams. State is only changed by the stack's own
// code.

// timestampsOnly begins the options of a segment that has timestamps and nothing
// else, padded as RFC 7323, appendix A, recommends.
const timestampsOnly = header.TCPOptionNOP<<24 | header.TCPOptionNOP<<16 | header.TCPOptionTS<<8 | header.TCPOptionTSLength

// QueueStraight is QueuePacket for a plain segment of an established connection.
// head is the beginning of frame, of which link, ip and transport bytes are
// headers, options included. verified says that the checksum has been checked.
// It takes over frame and says nothing of what became of it, as QueuePacket.
func (p *protocol) QueueStraight(to stack.TransportEndpoint, frame buffer.Buffer, head []byte, network tcpip.NetworkProtocolNumber, nic tcpip.NICID, link, ip, transport int, verified bool) {
	e := to.(*Endpoint)
	pkt := stack.NewReceived(frame, network, link, ip, transport)
	pkt.NICID, pkt.RXChecksumValidated = nic, verified
	s := newSegment()
	s.pkt = pkt
	s.dataMemSize = pkt.MemSize()
	s.id = e.TransportEndpointInfo.ID
	h := header.TCP(head[link+ip : link+ip+transport])
	if s.id.RemotePort == 0 { // it listens
		s.id, s.foreign = opens(pkt, h), true
	}
	s.options = h[header.TCPMinimumSize:]
	if len(s.options) == header.TCPOptionTSLength+2 && binary.BigEndian.Uint32(s.options) == timestampsOnly {
		s.parsedOptions.TS = true
		s.parsedOptions.TSVal = binary.BigEndian.Uint32(s.options[4:])
		s.parsedOptions.TSEcr = binary.BigEndian.Uint32(s.options[8:])
	} else {
		s.parsedOptions = header.ParseTCPOptions(s.options)
	}
	s.sequenceNumber = seqnum.Value(h.SequenceNumber())
	s.ackNumber = seqnum.Value(h.AckNumber())
	s.flags = h.Flags()
	s.window = seqnum.Size(h.WindowSize())
	s.rcvdTime = p.stack.Clock().NowMonotonic()
	s.csumValid = verified
	if !verified {
		s.csum = pkt.Data().Checksum()
		s.csumValid = h.IsChecksumValid(s.id.RemoteAddress, s.id.LocalAddress, s.csum, uint16(pkt.Data().Size()))
	}
	p.queueSegment(e, s)
	s.DecRef()
}

// queueSegment is the second half of dispatcher.queuePacket.
func (p *protocol) queueSegment(e *Endpoint, s *segment) {
	d := &p.dispatcher
	d.mu.Lock()
	closed := d.closed
	d.mu.Unlock()
	stats := e.stack.Stats()
	switch {
	case closed:
		return
	case !s.csumValid:
		stats.TCP.ChecksumErrors.Increment()
		e.stats.ReceiveErrors.ChecksumErrors.Increment()
		return
	}
	stats.TCP.ValidSegmentsReceived.Increment()
	e.stats.SegmentsReceived.Increment()
	if s.flags&header.TCPFlagRst != 0 {
		stats.TCP.ResetsReceived.Increment()
	}
	if e.enqueueSegment(s) && !e.isOwnedByUser() {
		d.selectProcessor(s.id).queueEndpoint(e)
	}
}

// sendStraight is sendRaw for a segment that goes to the link endpoint at once,
// which copies it: data stays the caller's, and may be nil. The sender's LastSendTime is
// now. It says false, and has done nothing, where the segment must take the way of any
// packet.
//
// +checklocks:e.mu
func (e *Endpoint) sendStraight(data *stack.PacketBuffer, flags header.TCPFlags, seq, ack seqnum.Value, rcvWnd seqnum.Size) (tcpip.Error, bool) {
	if len(e.rcv.pendingRcvdSegments) > 0 { // SACK blocks go with it
		return nil, false
	}
	options := e.options[:0]
	if e.SendTSOk {
		options = e.options[:header.TCPOptionTSLength+2]
		binary.BigEndian.PutUint32(options, timestampsOnly)
		binary.BigEndian.PutUint32(options[4:], e.tsVal(e.snd.LastSendTime))
		binary.BigEndian.PutUint32(options[8:], e.recentTimestamp())
	}
	id := &e.TransportEndpointInfo.ID
	err, ok := writeStraight(e.route, &tcpFields{
		id:     *id,
		ttl:    calculateTTL(e.route, e.ipv4TTL, e.ipv6HopLimit),
		tos:    e.sendTOS,
		flags:  flags,
		seq:    seq,
		ack:    ack,
		rcvWnd: rcvWnd,
		opts:   options,
		df:     e.pmtud == tcpip.PMTUDiscoveryWant || e.pmtud == tcpip.PMTUDiscoveryDo,
	}, data, e.gso)
	switch {
	case !ok:
	case err != nil:
		e.stats.SendErrors.SegmentSendToNetworkFailed.Increment()
	default:
		e.stats.SegmentsSent.Increment()
	}
	return err, ok
}

// writeStraight is sendTCP for the same.
func writeStraight(r *stack.Route, tf *tcpFields, data *stack.PacketBuffer, gso stack.GSO) (tcpip.Error, bool) {
	if gso.Type == stack.GSOGvisor || tf.expOptVal != 0 {
		return nil, false
	}
	err, ok := r.WriteSegment(stack.NetworkHeaderParams{
		Protocol: ProtocolNumber,
		TTL:      tf.ttl,
		TOS:      tf.tos,
		DF:       tf.df,
	}, header.TCPFields{
		SrcPort:    tf.id.LocalPort,
		DstPort:    tf.id.RemotePort,
		SeqNum:     uint32(tf.seq),
		AckNum:     uint32(tf.ack),
		Flags:      tf.flags,
		WindowSize: uint16(min(tf.rcvWnd, math.MaxUint16)),
	}, tf.opts, data, gso)
	switch stats := r.Stats(); {
	case !ok:
	case err != nil:
		stats.TCP.SegmentSendErrors.Increment()
	default:
		stats.TCP.SegmentsSent.Increment()
		if tf.flags&header.TCPFlagRst != 0 {
			stats.TCP.ResetsSent.Increment()
		}
	}
	return err, ok
}

// Read implements tcpip.Endpoint: ReadSlice is there instead.
func (e *Endpoint) Read(io.Writer, tcpip.ReadOptions) (tcpip.ReadResult, tcpip.Error) {
	return tcpip.ReadResult{}, &tcpip.ErrNotSupported{}
}

// Write implements tcpip.Endpoint: WriteSlices is there instead.
func (e *Endpoint) Write(tcpip.Payloader, tcpip.WriteOptions) (int64, tcpip.Error) {
	return 0, &tcpip.ErrNotSupported{}
}

// ReadSlice is generalRead into b, of at least one byte.
func (e *Endpoint) ReadSlice(b []byte) (int, tcpip.Error) {
	e.LockUser()
	defer e.UnlockUser()
	if e.RcvBufUsed == 0 {
		err := e.checkReadLocked()
		if _, ok := err.(*tcpip.ErrClosedForReceive); ok {
			e.stats.ReadErrors.ReadClosed.Increment()
		}
		return 0, err
	}
	n, freed := 0, 0
	for s := e.rcvQueue.Front(); s != nil && n < len(b); s = e.rcvQueue.Front() {
		d := s.pkt.Data()
		if whole := d.First(); whole != nil && len(whole) <= len(b)-n {
			n += copy(b[n:], whole)
		} else if n += d.ReadSlice(b[n:]); d.Size() != 0 {
			break
		}
		e.rcvQueue.Remove(s)
		freed += s.segMemSize()
		e.read(s)
	}
	e.rcvQueueMu.Lock()
	e.RcvBufUsed -= n
	crossed, above := false, false
	if freed > 0 {
		crossed, above = e.windowCrossedACKThresholdLocked(freed, int(e.ops.GetReceiveBufferSize()))
	}
	e.rcvQueueMu.Unlock()
	if crossed && above && e.EndpointState().connected() {
		e.rcv.nonZeroWindow()
	}
	return n, nil
}

// read lets go of a segment that has been read.
func (e *Endpoint) read(s *segment) {
	if s.ep == e && s.qFlags == recvQ && s.ReadRefs() == 1 {
		e.updateReceiveMemUsed(-s.segMemSize())
		s.ep = nil
	}
	e.protocol.dispatcher.processors[0].recycle(s)
}

// writeChunk is the largest piece of memory that data to be sent is copied to.
const writeChunk = 16 << 10

// WriteSlices is generalWrite of what is behind the first skip bytes of all, taken
// together. It says how much there was room for.
func (e *Endpoint) WriteSlices(all [][]byte, skip int) (int, tcpip.Error) {
	e.LockUser()
	defer e.UnlockUser()
	if n, ok := e.sendAtOnce(all, skip); ok {
		return n, nil
	}
	s, n, err := e.queueSlices(all, skip)
	if s != nil {
		e.sendData(s)
	}
	return n, err
}

// queueSlices is queueSegment of the same.
//
// +checklocks:e.mu
func (e *Endpoint) queueSlices(all [][]byte, skip int) (*segment, int, tcpip.Error) {
	e.sndQueueInfo.sndQueueMu.Lock()
	defer e.sndQueueInfo.sndQueueMu.Unlock()
	room, err := e.isEndpointWritableLocked()
	if err != nil {
		e.stats.WriteErrors.WriteClosed.Increment()
		return nil, 0, err
	}
	n := -skip
	for _, b := range all {
		n += len(b)
	}
	n = min(n, room)
	if n <= 0 {
		return nil, 0, nil
	}
	s := newOutgoingSegment(e.TransportEndpointInfo.ID, e.stack.Clock(), copied(all, skip, n))
	e.sndQueueInfo.SndBufUsed += n
	e.snd.writeList.PushBack(s)
	return s, n, nil
}

// copied is a copy of n bytes behind the first skip of all, which has them.
func copied(all [][]byte, skip, n int) (data buffer.Buffer) {
	for n > 0 {
		k := min(n, writeChunk)
		n -= k
		v := buffer.NewView(k)
		for k > 0 {
			b := all[0]
			if skip >= len(b) {
				skip -= len(b)
				all = all[1:]
				continue
			}
			b = b[skip:min(len(b), skip+k)]
			v.Write(b)
			skip += len(b)
			k -= len(b)
		}
		data.Append(v)
	}
	return data
}
