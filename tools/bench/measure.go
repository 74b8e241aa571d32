package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"ampoule/tools/bench/counter"
	"ampoule/tools/bench/peer"
	"ampoule/tools/boottest/vm"
	"ampoule/tools/load"
	"ampoule/tools/netpeer"
)

// Figures of one appliance.
type Figures struct {
	App        string     `json:"app"`
	Machine    vm.Machine `json:"machine"`
	CPU        string     `json:"cpu"`
	Network    string     `json:"network"` // tap or user
	ImageBytes int64      `json:"image_bytes"`
	Boot       Point      `json:"boot"`                       // QEMU's start to the first answer
	Lone       Point      `json:"lone"`                       // one request, the guest idles after it
	Saturated  Point      `json:"saturated"`                  // one of 16 under way
	TCP        *TCP       `json:"tcp,omitempty"`              // not of peers
	MinRAM     int        `json:"min_ram_mib,omitempty"`      // not of peers
	IdleCPU    float64    `json:"idle_cpu_percent,omitempty"` // of one host CPU; not of peers
}

// Point is a count of guest instructions, the median of some runs.
type Point struct {
	Plain        float64 `json:"instructions"`             // without iterations of repeated string instructions
	Instructions float64 `json:"instructions_with_repeat"` // with them
	Halts        float64 `json:"halts"`
	Spread       float64 `json:"spread_percent"` // of Plain, highest over lowest run
	Retries      int     `json:"retries"`
}

// Load points.
var (
	lone      = load.Loop{Clients: 1, Pause: 500 * time.Microsecond}
	saturated = load.Loop{Clients: 16}
)

const (
	bootLimit = 30 * time.Second
	peerLimit = 5 * time.Minute // Linux takes half a minute, on a busy machine more
	probeGap  = 10 * time.Millisecond
	idleTime  = 10 * time.Second
	maxRAM    = 128
)

// machine is a guest under measurement with the network it is on.
type machine struct {
	*vm.VM
	seg     *netpeer.Segment
	counter *counter.Counter
	addr    string // for UDP
	tcpAddr string
	dial    load.Dial
	service load.Service // asked by datagrams
	stream  load.Service // and over TCP
}

func (m *machine) Close() {
	if m.VM != nil {
		m.VM.Close()
	}
	if m.seg != nil {
		m.seg.Close()
	}
	if m.counter != nil {
		m.counter.Close()
	}
}

// start boots app, counted when it says so. The caller must Close the machine.
func (b *bench) start(ctx context.Context, app string, ram int, counted, blocks bool) (*machine, error) {
	m, c := &machine{}, vm.Config{Image: b.images[app], Machine: b.machine, CPU: b.cpu, RAM: ram, RNG: true}
	var err error
	if g, ok := b.guests[app]; ok {
		c = linux(c, g)
		if app != peer.Nginx {
			app = "dns"
		}
	}
	if m.service, m.stream, err = services(app, b.ask); err != nil {
		return nil, err
	}
	if b.service.Name != "" {
		m.service = b.service
	}
	if counted {
		if m.counter, err = b.plugin.New(blocks); err != nil {
			return nil, err
		}
		c.Args = append(c.Args, m.counter.Args()...)
	}
	if err := b.network(m, &c); err != nil {
		m.Close()
		return nil, err
	}
	if m.VM, err = vm.Start(ctx, c); err != nil {
		m.Close()
		return nil, err
	}
	if m.seg == nil {
		m.addr, m.tcpAddr = m.VM.Addr("udp", m.service.Port), m.VM.Addr("tcp", m.stream.Port)
	}
	return m, nil
}

// network puts the machine on a tap in a namespace, or where there can be none
// on the user-mode network, and says so once.
func (b *bench) network(m *machine, c *vm.Config) error {
	if !b.user {
		seg, err := netpeer.Open(netpeer.Options{Direct: true})
		if err == nil {
			m.seg, m.dial = seg, seg.DialContext
			m.addr = netip.AddrPortFrom(b.address, uint16(m.service.Port)).String()
			m.tcpAddr = m.addr
			c.Net = seg.Net()
			return seg.Peer.(*netpeer.Linux).Neighbor()
		}
		fmt.Fprintf(os.Stderr, "NOTICE: no network namespace here (%v): measured over QEMU's user-mode network, where each request costs more\n", err)
		b.user = true
	}
	var d net.Dialer
	m.dial = d.DialContext
	c.Net = vm.Net{Kind: vm.NetUser, Forwards: []vm.Forward{
		{Proto: "udp", Port: m.service.Port}, {Proto: "tcp", Port: m.service.Port},
	}}
	return nil
}

// up waits for the first answer, at most limit.
func (m *machine) up(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	go func() { // no answer will come from a guest that has ended
		select {
		case <-m.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	_, err := load.Probe(ctx, m.dial, m.addr, m.service, probeGap)
	if err != nil {
		return &vm.Error{Err: err, Command: m.Command(), Console: m.Console()}
	}
	return nil
}

// limit is how long the first answer may take.
func (b *bench) limit(app string) time.Duration {
	if _, ok := b.guests[app]; ok {
		return peerLimit
	}
	return bootLimit
}

func (b *bench) measure(ctx context.Context, app string) (*Figures, error) {
	st, err := os.Stat(b.images[app])
	if err != nil {
		return nil, err
	}
	f := &Figures{App: app, Machine: b.machine, CPU: b.cpu, Network: "tap", ImageBytes: st.Size()}
	if f.Boot, err = b.boot(ctx, app); err != nil {
		return nil, fmt.Errorf("boot: %w", err)
	}
	if f.Lone, err = b.requestCost(ctx, app, lone); err != nil {
		return nil, fmt.Errorf("lone: %w", err)
	}
	if f.Saturated, err = b.requestCost(ctx, app, saturated); err != nil {
		return nil, fmt.Errorf("saturated: %w", err)
	}
	if f.TCP, err = b.tcp(ctx, app); err != nil {
		return nil, fmt.Errorf("TCP: %w", err)
	}
	if f.IdleCPU, err = b.idle(ctx, app); err != nil {
		return nil, fmt.Errorf("idle: %w", err)
	}
	if f.MinRAM, err = b.minRAM(ctx, app); err != nil {
		return nil, fmt.Errorf("smallest RAM: %w", err)
	}
	if b.user {
		f.Network = "user"
	}
	return f, nil
}

// boot counts from QEMU's start to the first answer.
func (b *bench) boot(ctx context.Context, app string) (Point, error) {
	var cs []counter.Counts
	for range b.runs {
		m, err := b.start(ctx, app, b.ram, true, false)
		if err != nil {
			return Point{}, err
		}
		err = m.up(ctx, b.limit(app))
		cs = append(cs, m.counter.Read())
		m.Close()
		if err != nil {
			return Point{}, err
		}
	}
	return point(cs, 1), nil
}

// requestCost counts requests in one boot, after a warm-up.
func (b *bench) requestCost(ctx context.Context, app string, l load.Loop) (Point, error) {
	retries := 0
	p, err := b.count(ctx, app, b.requests, func(m *machine, n int) error {
		r, err := m.load(ctx, l, n)
		retries += r.Retries
		return err
	})
	p.Retries = retries
	return p, err
}

// count counts runs of n units each in one boot, after half as many to warm up.
func (b *bench) count(ctx context.Context, app string, n int, run func(*machine, int) error) (Point, error) {
	m, err := b.start(ctx, app, b.ram, true, false)
	if err != nil {
		return Point{}, err
	}
	defer m.Close()
	if err := m.up(ctx, b.limit(app)); err != nil {
		return Point{}, err
	}
	if err := run(m, (n+1)/2); err != nil {
		return Point{}, err
	}
	var cs []counter.Counts
	for range b.runs {
		time.Sleep(200 * time.Millisecond)
		before := m.counter.Read()
		if err := run(m, n); err != nil {
			return Point{}, err
		}
		cs = append(cs, m.counter.Read().Sub(before))
	}
	return point(cs, n), nil
}

// repeat counts what is done n times in a run, after a run to warm up.
func (b *bench) repeat(m *machine, n int, do func() error) (Point, error) {
	var cs []counter.Counts
	for range b.runs + 1 {
		time.Sleep(200 * time.Millisecond)
		before := m.counter.Read()
		for range n {
			if err := m.explained(do()); err != nil {
				return Point{}, err
			}
		}
		cs = append(cs, m.counter.Read().Sub(before))
	}
	return point(cs[1:], n), nil
}

// load runs n requests; one that fails is an error.
func (m *machine) load(ctx context.Context, l load.Loop, n int) (load.Result, error) {
	l.Requests = n
	r, err := l.Run(ctx, m.dial, m.addr, m.service)
	if err == nil && r.Failed > 0 {
		err = fmt.Errorf("%d of %d requests failed, first: %w", r.Failed, n, r.First)
	}
	if err != nil {
		return r, &vm.Error{Err: err, Command: m.Command(), Console: m.Console()}
	}
	return r, nil
}

// point makes the median of runs of n requests each.
func point(cs []counter.Counts, n int) Point {
	slices.SortFunc(cs, func(a, b counter.Counts) int { return int(int64(a.Plain()) - int64(b.Plain())) })
	mid := cs[len(cs)/2]
	per := func(v uint64) float64 { return float64(v) / float64(n) }
	spread := 0.0
	if low := per(cs[0].Plain()); low > 0 {
		spread = 100 * (per(cs[len(cs)-1].Plain()) - low) / low
	}
	return Point{Plain: per(mid.Plain()), Instructions: per(mid.Instructions), Halts: per(mid.Halts), Spread: spread}
}

// idle is the share of a host CPU that a guest uses which nobody asks.
func (b *bench) idle(ctx context.Context, app string) (float64, error) {
	m, err := b.start(ctx, app, b.ram, false, false)
	if err != nil {
		return 0, err
	}
	defer m.Close()
	if err := m.up(ctx, bootLimit); err != nil {
		return 0, err
	}
	select { // what the boot left to do
	case <-time.After(2 * time.Second):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	before, err := m.CPUTime()
	if err != nil {
		return 0, err
	}
	select {
	case <-time.After(idleTime):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	after, err := m.CPUTime()
	return 100 * float64(after-before) / float64(idleTime), err
}

// minRAM is the least number of MiB with which app answers and goes on
// answering, found by bisection.
func (b *bench) minRAM(ctx context.Context, app string) (int, error) {
	serves := func(mib int) (bool, error) {
		m, err := b.start(ctx, app, mib, false, false)
		if err != nil {
			var e *vm.Error
			return false, ctxOr(ctx, err, errors.As(err, &e)) // QEMU itself may refuse so little
		}
		defer m.Close()
		if m.up(ctx, bootLimit/2) != nil {
			return false, ctx.Err()
		}
		if m.service.NoDatagram {
			err = tcpSaturated.run(ctx, m, b.requests/2)
		} else {
			_, err = m.load(ctx, saturated, b.requests/2)
		}
		return err == nil, ctx.Err()
	}
	return leastRAM(serves)
}

// leastRAM is the least number of MiB for which serves.
func leastRAM(serves func(mib int) (bool, error)) (int, error) {
	low, high := 0, maxRAM // low does not serve
	if ok, err := serves(high); !ok {
		return 0, errors.Join(fmt.Errorf("does not serve with %d MiB", high), err)
	}
	for high-low > 1 {
		mid := (low + high) / 2
		ok, err := serves(mid)
		if err != nil {
			return 0, err
		}
		if ok {
			high = mid
		} else {
			low = mid
		}
	}
	return high, nil
}

// ctxOr passes on the end of ctx, and err unless it is harmless.
func ctxOr(ctx context.Context, err error, harmless bool) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if harmless {
		return nil
	}
	return err
}
