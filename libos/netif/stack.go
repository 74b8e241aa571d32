package netif

import (
	"io"
	"math/rand/v2"

	"golang.org/x/time/rate"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"ampoule/libos/config/feature"
	"ampoule/libos/device"
	"ampoule/libos/format"
	"ampoule/libos/netif/layer"
	"ampoule/libos/telemetry"
)

// nic is the number of the only interface of a stack.
const nic = 1

// Options is what a Stack needs beside its device and addresses.
type Options struct {
	Limits Limits
	// Rand is the machine's entropy: sequence numbers, cookies, ports and
	// hash seeds are drawn from it. Any goroutine may read from it.
	Rand io.Reader
	// Hostname is told to the DHCP server, if there is one.
	Hostname string
	// Log says what DHCP and routers do to our addresses; nil says nothing.
	Log *telemetry.Logger
	// Changed is called by any goroutine when Addresses has changed since New;
	// nil is not. It must not block.
	Changed func()
}

// Stack is the network of one device. Its methods may be called from any
// goroutine.
type Stack struct {
	gv     *stack.Stack
	link   *link
	limits Limits
	v4, v6 bool
	addrs  addresses
}

// New brings up a stack on dev with the addresses of cfg, announces them on
// the network and starts to receive. The Stack is the only user of dev until
// Close.
func New(dev device.Net, cfg Config, opts Options) (*Stack, error) {
	learned := layer.NewLearned()
	s, err := setUp(dev, cfg, opts, learned)
	if err != nil {
		return nil, err
	}
	again := make(chan struct{}, 1)
	s.link.back = func() {
		s.announce()
		select {
		case again <- struct{}{}:
		default: // it has been asked already
		}
	}
	if err := s.obtain(&cfg, &opts, learned, again); err != nil {
		return nil, err
	}
	go s.link.receive()
	s.announce()
	return s, nil
}

// setUp makes a stack that does not receive yet. learned takes what routers say.
func setUp(dev device.Net, cfg Config, opts Options, learned *layer.Learned) (*Stack, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	if err := opts.Limits.check(); err != nil {
		return nil, err
	}
	l := newLink(dev, cfg.Fragments, &opts.Limits)
	gv, err := newStack(&cfg, &opts, l, learned)
	if err != nil {
		return nil, err
	}
	l.flows.init(gv)
	s := &Stack{gv: gv, link: l, limits: opts.Limits, v4: cfg.uses4(), v6: cfg.uses6()}
	s.addrs = addresses{cfg: cfg, log: opts.Log, changed: opts.Changed}
	if feature.SLAAC && cfg.SLAAC {
		s.addrs.advertised(learned)
	}
	if err := s.limit(); err != nil {
		return nil, err
	}
	if err := gv.CreateNIC(nic, s.link); err != nil {
		return nil, format.Errorf("netif: %s: %s", dev.Name(), err)
	}
	for _, p := range cfg.Addresses() {
		if err := s.assign(p); err != nil {
			return nil, err
		}
	}
	l.flows.settle(s.Addresses())
	s.route()
	return s, nil
}

// newStack makes gVisor's stack with our time and randomness.
func newStack(cfg *Config, opts *Options, l *link, learned *layer.Learned) (*stack.Stack, error) {
	var seed [32]byte
	if _, err := io.ReadFull(opts.Rand, seed[:]); err != nil {
		return nil, format.Errorf("netif: read entropy: %w", err)
	}
	o := layer.Options{IPv4: cfg.uses4(), IPv6: cfg.uses6()}
	if feature.SLAAC && cfg.SLAAC {
		o.Learned = learned
	}
	var layers []stack.NetworkProtocolFactory
	for _, l := range feature.Layers {
		layers = append(layers, l(o)...)
	}
	// Reno, since this release's CUBIC lets the congestion window fall to 0,
	// where the connection stays for ever (google/gvisor#13958;
	// TestTCPLossy hangs with it after a few megabytes).
	return stack.New(stack.Options{
		NetworkProtocols:   layers,
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6},
		Clock:              &clock{start: nanotime()},
		HandleLocal:        true,
		RandSource:         &source{r: rand.NewChaCha8(seed)},
		SecureRNG:          opts.Rand,
		IPTables:           &stack.IPTables{}, // filters nothing
		NUDDisp:            &l.asking,
	}), nil
}

// limit applies s.limits to the stack.
func (s *Stack) limit() error {
	l := &s.limits
	linger, wait := tcpip.TCPLingerTimeoutOption(l.FinWait), tcpip.TCPTimeWaitTimeoutOption(l.TimeWait)
	retries, moderate := tcpip.TCPMaxRetriesOption(l.MaxRetries), tcpip.TCPModerateReceiveBufferOption(false)
	for _, o := range []tcpip.SettableTransportProtocolOption{
		&tcpip.TCPReceiveBufferSizeRangeOption{Min: l.TCPReceive.Min, Default: l.TCPReceive.Default, Max: l.TCPReceive.Max},
		&tcpip.TCPSendBufferSizeRangeOption{Min: l.TCPSend.Min, Default: l.TCPSend.Default, Max: l.TCPSend.Max},
		&linger, &wait, &retries, &moderate,
	} {
		if err := s.gv.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return format.Errorf("netif: set %T: %s", o, err)
		}
	}
	for _, o := range []any{
		tcpip.ReceiveBufferSizeOption{Min: stack.MinBufferSize, Default: max(l.UDPReceive, stack.MinBufferSize), Max: max(l.UDPReceive, stack.MinBufferSize)},
		tcpip.SendBufferSizeOption{Min: stack.MinBufferSize, Default: 64 << 10, Max: 64 << 10},
	} {
		if err := s.gv.SetOption(o); err != nil {
			return format.Errorf("netif: set %T: %s", o, err)
		}
	}
	s.gv.SetICMPLimit(rate.Limit(l.ICMPRate))
	s.gv.SetICMPBurst(l.ICMPBurst)
	return nil
}

// SetFastPath puts f ahead of the stack from the next burst on; nil takes it
// away.
func (s *Stack) SetFastPath(f FastPath) {
	if f == nil {
		s.link.fast.Store(nil)
		return
	}
	s.link.begin.Store(nil)
	if b, ok := f.(Burster); ok {
		if begin := b.Burst(); begin != nil {
			s.link.begin.Store(&begin)
		}
	}
	s.link.fast.Store(&f)
	s.tell()
}

// MaxConns is the most TCP connections that there may be (Limits.MaxConns).
func (s *Stack) MaxConns() int { return s.limits.MaxConns }

// SetGate has gate called ahead of each burst of frames, but for those that the driver
// has answered for a fast path, by the goroutine that receives: meanwhile nothing is
// received, and when it says false the burst is dropped. nil ends that.
func (s *Stack) SetGate(gate func() bool) {
	if gate == nil {
		s.link.gate.Store(nil)
		return
	}
	s.link.gate.Store(&gate)
}

// Close ends all connections and stops receiving. The device stays open. Close
// returns when no goroutine of the stack uses the device any more.
func (s *Stack) Close() error {
	s.addrs.stop()
	s.gv.Close()
	s.link.Close()
	<-s.link.done
	s.gv.RemoveNIC(nic)
	return nil
}

// Done is closed when the stack receives no more: after Close, or because the
// device is gone.
func (s *Stack) Done() <-chan struct{} { return s.link.done }
