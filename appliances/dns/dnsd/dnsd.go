// Package dnsd is an authoritative DNS server over UDP and TCP (RFC 1035, RFC
// 7766) for zones that were compiled into it. Package answer knows what to say;
// this one reads and writes sockets and bounds what clients can make it hold.
package dnsd

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"ampoule/appliances/dns/answer"
	"ampoule/libos/appliance"
	"ampoule/libos/config/zone"
	"ampoule/libos/netif/fastudp"
	"ampoule/libos/telemetry"
)

// Config is the appliance's own part of the configuration: plain data that
// tools/configc writes as Go source.
type Config struct {
	// Zones are the zones to answer for; at least one.
	Zones []zone.Zone
	// Port of both protocols; RFC 1035 section 4.2 says 53.
	Port uint16
	// UDPSize bounds an answer over UDP in bytes, from 512 to 4096.
	UDPSize int
	// TCPConnections bounds the connections that are open at a time. A new one
	// beyond that ends the one that has been idle for longest.
	TCPConnections int
	// TCPIdle is how long a connection may take for one message, its own
	// silence before it included (RFC 7766 section 6.2.3).
	TCPIdle time.Duration
}

// maxDatagram is the longest UDP query that is read whole; a longer one is cut
// and then malformed.
const maxDatagram = 4096

// maxFailures is how many reads in a row may fail before a socket is given up.
const maxFailures = 16

type server struct {
	cfg    Config
	answer *answer.Server
	log    *telemetry.Logger
	udp    net.PacketConn
	tcp    net.Listener
	panics sync.Once

	mu    sync.Mutex // guards conns
	conns map[*conn]struct{}

	scratchMu sync.Mutex // guards scratch
	scratch   []byte     // the longest answer over TCP, shared by all connections
}

// New gives the constructor for cfg. The sockets are bound when it is called.
func New(cfg Config) appliance.New {
	return func(env *appliance.Env) (appliance.Appliance, error) {
		udp, tcp, err := appliance.ListenBoth(env.Net, cfg.Port)
		if err != nil {
			return nil, err
		}
		s, err := newServer(cfg, udp, tcp, env.Log)
		if err != nil {
			udp.Close()
			tcp.Close()
			return nil, err
		}
		// The socket stays: it keeps the port ours and takes what the fast path
		// passes, such as answers that are too large for one page.
		env.Net.SetFastPath(fastudp.New(env.Link, env.Addr, cfg.Port, s))
		return s, nil
	}
}

// Reply implements fastudp.Handler: most queries are answered in the driver's
// receive buffer.
func (s *server) Reply(request, response []byte) int { return s.reply(response, request, answer.UDP) }

// newServer serves cfg's zones on udp and tcp, which it owns when
// there is no error.
func newServer(cfg Config, udp net.PacketConn, tcp net.Listener, log *telemetry.Logger) (*server, error) {
	if len(cfg.Zones) == 0 {
		return nil, errors.New("dnsd: no zones are compiled in; build the image with its configuration")
	}
	if cfg.TCPConnections < 1 || cfg.TCPIdle <= 0 {
		return nil, fmt.Errorf("dnsd: %d TCP connections, idle for %v: both must be above 0",
			cfg.TCPConnections, cfg.TCPIdle)
	}
	a, err := answer.New(cfg.Zones, cfg.UDPSize)
	if err != nil {
		return nil, fmt.Errorf("dnsd: %w", err)
	}
	return &server{
		cfg: cfg, answer: a, log: log, udp: udp, tcp: tcp,
		conns:   make(map[*conn]struct{}),
		scratch: make([]byte, answer.MaxMessage),
	}, nil
}

// Serve implements appliance.Appliance.
func (s *server) Serve(ctx context.Context) error {
	return appliance.Loops(ctx, s.close,
		func() error { return s.datagrams(ctx) }, func() error { return s.connections(ctx) })
}

// close ends all reads and writes.
func (s *server) close() {
	s.udp.Close()
	s.tcp.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
}

// datagrams answers over UDP until the socket is closed. One query is under way
// at a time; those that come meanwhile wait in the socket's buffer, which is
// bounded.
func (s *server) datagrams(ctx context.Context) error {
	in, out := make([]byte, maxDatagram), make([]byte, maxDatagram)
	for failures := 0; ; {
		n, from, err := s.udp.ReadFrom(in)
		if err != nil {
			if failures++; ctx.Err() != nil || errors.Is(err, net.ErrClosed) || failures == maxFailures {
				return fmt.Errorf("dnsd: udp: %w", err)
			}
			continue
		}
		failures = 0
		if n := s.reply(out, in[:n], answer.UDP); n > 0 {
			s.udp.WriteTo(out[:n], from) // a lost answer is the client's to notice
		}
	}
}

// reply is answer.Answer, except that a query which makes it panic costs its
// own answer and not the whole server's service.
func (s *server) reply(out, query []byte, t answer.Transport) (n int) {
	defer func() {
		if r := recover(); r != nil {
			n = 0
			s.panics.Do(func() {
				s.log.Error("a query made the server panic; further ones are not logged",
					"panic", r, "query", hex.EncodeToString(query[:min(len(query), 300)]))
			})
		}
	}()
	return s.answer.Answer(out, query, t)
}
