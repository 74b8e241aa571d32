// Package siege holds the DNS appliance to what an operator wants of it under
// load: at the highest rate that it takes nothing is lost by the guest and no
// answer is wrong; under a flood from addresses that are not the sender's, a
// client that behaves gets all its answers; and memory stays as it was.
//
// The appliance runs in QEMU behind a tap device. What its network stack counted,
// what the kernel counted on both sides of the tap, and what the clients counted
// are compared, so that a datagram which the host's queues had no room for is
// told apart from one that the guest lost.
package siege

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"ampoule/tools/boottest/vm"
	"ampoule/tools/load"
	"ampoule/tools/netpeer"
)

// Options of a siege. The image's zones are those of configs/.
type Options struct {
	Image   string
	Machine vm.Machine
	CPU     string
	RAM     int           // MiB
	For     time.Duration // of the load; whole seconds, half of them over IPv6
	// Flood is a rate in frames a second, for an image with rate limiting and
	// cookies; 0: dnsperf at full rate, for one without.
	Flood int
	Rate  int // of rate limiting in the image, for each kind and network
}

// Report is what was counted.
type Report struct {
	Options
	Before, After, Worst Figures // of the guest: at rest, at rest, and the most memory in between
	Host                 netpeer.Counters
	Perf                 []Perf    // IPv4, IPv6
	Clients              []*Client // IPv4, IPv6, with cookies
	Spoofed              *Flood    // nil: none
	Said                 []string  // by the guest, of trouble
	Took                 time.Duration
}

// Limits of a siege that goes well.
const (
	bootLimit = 60 * time.Second
	restLimit = 60 * time.Second
	warmUp    = 2 * time.Second
)

// siege is one under way.
type siege struct {
	Options
	all  []question
	seg  *netpeer.Segment
	host *netpeer.Linux
	log  *log
}

// Run boots the image and puts the load on. It blocks for a while longer than
// Options.For. The error says what kept it from being done; what went wrong with
// the appliance is for Report.Check to say.
func Run(ctx context.Context, o Options) (*Report, error) {
	seg, err := netpeer.Open(netpeer.Options{Kind: netpeer.KindLinux, Direct: true})
	if err != nil {
		return nil, err
	}
	defer seg.Close()
	s := &siege{Options: o, all: questions(), seg: seg, host: seg.Peer.(*netpeer.Linux), log: newLog()}
	v, err := vm.Start(ctx, vm.Config{Image: o.Image, Machine: o.Machine, CPU: o.CPU, RAM: o.RAM, RNG: true,
		Net: seg.Net(), Append: "stats=1", Tee: s.log.line})
	if err != nil {
		return nil, err
	}
	defer v.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-v.Done():
			cancel(errors.New("the guest ended"))
		case <-ctx.Done():
		}
	}()
	r, err := s.run(ctx)
	if err != nil {
		return r, fmt.Errorf("siege: %w\n%s\n%s", errors.Join(err, context.Cause(ctx)), v.Command(), end(v.Lines()))
	}
	return r, nil
}

// end is the last of a console's lines.
func end(lines []string) string { return strings.Join(lines[max(0, len(lines)-40):], "\n") }

func (s *siege) run(ctx context.Context) (*Report, error) {
	up, stop := context.WithTimeout(ctx, bootLimit)
	_, err := load.Probe(up, s.seg.DialContext, addr4, load.DNS("www.example.org"), 20*time.Millisecond)
	stop()
	if err != nil {
		return nil, err
	}
	// Neighbour discovery would send frames of its own while we count.
	if err := s.host.Neighbor(); err != nil {
		return nil, err
	}
	r := &Report{Options: s.Options}
	// Buffers and tables grow to their size.
	if err := s.load(ctx, &Report{}, warmUp); err != nil {
		return r, err
	}
	if r.Before, err = s.log.rest(ctx, restLimit); err != nil {
		return r, err
	}
	before, err := s.seg.Counters()
	if err != nil {
		return r, err
	}
	mark, began := s.log.mark(), time.Now()
	if err := s.load(ctx, r, s.For); err != nil {
		return r, err
	}
	r.Took = time.Since(began)
	if r.After, err = s.log.rest(ctx, restLimit); err != nil {
		return r, err
	}
	after, err := s.seg.Counters()
	if err != nil {
		return r, err
	}
	r.Host = netpeer.Counters{ToGuest: after.ToGuest - before.ToGuest, FromGuest: after.FromGuest - before.FromGuest,
		Dropped: after.Dropped - before.Dropped, Overrun: after.Overrun - before.Overrun}
	r.Worst, r.Said = s.log.worst(mark), s.log.said()
	return r, nil
}

// Where the guest is asked.
var (
	addr4 = netpeer.GuestIPv4.String() + ":53"
	addr6 = "[" + netpeer.GuestIPv6.String() + "]:53"
)

// Pauses of the clients between two questions.
const (
	samplePause = 20 * time.Millisecond  // beside dnsperf
	calmPause   = 100 * time.Millisecond // beside a flood
)

// load puts the load on for d and writes to r what came of it.
func (s *siege) load(ctx context.Context, r *Report, d time.Duration) error {
	run, stop := context.WithCancel(ctx)
	defer stop()
	var clients, others sync.WaitGroup
	client := func(addr string, cookie bool, pause time.Duration) {
		c := &Client{dial: s.seg.DialContext, addr: addr, cookie: cookie}
		r.Clients = append(r.Clients, c)
		clients.Go(func() { c.run(run, s.all, pause) })
	}
	if s.Flood == 0 {
		client(addr4, false, samplePause)
		err := s.fullRate(ctx, r, d)
		stop()
		clients.Wait()
		return err
	}
	f, err := newFlooder(s.seg.Inject, s.all)
	if err != nil {
		return err
	}
	flood, dry := context.WithCancel(ctx)
	defer dry()
	others.Go(func() { f.run(flood, s.Flood) })
	client(addr4, false, calmPause)
	client(addr6, false, calmPause)
	client(addr4, true, calmPause)
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
	stop()
	clients.Wait() // while the flood goes on
	dry()
	others.Wait()
	r.Spoofed = &f.count
	return context.Cause(ctx)
}

// fullRate is dnsperf over IPv4, then over IPv6.
func (s *siege) fullRate(ctx context.Context, r *Report, d time.Duration) error {
	for _, half := range []struct {
		addr string
		d    time.Duration
	}{
		{netpeer.GuestIPv4.String(), d - d/2/time.Second*time.Second}, {netpeer.GuestIPv6.String(), d / 2 / time.Second * time.Second},
	} {
		p, err := dnsperf(ctx, s.host, half.addr, s.all, half.d)
		if err != nil {
			return err
		}
		r.Perf = append(r.Perf, p)
	}
	return nil
}
