package tcp

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand"
	"strings"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/seqnum"
)

// script is what a peer and a user do by chance. The peer knows what it would know:
// it follows slow, from which fast must not differ.
type script struct {
	twins
	*rand.Rand
	k      traits
	calm   bool // nothing is lost, or out of order
	next   seqnum.Value
	window uint16
	blocks []header.SACKBlock
}

func newScript(t *testing.T, seed int64) *script {
	r := rand.New(rand.NewSource(seed))
	k := traits{ts: r.Intn(4) > 0, sack: r.Intn(4) > 0, scale: r.Intn(4) > 0}
	return &script{
		twins: twins{fast: newMachine(t, true, k), slow: newMachine(t, false, k)},
		Rand:  r, k: k, calm: seed%3 > 0, next: peerISN + 1, window: 8000,
	}
}

// step is one event.
func (s *script) step() error {
	switch n := s.Intn(100); {
	case n < 45:
		return s.packet()
	case n < 65:
		b := bytes.Repeat([]byte{byte(n)}, 1+s.Intn([]int{20, 1400, 1400, 9000}[s.Intn(4)]))
		full := !s.calm && s.Intn(20) == 0
		return s.both(fmt.Sprintf("write %d, ring full: %v", len(b), full), func(m *machine) string {
			m.link.fail = full
			n, err := m.write([][]byte{b[:len(b)/3], b[len(b)/3:]})
			m.link.fail = false
			return fmt.Sprint(n, err)
		})
	case n < 80:
		size := 1 + s.Intn(3000)
		return s.both(fmt.Sprintf("read %d", size), func(m *machine) string {
			b := make([]byte, size)
			n, err := m.e.ReadSlice(b)
			return fmt.Sprintf("%x %v", b[:n], err)
		})
	case n < 88:
		return s.both("pay", func(m *machine) string { m.p.Pay(); return "" })
	case n < 97:
		d := time.Duration(s.ExpFloat64() * float64(5*time.Millisecond))
		if s.Intn(6) == 0 {
			d *= 100
		}
		return s.both(fmt.Sprintf("wait %v", d), func(m *machine) string { m.clock.advance(d); return "" })
	case n < 99:
		on := s.Intn(2) == 0
		return s.both(fmt.Sprintf("delay %v", on), func(m *machine) string { m.e.ops.SetDelayOption(on); return "" })
	default:
		on := s.Intn(2) == 0
		return s.both(fmt.Sprintf("keepalive %v", on), func(m *machine) string { m.e.ops.SetKeepAlive(on); return "" })
	}
}

// packet is one of the peer: mostly what the connection expects.
func (s *script) packet() error {
	snd, in := s.slow.e.snd, packet{seq: s.next, flags: header.TCPFlagAck, window: s.window}
	in.ack = snd.SndNxt
	if s.Intn(3) > 0 {
		in.data = bytes.Repeat([]byte{byte(s.Intn(256))}, 1+s.Intn([]int{100, 600, 1448}[s.Intn(3)]))
		in.flags |= header.TCPFlagPsh * header.TCPFlags(s.Intn(2))
	}
	switch out := int(snd.SndUna.Size(snd.SndNxt)); {
	case s.Intn(4) == 0:
		in.ack = snd.SndUna.Add(seqnum.Size(s.Intn(out + 1))) // some of it
	case s.Intn(8) == 0:
		in.ack = snd.SndUna
	}
	val := s.slow.e.tsVal(s.slow.clock.NowMonotonic()) + peerClock
	if !s.calm {
		s.disturb(&in, &val)
	}
	if in.seq == s.next && s.Intn(100) > 3 {
		s.next = s.next.Add(seqnum.Size(len(in.data)))
	} // else it was lost on its way to us, or comes again
	if s.k.ts {
		ecr := s.slow.e.tsVal(s.slow.clock.NowMonotonic()) - uint32(s.Intn(3))
		o := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32([]byte{1, 1, 8, 10}, val), ecr)
		in.options = append(o, in.options...)
	}
	word := fmt.Sprintf("packet %d+%d ack %d %v window %d options %x", in.seq, len(in.data), in.ack, in.flags, in.window, in.options)
	return s.both(word, func(m *machine) string { m.receive(in); return "" })
}

// disturb makes of a packet what a connection does not expect, now and then.
func (s *script) disturb(in *packet, val *uint32) {
	snd := s.slow.e.snd
	if s.Intn(6) == 0 {
		s.window = uint16([]int{0, 10, 500, 2000, 8000, 65535}[s.Intn(6)])
		in.window = s.window
	}
	switch s.Intn(24) {
	case 0, 1:
		in.seq = in.seq.Add(seqnum.Size(1 + s.Intn(2000))) // one is missing
	case 2, 3:
		in.seq -= seqnum.Value(s.Intn(3000)) // again
	case 4:
		in.ack -= seqnum.Value(s.Intn(3000))
	case 5:
		in.ack = in.ack.Add(seqnum.Size(s.Intn(3000)))
	case 6, 7, 8:
		if out := int(snd.SndUna.Size(snd.SndNxt)); s.k.sack && out > 100 {
			a, b := s.Intn(out), s.Intn(out)
			in.ack = snd.SndUna
			in.options = []byte{1, 1, 5, 10}
			in.options = binary.BigEndian.AppendUint32(in.options, uint32(snd.SndUna)+uint32(min(a, b)))
			in.options = binary.BigEndian.AppendUint32(in.options, uint32(snd.SndUna)+uint32(max(a, b)+1))
		}
	case 9:
		*val -= 5_000_000 // an old one
	case 10:
		in.options = []byte{1, 1, 1, 1}
	case 11:
		in.flags |= header.TCPFlagUrg
	case 12:
		if s.Intn(40) == 0 {
			in.flags |= []header.TCPFlags{header.TCPFlagFin, header.TCPFlagRst, header.TCPFlagSyn}[s.Intn(3)]
		}
	}
}

// run is a script of n steps, as long as there is a connection. It says where the
// twins begin to differ.
func (s *script) run(n int) error {
	for range n {
		if s.slow.e.EndpointState() != StateEstablished {
			return nil
		}
		if err := s.step(); err != nil {
			return fmt.Errorf("%+v, after %d steps, the last:\n%s\n%w", s.k, len(s.words), strings.Join(s.words[max(0, len(s.words)-12):], "\n"), err)
		}
	}
	return nil
}

// scripts is how many there are.
var scripts = flag.Int("scripts", 100, "number of scripts")

// TestEstablished: what Take and sendAtOnce leave, and send, is what the stack's own
// code does, whatever the peer, the user and the clock do.
func TestEstablished(t *testing.T) {
	taken, once := 0, 0
	for seed := range int64(*scripts) {
		s := newScript(t, seed)
		if err := s.run(250); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		taken, once = taken+s.fast.taken, once+s.fast.once
	}
	if t.Logf("at once: %d segments taken, %d sent", taken, once); taken < 30**scripts || once < 5**scripts {
		t.Error("fewer than there should be")
	}
}

// TestFaults: each thing that could be left wrong is found.
func TestFaults(t *testing.T) {
	for name, fault := range map[string]func(*Endpoint){
		"SndWnd":       func(e *Endpoint) { e.snd.SndWnd-- },
		"RcvAcc":       func(e *Endpoint) { e.rcv.RcvAcc++ },
		"RecentTS":     func(e *Endpoint) { e.RecentTS-- },
		"Outstanding":  func(e *Endpoint) { e.snd.Outstanding++ },
		"cwnd":         func(e *Endpoint) { e.snd.SndCwnd++ },
		"RTO":          func(e *Endpoint) { e.snd.RTO-- },
		"RTT":          func(e *Endpoint) { e.snd.rtt.SRTT++ },
		"RACK":         func(e *Endpoint) { e.snd.rc.RTT++ },
		"FACK":         func(e *Endpoint) { e.snd.rc.FACK++ },
		"DupAckCount":  func(e *Endpoint) { e.snd.DupAckCount++ },
		"resend timer": func(e *Endpoint) { e.snd.resendTimer.enable(time.Hour) },
		"probe timer":  func(e *Endpoint) { e.snd.probeTimer.enable(time.Hour) },
		"keepalive":    func(e *Endpoint) { e.keepalive.unacked++ },
		"send buffer":  func(e *Endpoint) { e.sndQueueInfo.SndBufUsed++ },
		"memory":       func(e *Endpoint) { e.updateReceiveMemUsed(1) },
		"receiver RTT": func(e *Endpoint) { e.RcvAutoParams.RTTMeasureSeqNumber++ },
		"debt":         func(e *Endpoint) { e.owesAck = !e.owesAck },
		"last ACK":     func(e *Endpoint) { e.rcv.lastRcvdAckTime = e.rcv.lastRcvdAckTime.Add(1) },
		"sent ACK":     func(e *Endpoint) { e.snd.sendAck() },
		"write list": func(e *Endpoint) {
			e.snd.writeList.PushBack(newOutgoingSegment(e.ID, e.stack.Clock(), buffer.MakeWithData([]byte{1})))
		},
	} {
		found := false
		for seed := int64(0); seed < 5 && !found; seed++ {
			s := newScript(t, seed)
			s.fast.fault = fault
			found = s.run(100) != nil
		}
		if !found {
			t.Errorf("%s: not found", name)
		}
	}
}
