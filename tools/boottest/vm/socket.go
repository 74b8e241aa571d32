package vm

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// SocketPair makes the two ends of an Ethernet cable: guest goes into
// Net.File, a Read or Write of peer is one frame. The caller closes both;
// guest may be closed once Start has returned.
func SocketPair() (peer, guest *os.File, err error) {
	return socketPair(unix.SOCK_DGRAM, "ethernet")
}

// StreamPair makes a stream for one of Config.Files: a debugger, say.
func StreamPair() (near, far *os.File, err error) {
	return socketPair(unix.SOCK_STREAM, "stream")
}

// socketPair returns near, non-blocking, and far, as QEMU wants it.
func socketPair(kind int, name string) (near, far *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: socketpair: %w", name, err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return os.NewFile(uintptr(fds[0]), name), os.NewFile(uintptr(fds[1]), name+" (far)"), nil
}
