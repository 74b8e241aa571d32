// Package load asks an appliance and checks what it answers: the first answer
// after a boot, a closed loop of requests, one question over TCP. The tools
// that show, measure and soak share it. It counts and checks; what a figure
// means is its callers' business.
package load

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Dial opens a connection; net.Dialer's and netpeer.Peer's DialContext are
// such functions.
type Dial func(ctx context.Context, network, addr string) (net.Conn, error)

// Service is something that answers a datagram with a datagram, or a request on a
// stream with what comes back on it.
type Service struct {
	Name string
	Port int
	// Request makes the n-th request; requests that are under way together
	// differ.
	Request func(n uint32) []byte
	// Check says what is wrong with an answer to request; errOther says that
	// it belongs to another request.
	Check func(request, answer []byte) error
	// Stream wraps a message for TCP; nil for none.
	Stream func(message []byte) []byte
	// ReadStream reads the answer to request from TCP.
	ReadStream func(r io.Reader, request []byte) ([]byte, error)
	NoDatagram bool // it answers on TCP alone
}

// errOther marks a late answer to an earlier request.
var errOther = errors.New("an answer to another request")

// Echo sends size bytes, at least four, and wants them back.
func Echo(size int) Service {
	return Service{
		Name: "echo", Port: 7,
		Request: func(n uint32) []byte {
			b := bytes.Repeat([]byte("ampoule "), size/8+1)[:size]
			binary.BigEndian.PutUint32(b, n)
			return b
		},
		Check: func(request, answer []byte) error {
			switch {
			case bytes.Equal(request, answer):
				return nil
			case len(answer) == len(request):
				return errOther
			}
			return fmt.Errorf("%d bytes came back of %d", len(answer), len(request))
		},
		Stream: func(m []byte) []byte { return m },
		ReadStream: func(r io.Reader, request []byte) ([]byte, error) {
			b := make([]byte, len(request))
			_, err := io.ReadFull(r, b)
			return b, err
		},
	}
}

// DNS asks for the A records of name (RFC 1035) and wants an authoritative
// answer without an error and with at least one record.
func DNS(name string) Service { return DNSQuery{Name: name}.Service() }

// encodeQuestion is name as labels, type A, class IN.
func encodeQuestion(name string) ([]byte, error) {
	var q []byte
	for label := range bytes.SplitSeq(bytes.TrimSuffix([]byte(name), []byte(".")), []byte(".")) {
		if len(label) == 0 || len(label) > 63 {
			return nil, fmt.Errorf("load: %q is not a domain name", name)
		}
		q = append(append(q, byte(len(label))), label...)
	}
	return append(q, 0, 0, 1, 0, 1), nil
}

func readDNS(r io.Reader, _ []byte) ([]byte, error) {
	var n [2]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(n[:]))
	_, err := io.ReadFull(r, b)
	return b, err
}

// Probe asks from a new socket every so often until there is a good answer,
// and returns the moment when it came. It blocks until then or until ctx ends;
// the error tells the last thing that was wrong.
func Probe(ctx context.Context, dial Dial, addr string, s Service, every time.Duration) (time.Time, error) {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	good, bad := make(chan time.Time, 1), make(chan error, 1)
	tick := time.NewTicker(every)
	defer tick.Stop()
	last := errors.New("silence")
	for n := uint32(1); ; n++ {
		wg.Go(func() {
			at, err := probeOnce(ctx, dial, addr, s, n)
			if err == nil {
				offer(good, at)
			} else {
				offer(bad, err)
			}
		})
		for wait := true; wait; {
			select {
			case at := <-good:
				return at, nil
			case err := <-bad:
				if !timedOut(err) && !errors.Is(err, context.Canceled) {
					last = err
				}
			case <-tick.C:
				wait = false
			case <-ctx.Done():
				return time.Time{}, fmt.Errorf("no answer from %s: %w (%v)", addr, ctx.Err(), last)
			}
		}
	}
}

// timedOut knows the time-outs of the standard library and of gVisor.
func timedOut(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// offer sends v unless something is there already.
func offer[T any](c chan<- T, v T) {
	select {
	case c <- v:
	default:
	}
}

// probeTimeout is how long one of Probe's sockets waits.
const probeTimeout = time.Second

func probeOnce(ctx context.Context, dial Dial, addr string, s Service, n uint32) (time.Time, error) {
	network, ask := "udp", func(c net.Conn) error { return exchange(c, s, s.Request(n), make([]byte, 65536)) }
	if s.NoDatagram {
		network, ask = "tcp", func(c net.Conn) error { return Stream(c, s, n) }
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	c, err := dial(ctx, network, addr)
	if err != nil {
		return time.Time{}, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Now()) })
	defer stop()
	if err := ask(c); err != nil {
		return time.Time{}, err
	}
	return time.Now(), nil
}

// exchange sends one datagram and waits for the answer to it.
func exchange(c net.Conn, s Service, request, buf []byte) error {
	if _, err := c.Write(request); err != nil {
		return err
	}
	for {
		n, err := c.Read(buf)
		if err != nil {
			return err
		}
		if err := s.Check(request, buf[:n]); !errors.Is(err, errOther) {
			return err
		}
	}
}

// Stream asks once over a TCP connection that the caller has opened.
func Stream(c net.Conn, s Service, n uint32) error {
	request := s.Request(n)
	if _, err := c.Write(s.Stream(request)); err != nil {
		return err
	}
	answer, err := s.ReadStream(c, request)
	if err != nil {
		return err
	}
	return s.Check(request, answer)
}
