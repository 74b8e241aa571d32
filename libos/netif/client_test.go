package netif

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// client is one TCP connection of a host's, made of single segments.
type client struct {
	*host
	src       string
	from      uint16
	seq, next uint32 // of ours, of the stack's
	options   []byte // of the SYN
	ended     bool   // the data that came last had FIN
}

const (
	flagSyn    = header.TCPFlagSyn
	flagSynAck = header.TCPFlagSyn | header.TCPFlagAck
	flagAck    = header.TCPFlagAck
	flagFin    = header.TCPFlagFin | header.TCPFlagAck
	flagPsh    = header.TCPFlagPsh | header.TCPFlagAck
	flagRst    = header.TCPFlagRst
)

// raw injects a segment and leaves c as it is.
func (c *client) raw(flags header.TCPFlags, seq, ack uint32, data string) {
	options := c.options
	if flags&flagSyn == 0 {
		options = nil
	}
	size := 20 + len(options)
	b := c.ip(c.src, header.TCPProtocolNumber, size+len(data))
	c.transport(b, func(t []byte) {
		header.TCP(t).Encode(&header.TCPFields{
			SrcPort: c.from, DstPort: 80, SeqNum: seq, AckNum: ack, DataOffset: uint8(size), Flags: flags, WindowSize: 4096,
		})
		copy(t[20:], options)
		copy(t[size:], data)
	}, tcpSum)
	c.dev.Inject(b)
}

// send injects the next segment.
func (c *client) send(flags header.TCPFlags, data string) {
	ack := c.next
	if flags&flagAck == 0 {
		ack = 0
	}
	c.raw(flags, c.seq, ack, data)
	c.seq += uint32(len(data))
	if flags&(header.TCPFlagSyn|header.TCPFlagFin) != 0 {
		c.seq++
	}
}

// old says whether all of t was taken before: a busy machine may have the stack's timer
// send what has been acknowledged in the meantime.
func (c *client) old(t header.TCP) bool {
	end := t.SequenceNumber() + uint32(len(t.Payload()))
	if t.Flags()&(header.TCPFlagSyn|header.TCPFlagFin) != 0 {
		end++
	}
	return end != t.SequenceNumber() && int32(end-c.next) <= 0
}

// segment waits for one with just these flags. None but acknowledgements, and what was
// taken before, may come before it.
func (c *client) segment(flags header.TCPFlags) header.TCP {
	c.t.Helper()
	b := c.want(flags.String()+" for "+c.src, func(b []byte, p packet) bool {
		t := header.TCP(b[p.transport:])
		if p.proto != protoTCP || binary.BigEndian.Uint16(t[2:]) != c.from ||
			t.Flags() != flags && (t.Flags() == flagAck && len(t.Payload()) == 0 || c.old(t)) {
			return false
		}
		if t.Flags() != flags {
			c.t.Fatalf("%v came, want %v", t.Flags(), flags)
		}
		return true
	})
	p, _ := parse(b)
	return header.TCP(b[p.transport:])
}

// wants is segment of the next one in order, and takes it.
func (c *client) wants(flags header.TCPFlags) string {
	c.t.Helper()
	t := c.segment(flags)
	if seq := t.SequenceNumber(); flags&flagSyn == 0 && seq != c.next {
		c.t.Fatalf("%v has the number %d, want %d", flags, seq, c.next)
	}
	c.next = t.SequenceNumber() + uint32(len(t.Payload()))
	if flags&(header.TCPFlagSyn|header.TCPFlagFin) != 0 {
		c.next++
	}
	return string(t.Payload())
}

// data is the next segment that has some.
func (c *client) data() string {
	c.t.Helper()
	b := c.want("data for "+c.src, func(b []byte, p packet) bool {
		t := header.TCP(b[p.transport:])
		return p.proto == protoTCP && binary.BigEndian.Uint16(t[2:]) == c.from && len(t.Payload()) > 0 && !c.old(t)
	})
	p, _ := parse(b)
	t := header.TCP(b[p.transport:])
	if t.SequenceNumber() != c.next {
		c.t.Fatalf("data has the number %d, want %d", t.SequenceNumber(), c.next)
	}
	c.next += uint32(len(t.Payload()))
	c.ended = t.Flags()&header.TCPFlagFin != 0
	return string(t.Payload())
}

// acks waits for an acknowledgement of all that was sent, by itself.
func (c *client) acks() {
	c.t.Helper()
	for c.segment(flagAck).AckNumber() != c.seq {
	}
}

// open is the handshake.
func (c *client) open() {
	c.t.Helper()
	c.send(flagSyn, "")
	c.wants(flagSynAck)
	c.send(flagAck, "")
}

// secondSynAck waits for two SYN-ACKs, does something in between, and takes the second,
// which must be the first again.
func (c *client) secondSynAck(between func()) {
	c.t.Helper()
	first := c.segment(flagSynAck).SequenceNumber()
	between()
	if c.wants(flagSynAck); c.next != first+1 {
		c.t.Errorf("the numbers begin at %d and at %d", first, c.next-1)
	}
	c.send(flagAck, "")
}

// echoes sends data and waits for its echo, in one segment or more.
func (c *client) echoes(data string) {
	c.t.Helper()
	c.send(flagPsh, data)
	c.hears(data)
}

func (c *client) hears(data string) {
	c.t.Helper()
	got := ""
	for len(got) < len(data) {
		got += c.data()
	}
	if got != data {
		c.t.Fatalf("%q came back, want %q", got, data)
	}
	c.send(flagAck, "")
}

// hearsAll is hears, and the server's FIN with the data or behind it.
func (c *client) hearsAll(data string) {
	c.t.Helper()
	c.hears(data)
	if !c.ended {
		c.wants(flagFin)
	} else {
		c.next++
	}
	c.send(flagAck, "")
	c.gone()
}

// gone waits until nothing is left of a connection that is over on both sides. What
// follows at once on the same ports may be lost with it in the stack as it comes, and c
// sends nothing twice. The number it acknowledges is no SYN cookie.
func (c *client) gone() {
	c.t.Helper()
	c.raw(flagPsh, c.seq, c.next+1<<20, "y")
	c.segment(flagRst)
}

// closes ends the connection, the client first.
func (c *client) closes() {
	c.t.Helper()
	c.send(flagFin, "")
	c.wants(flagFin)
	c.send(flagAck, "")
	c.gone()
}

// works is a whole connection after whatever came before.
func (c *client) works() {
	c.t.Helper()
	c.open()
	c.echoes("still there")
	c.closes()
}
