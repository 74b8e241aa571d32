// Package netpeer is the other end of a guest's Ethernet cable: a host with
// real TCP that tests and measurements use to talk to a guest, on a cable that
// can lose, repeat, delay and reorder frames, and that takes frames made by
// hand.
//
// The host is Linux itself, in a network namespace of its own, where that is
// allowed (root with CAP_NET_ADMIN and CAP_SYS_ADMIN), else a gVisor stack in
// this process. Namespace and tap device have no name outside the process, so
// nothing of them is left behind however it ends.
package netpeer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"

	"ampoule/tools/boottest/vm"
)

// Addresses of the segment; the guest's are vm.GuestIPv4 and vm.GuestIPv6.
var (
	HostIPv4  = netip.MustParsePrefix(vm.HostIPv4 + "/24")
	HostIPv6  = netip.MustParsePrefix(vm.HostIPv6 + "/64")
	GuestIPv4 = netip.MustParseAddr(vm.GuestIPv4)
	GuestIPv6 = netip.MustParseAddr(vm.GuestIPv6)
	HostMAC   = net.HardwareAddr{0x52, 0x55, 0x0a, 0, 2, 2}
	GuestMAC  = net.HardwareAddr{0x52, 0x54, 0, 0x12, 0x34, 0x56}
)

// MaxFrame is the largest frame on the cable: a TSO frame with its headers.
const MaxFrame = 65536 + 64

// Peer is a host on the guest's segment. Its methods may be called from any
// goroutine; addresses are literal, like "10.0.2.15:7" and "[fec0::15]:7".
type Peer interface {
	// Kind is KindLinux or KindGVisor.
	Kind() Kind
	// DialContext blocks until there is a connection; network is tcp or udp.
	DialContext(ctx context.Context, network, addr string) (net.Conn, error)
	// Listen accepts TCP connections.
	Listen(addr string) (net.Listener, error)
	// Close ends the host; its connections die.
	Close() error
}

// Kind chooses a Peer.
type Kind string

const (
	KindAuto   Kind = "" // Linux where possible, else gVisor
	KindLinux  Kind = "linux"
	KindGVisor Kind = "gvisor"
)

// Options of Open.
type Options struct {
	Kind Kind
	// Direct attaches the guest to a tap device, with the kernel's checksum and
	// segmentation offloads, and no cable between that could be impaired. It
	// needs Linux.
	Direct bool
	// Notice is told loudly when KindAuto falls back to gVisor. Default os.Stderr.
	Notice io.Writer
}

// Segment is an Ethernet segment of one guest and one host.
type Segment struct {
	Peer
	Wire  *Wire // nil when Direct
	guest *os.File
	tap   *tap
	net   vm.NetKind
	once  sync.Once
	err   error // of Close
}

// Open makes a segment; the caller must Close it, after the VM.
func Open(o Options) (*Segment, error) {
	if o.Kind == KindGVisor {
		if o.Direct {
			return nil, errors.New("netpeer: a direct tap needs Linux as the peer")
		}
		return openGVisor()
	}
	s, err := openLinux(o.Direct)
	if err == nil || o.Kind == KindLinux || o.Direct {
		return s, err
	}
	if o.Notice == nil {
		o.Notice = os.Stderr
	}
	fmt.Fprintf(o.Notice, "NOTICE: no network namespace here (%v): the peer is a gVisor stack, not Linux\n", err)
	return openGVisor()
}

// Net is what the guest's Config.Net has to be.
func (s *Segment) Net() vm.Net { return vm.Net{Kind: s.net, File: s.guest, MAC: GuestMAC.String()} }

// Inject puts a frame on the cable towards the guest. It may block for as long
// as the guest takes no frames.
func (s *Segment) Inject(frame []byte) error {
	if s.Wire != nil {
		return s.Wire.Inject(ToGuest, frame)
	}
	return s.tap.inject(frame)
}

// Close ends cable and host, and whatever blocks on them. It may be called more
// than once.
func (s *Segment) Close() error {
	s.once.Do(func() {
		var errs []error
		if s.Wire != nil {
			errs = append(errs, s.Wire.Close())
		}
		if s.tap != nil {
			errs = append(errs, s.tap.close(), s.Peer.Close())
		} else {
			errs = append(errs, s.guest.Close(), s.Peer.Close())
		}
		s.err = errors.Join(errs...)
	})
	return s.err
}

func openGVisor() (*Segment, error) {
	near, far, err := vm.SocketPair()
	if err != nil {
		return nil, err
	}
	hostEnd, wireEnd, err := pipe()
	if err != nil {
		return nil, err
	}
	st, err := newStack(hostEnd, HostMAC, HostIPv4, HostIPv6)
	if err != nil {
		return nil, err
	}
	return &Segment{Peer: st, Wire: NewWire(near, wireEnd), guest: far, net: vm.NetSocket}, nil
}

func openLinux(direct bool) (*Segment, error) {
	ns, err := newLinux()
	if err != nil {
		return nil, err
	}
	t, err := ns.addTap(direct)
	if err != nil {
		ns.Close()
		return nil, err
	}
	if direct {
		return &Segment{Peer: ns, guest: t.file, tap: t, net: vm.NetTap}, nil
	}
	near, far, err := vm.SocketPair()
	if err != nil {
		ns.Close()
		return nil, err
	}
	t.packet.Close() // the cable takes frames itself
	return &Segment{Peer: ns, Wire: NewWire(near, t.file), guest: far, net: vm.NetSocket}, nil
}
