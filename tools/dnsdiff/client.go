package dnsdiff

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

const (
	// window is how many questions over UDP are under way: their answers fit into
	// the smallest buffer that a socket has.
	window = 48
	// patience is how long an answer may take on a busy machine.
	patience = 5 * time.Second
	// soon is how long it usually takes at most.
	soon = 100 * time.Millisecond
	// tries is how often a question is asked over TCP that nobody answers.
	tries = 3
)

var errSilent = errors.New("no answer")

// client asks over the network. A server that has one thread answers in order, so
// that a question which surely has an answer, the fence, tells when those before
// it have none.
type client struct {
	addr  string
	fence []byte
	udp   net.Conn
	tcp   net.Conn
	id    uint16
	dial  func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Dial returns a server that serves the zones at an address already, which dial
// reaches. It may have one thread only.
func Dial(dial func(ctx context.Context, network, addr string) (net.Conn, error), addr string, zones []Zone) Server {
	return &client{addr: addr, dial: dial, fence: fence(zones)}
}

// fence is a question that surely has an answer.
func fence(zones []Zone) []byte {
	return newQuestion(zones[0].table.Name(zones[0].table.Apex()), typeSOA).Msg
}

// Close implements Server.
func (c *client) Close() error {
	c.close()
	return nil
}

func (c *client) close() {
	for _, conn := range []net.Conn{c.udp, c.tcp} {
		if conn != nil {
			conn.Close()
		}
	}
	c.udp, c.tcp = nil, nil
}

// Ask implements Server. Answers have the identifier of their question.
func (c *client) Ask(questions []Question) ([][]byte, error) {
	answers := make([][]byte, len(questions))
	var udp, tcp []int
	for i, q := range questions {
		if q.TCP {
			tcp = append(tcp, i)
		} else {
			udp = append(udp, i)
		}
	}
	// NSD loses some of those behind one that it does not answer, so that all without
	// an answer are asked again one by one.
	for step := window; len(udp) > 0; step = 1 {
		for at := 0; at < len(udp); at += step {
			if err := c.datagrams(questions, answers, udp[at:min(at+step, len(udp))]); err != nil {
				return nil, err
			}
		}
		if step == 1 {
			break
		}
		var silent []int
		for _, i := range udp {
			if answers[i] == nil {
				silent = append(silent, i)
			}
		}
		udp = silent
	}
	for _, i := range tcp {
		var err error
		for range tries {
			if answers[i], err = c.overTCP(questions[i].Msg); err == nil || !errors.Is(err, errSilent) {
				break
			}
		}
		if err != nil && !errors.Is(err, errSilent) {
			return nil, err
		}
	}
	return answers, nil
}

// datagrams asks those questions over UDP, and the fence behind them.
func (c *client) datagrams(questions []Question, answers [][]byte, which []int) (err error) {
	if c.udp == nil {
		if c.udp, err = c.dial(context.Background(), "udp", c.addr); err != nil {
			return err
		}
	}
	first := c.id
	c.id += uint16(len(which)) + 1
	var msg []byte
	for k, i := range which {
		msg = append(msg[:0], questions[i].Msg...)
		if len(msg) >= 2 {
			binary.BigEndian.PutUint16(msg, first+uint16(k))
		}
		if _, err := c.udp.Write(msg); err != nil {
			return fmt.Errorf("dnsdiff: ask %s: %w", c.addr, err)
		}
	}
	msg = append(msg[:0], c.fence...)
	if len(msg) == 0 {
		msg = append(msg, questions[which[0]].Msg...)
	}
	binary.BigEndian.PutUint16(msg, first+uint16(len(which)))
	if _, err := c.udp.Write(msg); err != nil {
		return fmt.Errorf("dnsdiff: ask %s: %w", c.addr, err)
	}
	b := make([]byte, 65535)
	c.udp.SetReadDeadline(time.Now().Add(patience))
	for {
		n, err := c.udp.Read(b)
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			return nil // the fence was lost, or its answer: those without one are asked again
		}
		if err != nil {
			return fmt.Errorf("dnsdiff: ask %s: %w", c.addr, err)
		}
		if n < 2 {
			continue
		}
		k := int(binary.BigEndian.Uint16(b) - first)
		if k == len(which) {
			return nil
		}
		if k < len(which) {
			i := which[k]
			answers[i] = append([]byte(nil), b[:n]...)
			copy(answers[i], questions[i].Msg[:2])
		}
	}
}

// overTCP asks one question over TCP. errSilent says that the server said nothing,
// or ended the connection.
func (c *client) overTCP(msg []byte) (answer []byte, err error) {
	if c.tcp == nil {
		if c.tcp, err = c.dial(context.Background(), "tcp", c.addr); err != nil {
			return nil, err
		}
	}
	defer func() {
		if err != nil {
			c.tcp.Close()
			c.tcp = nil
		}
	}()
	// The fence comes only when there is no answer soon: with two messages in a row
	// Nagle's algorithm and delayed acknowledgements cost 40 ms.
	c.id += 2
	for i, m := range [][]byte{msg, c.fence} {
		both := binary.BigEndian.AppendUint16(nil, uint16(len(m)))
		both = append(both, m...)
		if len(m) >= 2 {
			binary.BigEndian.PutUint16(both[2:], c.id+uint16(i))
		}
		c.tcp.SetDeadline(time.Now().Add([]time.Duration{soon, patience}[i]))
		if _, err := c.tcp.Write(both); err != nil {
			return nil, errSilent
		}
		for {
			b, err := readFrame(c.tcp)
			var timeout net.Error
			if i == 0 && errors.As(err, &timeout) && timeout.Timeout() {
				break
			}
			if err != nil {
				return nil, errSilent
			}
			switch binary.BigEndian.Uint16(b) - c.id {
			case 1:
				return nil, nil
			case 0:
				copy(b, msg[:2])
				return b, nil
			}
		}
	}
	return nil, errSilent
}

// readFrame reads a message over TCP (RFC 1035 section 4.2.2).
func readFrame(r io.Reader) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, max(2, binary.BigEndian.Uint16(size[:])))
	_, err := io.ReadFull(r, b)
	return b, err
}
