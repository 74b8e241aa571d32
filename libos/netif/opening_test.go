package netif

import (
	"bytes"
	"encoding/binary"
	"maps"
	"net"
	"strings"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/header"

	"ampoule/libos/netif/netiftest"
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

// openings are what may happen to a connection between its first segment and its last.
// The server sends back what it gets, closes when the client has, or at once when it is
// told "bye".
var openings = map[string]func(c *client){
	"nothing": func(c *client) {},
	"SYN twice": func(c *client) {
		c.raw(flagSyn, c.seq, 0, "")
		first := c.segment(flagSynAck).SequenceNumber()
		c.send(flagSyn, "")
		if c.wants(flagSynAck); c.next != first+1 {
			c.t.Errorf("the numbers begin at %d and at %d", first, c.next-1)
		}
		c.send(flagAck, "")
		c.echoes("x")
		c.closes()
	},
	"SYN-ACK lost": func(c *client) {
		c.send(flagSyn, "")
		first := c.segment(flagSynAck).SequenceNumber()
		if c.wants(flagSynAck); c.next != first+1 { // by the timer
			c.t.Errorf("the numbers begin at %d and at %d", first, c.next-1)
		}
		c.send(flagAck, "")
		c.echoes("x")
		c.closes()
	},
	"ACK lost": func(c *client) {
		c.send(flagSyn, "")
		c.wants(flagSynAck)
		c.echoes("x")
		c.closes()
	},
	"ACK and data lost": func(c *client) {
		c.send(flagSyn, "")
		c.wants(flagSynAck)
		seq := c.seq
		c.send(flagFin, "x")
		c.raw(flagFin, seq, c.next, "x")
		c.hearsAll("x")
	},
	"data before the handshake": func(c *client) {
		c.raw(flagPsh, c.seq, 77, "x")
		if seq := c.segment(flagRst).SequenceNumber(); seq != 77 {
			c.t.Errorf("RST has the number %d", seq)
		}
	},
	"ACK of another SYN-ACK": func(c *client) {
		c.send(flagSyn, "")
		c.wants(flagSynAck)
		c.raw(flagAck, c.seq, c.next+5, "")
		if seq := c.segment(flagRst).SequenceNumber(); seq != c.next+5 {
			c.t.Errorf("RST has the number %d", seq)
		}
		c.send(flagAck, "")
		c.echoes("x")
		c.closes()
	},
	"RST of a SYN": func(c *client) {
		c.send(flagSyn, "")
		c.wants(flagSynAck)
		c.send(flagRst, "")
		c.seq += 5000
	},
	"RST outside the window": func(c *client) {
		c.open()
		c.echoes("x")
		c.raw(flagRst, c.seq+1<<30, 0, "")
		c.echoes("y")
		c.closes()
	},
	"RST when established": func(c *client) {
		c.open()
		c.echoes("x")
		c.send(flagRst, "")
		c.raw(flagPsh, c.seq, c.next, "y")
		c.segment(flagRst)
		c.seq += 5000
	},
	"RST after the server's FIN": func(c *client) {
		c.open()
		c.send(flagPsh, "bye")
		c.wants(flagFin)
		c.send(flagRst|flagAck, "")
		c.raw(flagPsh, c.seq, c.next, "y")
		c.segment(flagRst)
		c.seq += 5000
	},
	"data twice": func(c *client) {
		c.open()
		c.raw(flagPsh, c.seq, c.next, "x")
		c.echoes("x")
		c.raw(flagPsh, c.seq-1, c.next, "x")
		c.echoes("y")
		c.closes()
	},
	"data in another order": func(c *client) {
		c.open()
		seq := c.seq
		c.raw(flagPsh, seq+1, c.next, "bc")
		c.send(flagPsh, "a")
		c.seq += 2
		c.hears("abc")
		c.closes()
	},
	"FIN before data": func(c *client) {
		c.open()
		c.raw(flagFin, c.seq+3, c.next, "")
		c.send(flagPsh, "abc")
		c.hears("abc")
		c.closes() // the FIN may have been forgotten
	},
	"FIN with data": func(c *client) {
		c.open()
		c.send(flagFin|flagPsh, "abc")
		c.hearsAll("abc")
	},
	"FIN twice": func(c *client) {
		c.open()
		c.echoes("x")
		c.raw(flagFin, c.seq, c.next, "")
		c.closes()
	},
	"the server's FIN lost": func(c *client) {
		c.open()
		c.send(flagPsh, "bye")
		c.segment(flagFin)
		c.wants(flagFin) // by the timer
		c.send(flagFin, "")
		c.acks()
		c.seq += 5000
	},
	"both close at once": func(c *client) {
		c.open()
		c.send(flagPsh, "bye")
		fin := c.segment(flagFin)
		c.raw(flagFin, c.seq, fin.SequenceNumber(), "") // the server's was not seen
		c.seq++
		c.acks()
		c.next = fin.SequenceNumber() + 1
		c.send(flagAck, "")
		c.seq += 5000
	},
	"the server first": func(c *client) {
		c.open()
		c.send(flagPsh, "bye")
		c.wants(flagFin)
		c.send(flagAck, "")
		c.send(flagFin, "")
		c.acks()
		c.raw(flagFin, c.seq-1, c.next, "") // it is not known to be acknowledged
		c.acks()
		c.seq += 5000 // RFC 1122, section 4.2.2.13: such a SYN opens a new connection
	},
	"an old SYN in TIME-WAIT": func(c *client) {
		c.open()
		c.send(flagPsh, "bye")
		c.wants(flagFin)
		c.send(flagFin, "")
		c.acks()
		c.raw(flagSyn, c.seq-1000, 0, "")
		c.settled()
		c.seq += 5000
	},
	"SYN when established": func(c *client) {
		c.open()
		c.echoes("x")
		c.raw(flagSyn, c.seq+100, 0, "") // RFC 5961, section 4.2
		c.acks()
		c.echoes("y")
		c.closes()
	},
	"SYN with data": func(c *client) {
		c.raw(flagSyn, c.seq, 0, "abc") // which may be ignored
		c.seq++
		c.wants(flagSynAck)
		c.echoes("abc")
		c.closes()
	},
	"no options that hold": func(c *client) {
		c.options = []byte{3, 3, 15, 2, 4, 0, 1, 0} // a scale too large, an MSS of 1
		c.open()
		c.echoes(strings.Repeat("z", 100))
		c.closes()
	},
	"options of a bad length": func(c *client) {
		c.options = []byte{2, 40, 0, 0}
		c.open()
		c.echoes("x")
		c.closes()
	},
}

// afterFIN are openings that only the trimmed stack gets right.
var afterFIN = map[string]func(c *client){
	"the last ACK lost": func(c *client) {
		c.open()
		c.echoes("x")
		c.send(flagFin, "")
		c.segment(flagFin)
		c.wants(flagFin) // by the timer
		c.send(flagAck, "")
	},
	"FINs of both lost": func(c *client) {
		c.open()
		c.send(flagPsh, "bye")
		fin := c.segment(flagFin)
		c.raw(flagFin, c.seq, fin.SequenceNumber(), "") // the server's was not seen
		c.seq++
		c.acks()
		c.wants(flagFin) // by the timer
		c.send(flagAck, "")
		c.seq += 5000 // in TIME-WAIT
	},
}

// TestOpenings has connections go wrong in every way before they work. It is true of the
// layers alone, and of the short ways round them, which the second connection from a
// place to an address takes.
func TestOpenings(t *testing.T) {
	all := maps.Clone(openings)
	maps.Copy(all, closings())
	if _, s := newHost(t, netiftest.Options{}, testConfig(addrB4, addrB6), testLimits()); s.link.flows.fed {
		maps.Copy(all, afterFIN)
	}
	for name, f := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, s := newHost(t, netiftest.Options{}, testConfig(addrB4, addrB6), testLimits())
			l, err := s.Listen("tcp", ":80")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			go answer(l)
			for i, src := range []string{"10.1.2.9", "fd00::9"} {
				c := &client{host: h, src: src, from: uint16(4000 + i), seq: 1000}
				f(c)
				c.works()
				c.from += 10
				f(c)
				c.options = nil
				c.works()
			}
		})
	}
}

// answer is the server of TestOpenings.
func answer(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			b := make([]byte, 1000)
			for {
				n, err := c.Read(b)
				if err != nil || bytes.Equal(b[:n], []byte("bye")) {
					return
				}
				if _, err := c.Write(b[:n]); err != nil {
					return
				}
			}
		}()
	}
}
