package siege

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"github.com/miekg/dns"

	"ampoule/tools/load"
)

// Client is what a well-behaved client counted: one that asks at a modest rate,
// asks again when there is no answer, and asks over TCP when one is truncated.
type Client struct {
	Asked, Answered int
	Again           int // queries over UDP that were sent again
	Truncated       int // answers that sent it to TCP
	TCPAgain        int // connections that had to be tried again
	Wrong           int // answers that were not as they should be
	Failed          int // questions without an answer in the end
	Longest         time.Duration
	First           error // that there was

	dial   load.Dial
	addr   string
	cookie bool // it sends cookies (RFC 7873), and learns the server's
	server string
	udp    int // queries sent over UDP
}

// Times of a client. A stub resolver waits longer; what is answered within these
// is answered for it too.
const (
	clientWait  = 250 * time.Millisecond // for an answer over UDP
	clientTries = 12
	tcpWait     = 3 * time.Second
	tcpTries    = 3
)

// run asks the questions in turn, one each pause, until ctx ends.
func (c *Client) run(ctx context.Context, all []question, pause time.Duration) {
	conn, err := c.dial(ctx, "udp", c.addr)
	if err != nil {
		c.fail(err)
		return
	}
	defer conn.Close()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		q := &all[i%len(all)]
		began := time.Now()
		c.Asked++
		// What has begun is finished: the server is there longer than ctx.
		if err := c.ask(context.WithoutCancel(ctx), conn, q); err != nil {
			c.fail(err)
			continue
		}
		c.Answered++
		c.Longest = max(c.Longest, time.Since(began))
	}
}

func (c *Client) fail(err error) {
	c.Failed++
	if c.First == nil {
		c.First = err
	}
}

// ask gets an answer and compares it.
func (c *Client) ask(ctx context.Context, conn net.Conn, q *question) error {
	buf := make([]byte, 4096)
	for try := range clientTries {
		if try > 0 {
			c.Again++
		}
		m, err := c.overUDP(conn, q, buf)
		switch {
		case err == nil && m.Truncated:
			c.Truncated++
			return c.overTCP(ctx, q)
		case err == nil:
			return nil
		case !timedOut(err):
			c.Wrong++
			return err
		}
	}
	return fmt.Errorf("%s %s: no answer over UDP in %d tries", q.name, dns.TypeToString[q.qtype], clientTries)
}

func timedOut(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// overUDP asks once.
func (c *Client) overUDP(conn net.Conn, q *question, buf []byte) (*dns.Msg, error) {
	m := q.query(uint16(rand.Uint32()))
	if c.cookie {
		c.addCookie(m)
	}
	b, err := m.Pack()
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(clientWait))
	c.udp++
	if _, err := conn.Write(b); err != nil {
		return nil, err
	}
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		r := new(dns.Msg)
		if err := r.Unpack(buf[:n]); err != nil {
			return nil, fmt.Errorf("%x: %w", buf[:n], err)
		}
		err = q.check(m.Id, r)
		if errors.Is(err, errOther) {
			continue // late
		}
		if err == nil && c.cookie {
			err = c.learn(r)
		}
		return r, err
	}
}

const clientCookie = "0123456789abcdef"

func (c *Client) addCookie(m *dns.Msg) {
	o := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
	o.SetUDPSize(1232)
	o.Option = append(o.Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: clientCookie + c.server})
	m.Extra = append(m.Extra, o)
}

// learn keeps the server's cookie.
func (c *Client) learn(m *dns.Msg) error {
	if o := m.IsEdns0(); o != nil {
		for _, opt := range o.Option {
			k, ok := opt.(*dns.EDNS0_COOKIE)
			if !ok {
				continue
			}
			if b, err := hex.DecodeString(k.Cookie); err != nil || len(b) != 24 || k.Cookie[:16] != clientCookie {
				return fmt.Errorf("cookie %s", k.Cookie)
			}
			c.server = k.Cookie[16:]
			return nil
		}
	}
	return errors.New("an answer without a cookie to a query with one")
}

// overTCP asks on a connection of its own. What goes wrong with the connection is
// a reason to try again, a wrong answer is none.
func (c *Client) overTCP(ctx context.Context, q *question) (err error) {
	for try := range tcpTries {
		if try > 0 {
			c.TCPAgain++
		}
		var m *dns.Msg
		query := q.query(uint16(rand.Uint32()))
		if m, err = c.exchangeTCP(ctx, query); err != nil {
			continue
		}
		if err = q.check(query.Id, m); err == nil && m.Truncated {
			err = fmt.Errorf("%s: truncated over TCP", q.name)
		}
		if err != nil {
			c.Wrong++
		}
		return err
	}
	return fmt.Errorf("%s %s over TCP: %w", q.name, dns.TypeToString[q.qtype], err)
}

func (c *Client) exchangeTCP(ctx context.Context, query *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, tcpWait)
	defer cancel()
	conn, err := c.dial(ctx, "tcp", c.addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(tcpWait))
	d := dns.Conn{Conn: conn}
	if err := d.WriteMsg(query); err != nil {
		return nil, err
	}
	return d.ReadMsg()
}
