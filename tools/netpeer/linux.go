package netpeer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// Linux is a Peer: a network namespace of this process. It lives on one
// thread, which every call that opens a socket or starts a command is handed
// to; the sockets themselves work on any thread.
type Linux struct {
	calls chan func()
	once  sync.Once
	quit  chan struct{}
}

var errPeerClosed = errors.New("netpeer: closed")

// newLinux makes a namespace with its loopback interface up.
func newLinux() (*Linux, error) {
	l := &Linux{calls: make(chan func()), quit: make(chan struct{})}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			runtime.UnlockOSThread()
			ready <- fmt.Errorf("netpeer: unshare network namespace: %w", err)
			return
		}
		ready <- nil
		for {
			select {
			case f := <-l.calls:
				f()
			case <-l.quit:
				return // the thread is locked, so it ends too, and the namespace with it
			}
		}
	}()
	if err := <-ready; err != nil {
		return nil, err
	}
	if err := l.ip("link", "set", "lo", "up"); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// Kind is KindLinux.
func (l *Linux) Kind() Kind { return KindLinux }

// Do runs f on the namespace's thread: sockets that f opens and processes that
// it starts belong to the namespace. f should not block for long.
func (l *Linux) Do(f func() error) error {
	done := make(chan error, 1)
	select {
	case l.calls <- func() { done <- f() }:
		return <-done
	case <-l.quit:
		return errPeerClosed
	}
}

// Start starts cmd in the namespace.
func (l *Linux) Start(cmd *exec.Cmd) error { return l.Do(cmd.Start) }

// ip runs the ip command in the namespace.
func (l *Linux) ip(args ...string) error {
	return l.Do(func() error {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("netpeer: ip %v: %w: %s", args, err, out)
		}
		return nil
	})
}

// DialContext connects from the namespace. Each dial has a thread of its own
// for as long as it takes.
func (l *Linux) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	type result struct {
		c   net.Conn
		err error
	}
	done := make(chan result, 1)
	ns, err := l.handle()
	if err != nil {
		return nil, err
	}
	go func() {
		runtime.LockOSThread() // and end with the goroutine: it is in the namespace
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- result{nil, fmt.Errorf("netpeer: setns: %w", err)}
			return
		}
		// A literal address is dialled in this goroutine, so on this thread.
		c, err := d.DialContext(ctx, network, addr)
		done <- result{c, err}
	}()
	r := <-done
	return r.c, r.err
}

// handle opens the namespace as a file.
func (l *Linux) handle() (f *os.File, err error) {
	err = l.Do(func() error {
		f, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	return f, err
}

// Listen listens for TCP in the namespace.
func (l *Linux) Listen(addr string) (ln net.Listener, err error) {
	err = l.Do(func() error {
		ln, err = net.Listen("tcp", addr)
		return err
	})
	return ln, err
}

// Close gives up the namespace; the kernel removes it when its last socket is
// closed.
func (l *Linux) Close() error {
	l.once.Do(func() { close(l.quit) })
	return nil
}

// tap is a tap device with the host's addresses.
type tap struct {
	file   *os.File
	ns     *Linux
	index  int
	packet *os.File // a packet socket of the namespace, for inject
}

const tapName = "tap0"

// addTap makes the namespace's tap device. With offload it has the header that
// QEMU uses for checksum and segmentation offload; else one Read or Write of
// the file is one frame.
func (l *Linux) addTap(offload bool) (*tap, error) {
	t := &tap{ns: l}
	flags := uint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if offload {
		flags |= unix.IFF_VNET_HDR
	}
	err := l.Do(func() (err error) {
		t.file, err = openTap(tapName, flags, !offload)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, args := range [][]string{
		{"link", "set", tapName, "address", HostMAC.String(), "txqueuelen", "1000", "up"},
		{"addr", "add", HostIPv4.String(), "dev", tapName},
		{"addr", "add", HostIPv6.String(), "dev", tapName, "nodad"},
	} {
		if err := l.ip(args...); err != nil {
			t.file.Close()
			return nil, err
		}
	}
	err = l.Do(func() error {
		i, err := net.InterfaceByName(tapName)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("netpeer: packet socket: %w", err)
		}
		t.index, t.packet = i.Index, os.NewFile(uintptr(fd), "packet")
		return nil
	})
	if err != nil {
		t.file.Close()
		return nil, err
	}
	return t, nil
}

// close gives up the device.
func (t *tap) close() error { return errors.Join(t.packet.Close(), t.file.Close()) }

// openTap creates the device; poll says whether the file is for our own use,
// so must not block a thread.
func openTap(name string, flags uint16, poll bool) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("netpeer: /dev/net/tun: %w", err)
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(flags)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err == nil && poll {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("netpeer: tap device: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// inject sends a frame out of the tap device, to the guest. It does not block: a
// device whose queue is full drops the frame and counts it.
func (t *tap) inject(frame []byte) error {
	raw, err := t.packet.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	if err := raw.Control(func(fd uintptr) {
		sent = unix.Sendto(int(fd), frame, 0, &unix.SockaddrLinklayer{Ifindex: t.index})
	}); err != nil {
		return err
	}
	return sent
}

// Neighbor tells the host the guest's hardware address, so that a measurement
// does not wait for the address resolution's time-outs.
func (l *Linux) Neighbor() error {
	for _, a := range []string{GuestIPv4.String(), GuestIPv6.String()} {
		if err := l.ip("neigh", "replace", a, "lladdr", GuestMAC.String(), "dev", tapName, "nud", "permanent"); err != nil {
			return err
		}
	}
	return nil
}
