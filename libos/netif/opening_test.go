package netif

import (
	"bytes"
	"maps"
	"net"
	"strings"
	"testing"

	"ampoule/libos/netif/netiftest"
)

// openings are what may happen to a connection between its first segment and its last.
// The server sends back what it gets, closes when the client has, or at once when it is
// told "bye".
var openings = map[string]func(c *client){
	"nothing": func(c *client) {},
	"SYN twice": func(c *client) {
		c.raw(flagSyn, c.seq, 0, "")
		c.secondSynAck(func() { c.send(flagSyn, "") })
		c.echoes("x")
		c.closes()
	},
	"SYN-ACK lost": func(c *client) {
		c.send(flagSyn, "")
		c.secondSynAck(func() {}) // it comes by the timer
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
