package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"ampoule/tools/boottest/vm"
	"ampoule/tools/netpeer"
)

// tlsBackend is where configs/tls.toml has the backend.
const tlsBackend = "10.0.2.2:8080"

// kib is the answer to a request without a size of its own.
const kib = 1 << 10

// tlsPoints are what is measured of the terminator: each is done n times in a run.
var tlsPoints = []struct {
	name string
	goal string
	n    int
	do   func(*tlsClient, context.Context) error
}{
	{"new connection, TLS 1.3, X25519, 1 KiB", "1,900,000", 100, func(c *tlsClient, ctx context.Context) error { return c.fresh(ctx, tls.X25519, nil) }},
	{"the same with X25519MLKEM768", "", 100, func(c *tlsClient, ctx context.Context) error { return c.fresh(ctx, tls.X25519MLKEM768, nil) }},
	{"the same resumed, X25519", "1,600,000", 100, func(c *tlsClient, ctx context.Context) error { return c.fresh(ctx, tls.X25519, c.sessions) }},
	{"request on an open connection, 1 KiB", "35,000", 1000, func(c *tlsClient, ctx context.Context) error { return c.kept(ctx, kib) }},
	{"1 MiB on an open connection", "", 20, func(c *tlsClient, ctx context.Context) error { return c.kept(ctx, 1<<20) }},
}

// tls measures the terminator in front of a server in this process, and prints a table,
// or with prof, the number of a row from 1, where its instructions go.
func (b *bench) tls(ctx context.Context, prof int, symbols string, v view) error {
	if prof == 0 {
		if err := b.tlsSize(ctx); err != nil {
			return err
		}
	}
	c, err := b.startTLS(ctx, b.ram, true, prof > 0)
	if err != nil {
		return err
	}
	defer c.m.Close()
	if prof > 0 {
		return b.profileTLS(ctx, c, prof-1, symbols, v)
	}
	for _, p := range tlsPoints {
		r, err := b.repeat(c.m, p.n, func() error { return p.do(c, ctx) })
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		fmt.Printf("%-44s %16s  spread %.1f%%  goal %s\n", p.name+", instructions", group(r.Plain), r.Spread, p.goal)
	}
	return nil
}

// tlsSize prints the image's size, and the least memory with which 16 clients at a time
// have handshakes, requests and a MiB each.
func (b *bench) tlsSize(ctx context.Context) error {
	if st, err := os.Stat(b.images["tls"]); err == nil {
		fmt.Printf("%-44s %16s  goal 6,000,000\n", "tls: image, bytes", group(float64(st.Size())))
	}
	least, err := leastRAM(func(mib int) (bool, error) {
		c, err := b.startTLS(ctx, mib, false, false)
		if err != nil {
			var e *vm.Error
			return false, ctxOr(ctx, err, errors.As(err, &e))
		}
		defer c.m.Close()
		return c.crowd(ctx, 16) == nil, ctx.Err()
	})
	if err == nil {
		fmt.Printf("%-44s %16d  goal 32\n", "smallest RAM that serves, MiB", least)
	}
	return err
}

// startTLS boots the image and its backend, and waits until it serves. The caller must
// Close the machine.
func (b *bench) startTLS(ctx context.Context, ram int, counted, blocks bool) (c *tlsClient, err error) {
	m := &machine{}
	defer func() {
		if err != nil {
			m.Close()
		}
	}()
	config := vm.Config{Image: b.images["tls"], Machine: b.machine, CPU: b.cpu, RAM: ram, RNG: true}
	if counted {
		if m.counter, err = b.plugin.New(blocks); err != nil {
			return nil, err
		}
		config.Args = m.counter.Args()
	}
	if m.seg, err = netpeer.Open(netpeer.Options{Direct: true}); err != nil {
		return nil, fmt.Errorf("TLS is measured with a network namespace only: %w", err)
	}
	if err = m.seg.Peer.(*netpeer.Linux).Neighbor(); err != nil {
		return nil, err
	}
	l, err := m.seg.Listen(tlsBackend)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { l.Close() }) // and with the namespace
	go serveTLSBackend(l)
	config.Net = m.seg.Net()
	if m.VM, err = vm.Start(ctx, config); err != nil {
		return nil, err
	}
	c = &tlsClient{m: m, sessions: tls.NewLRUClientSessionCache(1)}
	for end := time.Now().Add(bootLimit); ; time.Sleep(probeGap) {
		if err = c.fresh(ctx, tls.X25519, c.sessions); err == nil {
			return c, nil
		}
		ended := false
		select {
		case <-m.Done():
			ended = true
		default:
		}
		if ended || time.Now().After(end) || ctx.Err() != nil {
			return nil, &vm.Error{Err: err, Command: m.Command(), Console: m.Console()}
		}
	}
}

// profileTLS prints where the instructions of one point go.
func (b *bench) profileTLS(ctx context.Context, c *tlsClient, at int, symbols string, v view) error {
	p := tlsPoints[at]
	if symbols == "" {
		symbols = b.images["tls"]
	}
	table, err := readSymbols(symbols)
	if err != nil {
		return err
	}
	return v.repeat(os.Stdout, table, c.m, p.n, func() error { return p.do(c, ctx) })
}

// tlsClient asks the terminator.
type tlsClient struct {
	m        *machine
	sessions tls.ClientSessionCache
	conn     *tls.Conn // that is kept open
	in       *bufio.Reader
}

func (c *tlsClient) dial(ctx context.Context, exchange tls.CurveID, sessions tls.ClientSessionCache) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	nc, err := c.m.seg.DialContext(ctx, "tcp", netpeer.GuestIPv4.String()+":443")
	if err != nil {
		return nil, err
	}
	// Who the server is does not matter to what it does.
	tc := tls.Client(nc, &tls.Config{InsecureSkipVerify: true, ServerName: "www.example.org", MinVersion: tls.VersionTLS13,
		CurvePreferences: []tls.CurveID{exchange}, ClientSessionCache: sessions})
	if err := tc.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	return tc, nil
}

// crowd is n clients at a time, each of which makes connections and asks for 1 KiB and 1
// MiB.
func (c *tlsClient) crowd(ctx context.Context, n int) error {
	errs := make(chan error)
	for range n {
		go func() {
			one := &tlsClient{m: c.m}
			errs <- func() error {
				for range 5 {
					if err := one.fresh(ctx, tls.X25519MLKEM768, nil); err != nil {
						return err
					}
				}
				defer func() {
					if one.conn != nil {
						one.conn.Close()
					}
				}()
				return errors.Join(one.kept(ctx, kib), one.kept(ctx, 1<<20))
			}()
		}()
	}
	var all error
	for range n {
		all = errors.Join(all, <-errs)
	}
	return all
}

// fresh makes a connection for one request.
func (c *tlsClient) fresh(ctx context.Context, exchange tls.CurveID, sessions tls.ClientSessionCache) error {
	tc, err := c.dial(ctx, exchange, sessions)
	if err != nil {
		return err
	}
	defer tc.Close()
	return ask(tc, bufio.NewReader(tc), kib)
}

// kept asks on the connection that is kept open.
func (c *tlsClient) kept(ctx context.Context, size int) (err error) {
	if c.conn == nil {
		if c.conn, err = c.dial(ctx, tls.X25519, nil); err != nil {
			return err
		}
		c.in = bufio.NewReaderSize(c.conn, 32<<10)
	}
	return ask(c.conn, c.in, size)
}

// ask sends a request and reads the answer.
func ask(c net.Conn, in *bufio.Reader, size int) error {
	c.SetDeadline(time.Now().Add(2 * time.Minute))
	if _, err := fmt.Fprintf(c, "GET /%d HTTP/1.1\r\nHost: www.example.org\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n", size); err != nil {
		return err
	}
	r, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if n, err := io.Copy(io.Discard, r.Body); n != int64(size) {
		return errors.Join(err, fmt.Errorf("%d bytes of %d", n, size))
	}
	return nil
}

// serveTLSBackend answers GET /N with N bytes.
func serveTLSBackend(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			in := bufio.NewReader(c)
			for {
				r, err := http.ReadRequest(in)
				if err != nil {
					return
				}
				n, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
				if err != nil {
					return
				}
				head := fmt.Sprintf("HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", n)
				if _, err := c.Write(append([]byte(head), make([]byte, n)...)); err != nil {
					return
				}
			}
		}()
	}
}
