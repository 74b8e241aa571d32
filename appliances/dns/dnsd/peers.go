package dnsd

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"time"
)

const (
	opcodeNotify = 4
	typeIXFR     = 251
	typeAXFR     = 252
)

// forPeers says whether a message may be one that name servers send each other:
// NOTIFY, or a query for a transfer.
func forPeers(msg []byte) bool {
	if len(msg) < 12 || msg[2]&0x80 != 0 {
		return false
	}
	if msg[2]>>3&15 != 0 {
		return msg[2]>>3&15 == opcodeNotify
	}
	at := 12
	for at < len(msg) && msg[at] != 0 {
		at += 1 + int(msg[at])
	}
	return at+3 <= len(msg) && msg[at+1] == 0 && (msg[at+2] == typeIXFR || msg[at+2] == typeAXFR)
}

// peer answers such a message over UDP. False: it has to be answered as any other.
func (s *server) peer(out, msg []byte, from net.Addr) bool {
	a := address(from)
	if n := s.notify(out, msg, a); n > 0 {
		s.udp.WriteTo(out[:n], from)
		return true
	}
	done, _ := s.transfer(msg, false, a, func(b []byte) error {
		_, err := s.udp.WriteTo(b, from)
		return err
	})
	return done
}

// hand answers such a message over TCP. What was asked before is answered first.
// An error ends the connection.
func (s *server) hand(c *conn) error {
	if err := c.flush(s.cfg.TCPIdle); err != nil {
		return err
	}
	a := address(c.RemoteAddr())
	send := func(b []byte) error {
		c.active.Store(time.Now().UnixNano())
		c.out = append(binary.BigEndian.AppendUint16(c.out[:0], uint16(len(b))), b...)
		return c.flush(s.cfg.TCPIdle)
	}
	if c.query[2]>>3&15 == opcodeNotify {
		buf := make([]byte, maxDatagram)
		if n := s.notify(buf, c.query, a); n > 0 {
			return send(buf[:n])
		}
	}
	done, err := s.transfer(c.query, true, a, send)
	if err != nil {
		s.log.Debug("transfer ended", "client", a, "error", err)
	}
	if done || err != nil {
		return err
	}
	s.respond(c)
	return c.flush(s.cfg.TCPIdle)
}

// notify is Peering.Notify for messages of that opcode.
func (s *server) notify(buf, msg []byte, from netip.Addr) (n int) {
	defer s.recovered(msg, func() { n = 0 })
	if msg[2]>>3&15 != opcodeNotify {
		return 0
	}
	return s.peers.Notify(buf, msg, from)
}

// transfer is Peering.Transfer.
func (s *server) transfer(msg []byte, tcp bool, from netip.Addr, send func([]byte) error) (done bool, err error) {
	defer s.recovered(msg, func() { done, err = true, errPanic })
	return s.peers.Transfer(msg, tcp, from, send)
}

var errPanic = errors.New("dnsd: a panic")
