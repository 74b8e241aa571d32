package tcp

import (
	"encoding/binary"
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/seqnum"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/waiter"
)

// handClock is a clock that stands still until it is told.
type handClock struct {
	now    time.Duration
	timers []*handTimer
}

type handTimer struct {
	c  *handClock
	at time.Duration
	f  func() // nil: stopped
	do func()
}

func (c *handClock) Now() time.Time { return time.Unix(1, 0).Add(c.now) }

func (c *handClock) NowMonotonic() tcpip.MonotonicTime {
	return tcpip.MonotonicTime{}.Add(c.now + time.Hour)
}

func (c *handClock) AfterFunc(d time.Duration, f func()) tcpip.Timer {
	t := &handTimer{c: c, do: f}
	c.timers = append(c.timers, t)
	t.Reset(d)
	return t
}

func (t *handTimer) Stop() bool { was := t.f != nil; t.f = nil; return was }

func (t *handTimer) Reset(d time.Duration) { t.at, t.f = t.c.now+d, t.do }

// advance lets the time pass, and the timers fire that are due, each at its time.
func (c *handClock) advance(d time.Duration) {
	for end := c.now + d; ; {
		var next *handTimer
		for _, t := range c.timers {
			if t.f != nil && t.at <= end && (next == nil || t.at < next.at) {
				next = t
			}
		}
		if next == nil {
			c.now = end
			return
		}
		c.now = max(c.now, next.at)
		f := next.f
		next.f = nil
		f()
	}
}

// handLink keeps a word of each segment that is sent.
type handLink struct {
	stack.LinkEndpoint
	disp stack.NetworkDispatcher
	sent []string
	fail bool // the next one has no room
}

func (l *handLink) MTU() uint32                             { return 1500 }
func (l *handLink) MaxHeaderLength() uint16                 { return 14 }
func (l *handLink) LinkAddress() tcpip.LinkAddress          { return "\x02\x00\x00\x00\x00\x01" }
func (l *handLink) Attach(d stack.NetworkDispatcher)        { l.disp = d }
func (l *handLink) IsAttached() bool                        { return l.disp != nil }
func (l *handLink) Wait()                                   {}
func (l *handLink) Close()                                  {}
func (l *handLink) SetOnCloseAction(func())                 {}
func (l *handLink) AddHeader(*stack.PacketBuffer)           {}
func (l *handLink) ParseHeader(*stack.PacketBuffer) bool    { return true }
func (l *handLink) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareEther }

func (l *handLink) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityResolutionRequired | stack.CapabilityTXChecksumOffload
}

func (l *handLink) WritePackets(pkts stack.PacketBufferList) (int, tcpip.Error) {
	for _, p := range pkts.AsSlice() {
		h := header.TCP(p.TransportHeader().Slice())
		l.note(h.SequenceNumber(), h.AckNumber(), h.Flags(), h.WindowSize(), h[header.TCPMinimumSize:], p.Data().AsRange().ToSlice())
	}
	return pkts.Len(), l.full()
}

// WriteSegment implements segmentWriter of package stack.
func (l *handLink) WriteSegment(_ *stack.Route, _ tcpip.LinkAddress, _ stack.NetworkHeaderParams, h header.TCPFields, options []byte, data *stack.PacketBuffer, _ stack.GSO) (tcpip.Error, bool) {
	var b []byte
	if data != nil {
		b = data.Data().AsRange().ToSlice()
	}
	l.note(h.SeqNum, h.AckNum, h.Flags, h.WindowSize, options, b)
	return l.full(), true
}

func (l *handLink) full() tcpip.Error {
	if l.fail {
		l.fail = false
		return &tcpip.ErrNoBufferSpace{}
	}
	return nil
}

func (l *handLink) note(seq, ack uint32, flags header.TCPFlags, window uint16, options, data []byte) {
	l.sent = append(l.sent, fmt.Sprintf("%d %d %v %d %x %x", seq, ack, flags, window, options, data))
}

// machine is a stack with one connection, whose peer is the test.
type machine struct {
	clock *handClock
	link  *handLink
	p     *protocol
	e     *Endpoint
	fast  bool
	taken int             // segments that Take took
	once  int             // segments that sendAtOnce sent
	fault func(*Endpoint) // what goes wrong with each of those
}

// traits are what a connection's ends have agreed upon.
type traits struct{ ts, sack, scale bool }

var (
	here  = tcpip.AddrFrom4([4]byte{10, 0, 0, 1})
	there = tcpip.AddrFrom4([4]byte{10, 0, 0, 2})
)

const (
	peerISN   = 4294960000 // wraps soon
	peerClock = 7777       // how far the peer's timestamps are from ours
)

func newMachine(t *testing.T, fast bool, k traits) *machine {
	t.Helper()
	m := &machine{clock: &handClock{}, link: &handLink{}, fast: fast}
	s := stack.New(stack.Options{
		NetworkProtocols: []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol}, TransportProtocols: []stack.TransportProtocolFactory{NewProtocol},
		Clock: m.clock, RandSource: rand.NewSource(1), SecureRNG: rand.New(rand.NewSource(2)), IPTables: &stack.IPTables{},
	})
	t.Cleanup(s.Close)
	must := func(err tcpip.Error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.CreateNIC(1, m.link))
	sack := tcpip.TCPSACKEnabled(k.sack)
	must(s.SetTransportProtocolOption(ProtocolNumber, &sack))
	must(s.SetTransportProtocolOption(ProtocolNumber, &tcpip.TCPReceiveBufferSizeRangeOption{Min: 4096, Default: 16 << 10, Max: 16 << 10}))
	must(s.SetTransportProtocolOption(ProtocolNumber, &tcpip.TCPSendBufferSizeRangeOption{Min: 4096, Default: 16 << 10, Max: 64 << 10}))
	must(s.AddProtocolAddress(1, tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: here.WithPrefix()}, stack.AddressProperties{}))
	s.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: 1}})
	must(s.AddStaticNeighbor(1, ipv4.ProtocolNumber, there, "\x02\x00\x00\x00\x00\x02"))
	m.p = s.TransportProtocolInstance(ProtocolNumber).(*protocol)
	var wq waiter.Queue
	ep, err := s.NewEndpoint(ProtocolNumber, ipv4.ProtocolNumber, &wq)
	must(err)
	m.e = ep.(*Endpoint)
	must(ep.Bind(tcpip.FullAddress{Addr: here, Port: 80}))
	if _, ok := ep.Connect(tcpip.FullAddress{Addr: there, Port: 4000}).(*tcpip.ErrConnectStarted); !ok {
		t.Fatal("no connection was started")
	}
	options := []byte{2, 4, 1448 >> 8, 1448 & 255}
	if k.scale {
		options = append(options, 1, 3, 3, 2)
	}
	if k.sack {
		options = append(options, 1, 1, 4, 2)
	}
	if k.ts {
		options = append(options, 1, 1, 8, 10)
		options = binary.BigEndian.AppendUint32(options, m.e.tsValNow()+peerClock)
		options = binary.BigEndian.AppendUint32(options, m.e.tsValNow())
	}
	m.receive(packet{seq: peerISN, ack: m.e.h.iss + 1, flags: header.TCPFlagSyn | header.TCPFlagAck, window: 4000, options: options})
	if m.e.EndpointState() != StateEstablished || m.e.SendTSOk != k.ts || m.e.SACKPermitted != k.sack {
		t.Fatalf("%v, timestamps %v, SACK %v", m.e.EndpointState(), m.e.SendTSOk, m.e.SACKPermitted)
	}
	return m
}

// packet is what the peer sends.
type packet struct {
	seq, ack seqnum.Value
	flags    header.TCPFlags
	window   uint16
	options  []byte
	data     []byte
}

// receive has the stack process a packet, at once if m is fast and it can be.
func (m *machine) receive(in packet) {
	const link, ip = 14, 20
	transport := header.TCPMinimumSize + len(in.options)
	frame := make([]byte, link+ip+transport, link+ip+transport+len(in.data))
	header.IPv4(frame[link:]).Encode(&header.IPv4Fields{TotalLength: uint16(cap(frame) - link), TTL: 64, Protocol: 6, SrcAddr: there, DstAddr: here})
	h := header.TCP(frame[link+ip:])
	h.Encode(&header.TCPFields{SrcPort: 4000, DstPort: 80, SeqNum: uint32(in.seq), AckNum: uint32(in.ack), DataOffset: uint8(transport), Flags: in.flags, WindowSize: in.window})
	copy(h[header.TCPMinimumSize:], in.options)
	frame = append(frame, in.data...)
	m.p.Begin()
	switch {
	case m.fast && m.p.Take(m.e, h, in.data, len(frame)):
		m.taken++
		m.spoil()
	default:
		m.p.QueueStraight(m.e, buffer.MakeWithData(frame), frame, ipv4.ProtocolNumber, 1, link, ip, transport, true)
	}
	m.p.Work()
}

func (m *machine) spoil() {
	if m.fault != nil {
		m.e.mu.Lock()
		m.fault(m.e)
		m.e.mu.Unlock()
	}
}

// write is WriteSlices, of which a slow machine has the second half alone.
func (m *machine) write(all [][]byte) (n int, err tcpip.Error) {
	if m.fast {
		m.e.LockUser()
		n, ok := m.e.sendAtOnce(all, 0)
		m.e.UnlockUser()
		if ok {
			m.once++
			m.spoil()
			return n, nil
		}
		return m.e.WriteSlices(all, 0)
	}
	m.e.LockUser()
	defer m.e.UnlockUser()
	s, n, err := m.e.queueSlices(all, 0)
	if s != nil {
		m.e.sendData(s)
	}
	return n, err
}

// state is all that decides what the connection does from now on, as text.
func (m *machine) state() string {
	e, b := m.e, &strings.Builder{}
	e.mu.Lock()
	defer e.mu.Unlock()
	fmt.Fprintln(b, e.EndpointState(), e.hardError, e.RecentTS, e.recentTSTime, e.sack.Blocks[:e.sack.NumBlocks], e.RcvBufUsed, e.RcvClosed,
		e.RcvAutoParams, e.receiveMemUsed(), e.owesAck, e.keepalive.unacked, e.segmentQueue.empty(), e.stats.SegmentsReceived.Value(), e.stats.SegmentsSent.Value())
	if s, r := e.snd, e.rcv; s != nil && r != nil {
		fmt.Fprintln(b, "receiver", r.TCPReceiverState, r.rcvWnd, r.rcvWUP, r.prevBufUsed, r.closed, len(r.pendingRcvdSegments), r.lastRcvdAckTime)
		fmt.Fprintf(b, "sender %+v\n", s.TCPSenderState)
		fmt.Fprintln(b, s.firstRetransmittedSegXmitTime, s.zeroWindowProbing, s.unackZeroWindowProbes, s.state, s.spuriousRecovery, s.retransmitTS, s.startCork, s.rtt.TCPRTTState)
		fmt.Fprintf(b, "rack %+v %v %v %v %v\n", s.rc.TCPRACKState, s.rc.exitedRecovery, s.rc.minRTT, s.rc.tlpRxtOut, s.rc.tlpHighRxt)
		fmt.Fprintln(b, "buffer", e.sndQueueInfo.SndBufUsed, e.getSendBufferSize(), e.scoreboard)
		for _, t := range []*timer{&s.resendTimer, &s.probeTimer, &s.reorderTimer, &s.corkTimer, &e.keepalive.timer} {
			if t.enabled() {
				fmt.Fprint(b, "timer ", t.target, " ")
			} else {
				fmt.Fprint(b, "timer off ")
			}
		}
		for seg := s.writeList.Front(); seg != nil; seg = seg.Next() {
			fmt.Fprintln(b, "\nqueued", seg.sequenceNumber, seg.flags, seg.payloadSize(), seg.xmitTime, seg.xmitCount, seg.acked, seg.lost, seg.queued, seg == s.writeNext)
		}
	}
	for seg := e.rcvQueue.Front(); seg != nil; seg = seg.Next() {
		fmt.Fprintf(b, "\nreceived %d", seg.payloadSize())
	}
	return b.String()
}

// twins are two machines to which the same happens, one of which is fast.
type twins struct {
	fast, slow *machine
	words      []string
}

// both does the same to both, and says what differs then.
func (w *twins) both(word string, f func(m *machine) string) error {
	w.words = append(w.words, word)
	a, b := f(w.fast), f(w.slow)
	sa, sb := w.fast.state(), w.slow.state()
	switch {
	case a != b:
		return fmt.Errorf("result %q, want %q", a, b)
	case !slices.Equal(w.fast.link.sent, w.slow.link.sent):
		return fmt.Errorf("sent\n%s\nwant\n%s", strings.Join(w.fast.link.sent, "\n"), strings.Join(w.slow.link.sent, "\n"))
	case sa != sb:
		return fmt.Errorf("state\n%s\nwant\n%s", sa, sb)
	}
	w.fast.link.sent, w.slow.link.sent = nil, nil
	return nil
}
