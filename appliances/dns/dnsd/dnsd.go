// Package dnsd is an authoritative DNS server over UDP and TCP (RFC 1035, RFC
// 7766) for zones that were compiled into it. Package answer knows what to say;
// this one reads and writes sockets and bounds what clients can make it hold.
package dnsd

import (
	"context"
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"ampoule/appliances/dns/answer"
	"ampoule/appliances/dns/tsig"
	"ampoule/libos/appliance"
	"ampoule/libos/config/feature"
	"ampoule/libos/config/zone"
	"ampoule/libos/format"
	"ampoule/libos/netif/fastudp"
	"ampoule/libos/telemetry"
)

// Config is the appliance's own part of the configuration: plain data that
// tools/configc writes as Go source.
type Config struct {
	// Zones are the zones to answer for; at least one, unless Peers bring some.
	Zones []zone.Zone
	// Keys are those that queries may be signed with.
	Keys tsig.Ring
	// Peers is what talks to other name servers; nil: nothing does. It is an
	// interface so that only an image which needs it has it.
	Peers Peers
	// Port of both protocols; RFC 1035 section 4.2 says 53.
	Port uint16
	// UDPSize bounds an answer over UDP in bytes, from 512 to 4096.
	UDPSize int
	// NSID, Version and Identity are told to those who ask; empty: not.
	NSID, Version, Identity string
	// Cookies turns on DNS cookies; CookieSecrets are those shared with other
	// servers, the one in use first.
	Cookies       bool
	CookieSecrets [][16]byte
	// Limit is response-rate limiting.
	Limit answer.Limit
	// TCPConnections bounds the connections that are open at a time. A new one
	// beyond that ends the one that has been idle for longest.
	TCPConnections int
	// TCPIdle is how long a connection may take for one message, its own
	// silence before it included (RFC 7766 section 6.2.3).
	TCPIdle time.Duration
	// TLSPort is that of DNS over TLS (RFC 7858), with the certificates of the
	// management plane; 0: there is none. TLSConnections is as TCPConnections, and
	// TLSHandshakes the most connections taken in a second: each costs as much time
	// as a thousand answers.
	TLSPort                       uint16
	TLSConnections, TLSHandshakes int
}

// Peers is the configuration of what talks to other name servers: the packages xfr
// and secondary.
type Peers interface {
	// Open prepares. The zones may be changed while the Peering serves.
	Open(env *appliance.Env, zones *answer.Server) (Peering, error)
}

// Peering talks to other name servers.
type Peering interface {
	// Serve does what has to be done without being asked, until ctx is done.
	Serve(ctx context.Context) error
	// Transfer answers msg if it asks for a zone: it calls send with each message of
	// the answer, which must not be kept, and returns true. tcp says how it came.
	Transfer(msg []byte, tcp bool, from netip.Addr, send func([]byte) error) (bool, error)
	// Notify writes the answer to a message of opcode NOTIFY (RFC 1996) into buf,
	// which holds at least 4096 bytes, and returns its length, or 0 when it is not
	// for the Peering to answer. It does not block.
	Notify(buf, msg []byte, from netip.Addr) int
}

// maxDatagram is the longest UDP query that is read whole; a longer one is cut
// and then malformed.
const maxDatagram = 4096

// maxFailures is how many reads in a row may fail before a socket is given up.
const maxFailures = 16

type server struct {
	cfg         Config
	answer      *answer.Server
	log         *telemetry.Logger
	udp         net.PacketConn
	streams     []*stream
	peers       Peering // nil: none
	panics      sync.Once
	panicked    atomic.Uint64
	quickCounts *quickCounts  // nil: there is no management plane
	counts      *[ways]counts // likewise
	countMu     sync.Mutex

	// Of the goroutine that receives.
	quick    answer.Scratch
	datagram [maxDatagram]byte // an answer on its way into the driver's buffer

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
		s, err := newServer(cfg, udp, tcp, env)
		if err == nil && cfg.Peers != nil {
			s.peers, err = cfg.Peers.Open(env, s.answer)
		}
		if feature.Management && err == nil && cfg.TLSPort != 0 {
			err = s.overTLS(env)
		}
		if err != nil {
			udp.Close()
			tcp.Close()
			return nil, err
		}
		if feature.Management && env.Management != nil {
			s.counts, s.quickCounts = new([ways]counts), new(quickCounts)
			s.manage(env.Management)
		}
		// The socket stays: it keeps the port ours and takes what the fast path
		// passes, such as answers that are too large for one page.
		s.logSigned(time.Now())
		env.Net.SetFastPath(fastudp.New(env.Link, env.Addr, cfg.Port, s))
		return s, nil
	}
}

// Reply implements fastudp.Handler: most queries are answered in the driver's
// receive buffer.
func (s *server) Reply(b []byte, n int, from *fastudp.Peer) int {
	client := (*answer.Client)(from)
	if size := s.answer.Quick(&s.quick, b, n, client); size >= 0 {
		if c := s.quickCounts; feature.Management && c != nil {
			rrtype, do := s.quick.Asked()
			c.queries[key(rrtype, do, client.V4)]++
			if size > 0 {
				c.answer(b, size)
			} else {
				c.silent++
			}
		}
		return size
	}
	if s.peers != nil && forPeers(b[:n]) {
		return -1 // by the stack, as their answers go
	}
	size := s.reply(s.datagram[:], b[:n], overUDP, *client)
	if size > len(b) {
		return -1
	}
	copy(b, s.datagram[:size])
	return size
}

// Burst implements fastudp.Burster: the time is read once for a burst of queries.
func (s *server) Burst() func() {
	if !s.answer.Timed() {
		return nil
	}
	return func() { s.answer.Tell(&s.quick) }
}

// newServer serves cfg's zones on udp and tcp, which it owns when
// there is no error.
func newServer(cfg Config, udp net.PacketConn, tcp net.Listener, env *appliance.Env) (*server, error) {
	if len(cfg.Zones) == 0 && cfg.Peers == nil {
		return nil, errors.New("dnsd: no zones are compiled in; build the image with its configuration")
	}
	if cfg.TCPConnections < 1 || cfg.TCPIdle <= 0 {
		return nil, format.Errorf("dnsd: %d TCP connections, idle for %v: both must be above 0",
			cfg.TCPConnections, cfg.TCPIdle)
	}
	a, err := answer.New(cfg.Zones, answer.Options{
		UDPSize: cfg.UDPSize, NSID: cfg.NSID, Version: cfg.Version, Identity: cfg.Identity,
		Cookies: cfg.Cookies, CookieSecrets: cfg.CookieSecrets, Rand: env.Rand, Limit: cfg.Limit, Keys: cfg.Keys,
	})
	if err != nil {
		return nil, format.Errorf("dnsd: %w", err)
	}
	return &server{
		cfg: cfg, answer: a, log: env.Log, udp: udp,
		streams: []*stream{newStream(tcp, overTCP, cfg.TCPConnections)},
		scratch: make([]byte, answer.MaxMessage),
	}, nil
}

// expiryWarning is how long before the first signature expires that is a warning.
const expiryWarning = 14 * 24 * time.Hour

// logSigned says until when the signatures of each signed zone are good.
func (s *server) logSigned(now time.Time) {
	for _, z := range s.cfg.Zones {
		if z.Expiry() == 0 {
			continue
		}
		left := time.Duration(int32(z.Expiry()-uint32(now.Unix()))) * time.Second
		until := now.Add(left).UTC().Format(time.RFC3339)
		if left < expiryWarning {
			s.log.Warn("signatures expire", "zone", answer.Presentation(z.Name(z.Apex())), "until", until)
		} else {
			s.log.Info("signed", "zone", answer.Presentation(z.Name(z.Apex())), "until", until)
		}
	}
}

// Serve implements appliance.Appliance.
func (s *server) Serve(ctx context.Context) error {
	loops := []func() error{func() error { return s.datagrams(ctx) }}
	for _, st := range s.streams {
		loops = append(loops, func() error { return s.connections(ctx, st) })
	}
	if s.peers != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		loops = append(loops, func() error { return s.peers.Serve(ctx) })
		return appliance.Loops(ctx, func() { cancel(); s.close() }, loops...)
	}
	return appliance.Loops(ctx, s.close, loops...)
}

// close ends all reads and writes.
func (s *server) close() {
	s.udp.Close()
	for _, st := range s.streams {
		st.close()
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
				return format.Errorf("dnsd: udp: %w", err)
			}
			continue
		}
		failures = 0
		if s.peers != nil && forPeers(in[:n]) && s.peer(out, in[:n], from) {
			continue
		}
		if n := s.reply(out, in[:n], overUDP, client(from)); n > 0 {
			s.udp.WriteTo(out[:n], from) // a lost answer is the client's to notice
		}
	}
}

// reply is answer.Answer, except that a query which makes it panic costs its
// own answer and not the whole server's service. It counts the query.
func (s *server) reply(out, query []byte, w way, from answer.Client) (n int) {
	defer s.recovered(query, func() { n = 0 })
	t := answer.TCP
	if w == overUDP {
		t = answer.UDP
	}
	if feature.Management && s.counts != nil {
		start := time.Now()
		n = s.answer.Answer(out, query, t, from)
		s.slow(w, from.V4, query, out[:n], int64(time.Since(start)))
		return n
	}
	return s.answer.Answer(out, query, t, from)
}

// recovered is deferred by what a message could make panic, and calls instead if it
// did.
func (s *server) recovered(msg []byte, instead func()) {
	if r := recover(); r != nil {
		instead()
		s.panicked.Add(1)
		s.panics.Do(func() {
			s.log.Error("a query made the server panic; further ones are not logged",
				"panic", r, "query", hex.EncodeToString(msg[:min(len(msg), 300)]))
		})
	}
}

// address is the address of the network's.
func address(a net.Addr) netip.Addr {
	if a, ok := a.(interface{ AddrPort() netip.AddrPort }); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// client is who asks from an address of the network's.
func client(a net.Addr) answer.Client {
	if a := address(a); a.IsValid() {
		return answer.NewClient(a)
	}
	return answer.Client{}
}
