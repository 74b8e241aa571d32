package netif

import (
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/header"

	"ampoule/libos/netif/netiftest"
)

// resets is an RST in each state that a connection has after it was established, besides
// those of openings: RFC 9293, section 3.10.7.4.
var resets = map[string]func(c *client){
	"RST with data": func(c *client) {
		c.open()
		c.echoes("x")
		c.aborts(flagRst|flagAck, "gone")
	},
	"RST of the server's last FIN": func(c *client) { // LAST-ACK
		c.open()
		c.send(flagFin, "")
		c.wants(flagFin)
		c.aborts(flagRst, "")
	},
	"RST when half closed": func(c *client) { // FIN-WAIT-2
		c.open()
		c.send(flagPsh, "bye")
		c.wants(flagFin)
		c.send(flagAck, "")
		c.aborts(flagRst, "")
	},
	"RST when both have closed": func(c *client) { // CLOSING
		c.open()
		c.send(flagPsh, "bye")
		fin := c.segment(flagFin)
		c.raw(flagFin, c.seq, fin.SequenceNumber(), "")
		c.seq++
		c.acks()
		c.aborts(flagRst, "")
	},
	"RST in TIME-WAIT": func(c *client) { // RFC 1337: it must do no harm
		c.open()
		c.send(flagPsh, "bye")
		c.wants(flagFin)
		c.send(flagFin, "")
		c.acks()
		c.send(flagRst, "")
		c.seq += 5000
	},
}

// aborts sends an RST, and waits until the connection is gone.
func (c *client) aborts(flags header.TCPFlags, data string) {
	c.t.Helper()
	c.send(flags, data)
	c.gone()
	c.seq += 5000
}

// floods are many SYNs whose connections never come to be: when more are half open than
// the limit, the rest are answered by SYN cookies.
var floods = map[string]func(c *client){
	"a flood": func(c *client) {
		c.flood(flagSyn)
		c.open() // by a cookie
		c.echoes("x")
		c.closes()
		c.flood(flagRst)
	},
	"a flood, and the ACK lost": func(c *client) {
		c.flood(flagSyn)
		c.send(flagSyn, "")
		c.wants(flagSynAck)
		c.echoes("x")
		c.closes()
		c.flood(flagRst)
	},
	"a flood, and a wrong cookie": func(c *client) {
		c.flood(flagSyn)
		c.send(flagSyn, "")
		c.wants(flagSynAck)
		// The lowest bits of a cookie are the MSS: one or two more may be another good one.
		c.raw(flagAck, c.seq, c.next+1000, "")
		if seq := c.segment(flagRst).SequenceNumber(); seq != c.next+1000 {
			c.t.Errorf("RST has the number %d", seq)
		}
		c.send(flagAck, "")
		c.echoes("x")
		c.closes()
		c.flood(flagRst)
	},
}

// flood sends a segment on each of more connections than may be half open.
func (c *client) flood(flags header.TCPFlags) {
	backlog := testLimits().Backlog
	for i := range 2 * backlog {
		other := *c
		other.from, other.seq = uint16(20000+i), 7
		if flags == flagRst {
			other.seq++
		}
		other.raw(flags, other.seq, 0, "")
		if i%16 == 15 {
			c.settled()
		}
	}
}

// odd are options of a SYN that a stack must get along with, those it may take and
// those that are wrong: RFC 9293, sections 3.1 and 3.7.1, RFC 7323, section 2.3.
var odd = map[string][]byte{
	"an MSS of 0":                {2, 4, 0, 0},
	"an MSS of 65535":            {2, 4, 255, 255},
	"an MSS twice":               {2, 4, 5, 180, 2, 4, 0, 9},
	"an MSS cut off":             {1, 2, 4, 5},
	"a length of 0":              {3, 0, 0, 0},
	"a length of 1":              {2, 1, 1, 1},
	"a scale of 14":              {3, 3, 14, 0},
	"a scale of 255":             {3, 3, 255, 0},
	"SACK permitted":             {4, 2, 1, 1},
	"timestamps of a bad length": {8, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0},
	"an unknown one":             {253, 8, 1, 2, 3, 4, 5, 6},
	"forty bytes of nothing": {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
		1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
}

// closings is resets, floods and odd.
func closings() map[string]func(c *client) {
	all := map[string]func(c *client){}
	for name, f := range resets {
		all[name] = f
	}
	for name, f := range floods {
		all[name] = f
	}
	for name, options := range odd {
		all[name] = func(c *client) {
			c.options = options
			c.open()
			c.echoes("some data")
			c.closes()
		}
	}
	return all
}

// TestListenerCloses: a connection whose listener closes while it is half open, or before
// anybody has accepted it, is reset, and so is a SYN that comes after. A listener that
// follows has the port.
func TestListenerCloses(t *testing.T) {
	for _, src := range []string{"10.1.2.9", "fd00::9"} {
		h, s := newHost(t, netiftest.Options{}, testConfig(addrB4, addrB6), testLimits())
		c := &client{host: h, src: src, from: 4000, seq: 1000}
		for range 2 { // by way of the layers, and the short way
			l, err := s.Listen("tcp", ":80")
			if err != nil {
				t.Fatal(err)
			}
			half, whole := *c, *c
			half.from, whole.from = c.from+1, c.from+2
			half.send(flagSyn, "")
			half.wants(flagSynAck)
			whole.open()
			whole.send(flagPsh, "x")
			whole.acks()
			l.Close()
			half.send(flagAck, "")
			half.isReset()
			whole.send(flagPsh, "y")
			whole.isReset()
			late := *c
			late.from += 3
			late.send(flagSyn, "")
			late.isReset()
			if l, err = s.Listen("tcp", ":80"); err != nil {
				t.Fatal(err)
			}
			go answer(l)
			c.works()
			l.Close()
			c.from += 10
		}
	}
}

// isReset waits for the end of the connection.
func (c *client) isReset() {
	c.t.Helper()
	c.want("RST for "+c.src, func(b []byte, p packet) bool {
		t := header.TCP(b[p.transport:])
		return p.proto == protoTCP && t.DestinationPort() == c.from && t.Flags()&header.TCPFlagRst != 0
	})
}
