// Package freeport finds ports of 127.0.0.1 for programs that tests start: they are told
// a port, so that it cannot be the kernel's choice when they bind it. It is for the host
// only and stands in no image.
//
// A port that the kernel gave and took back is free for a moment only: whoever asks
// next for any port may get it, such as a resolver for one question. So ports are drawn
// from those that Linux gives nobody who does not name them (ip_local_port_range begins
// at 32768), and one that was given is given to nobody else, in whatever process, until
// it is released.
package freeport

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports are drawn from first to last-1.
const (
	first = 20000
	last  = 32000
)

// guard is the address of this machine where a port that was given is listened on: all
// processes see that, and a program that binds the port at 127.0.0.1 is not in its way.
const guard = "127.87.3.1"

// Reserve returns a port of 127.0.0.1 that nobody has for UDP or TCP, and that Reserve
// gives to nobody else before release is called or this process ends. It does not block.
func Reserve() (port int, release func() error, err error) {
	for range 1000 {
		port = first + rand.IntN(last-first)
		mark, err := net.Listen("tcp4", fmt.Sprintf("%s:%d", guard, port))
		if err != nil {
			continue // somebody else's
		}
		if free(port) {
			return port, mark.Close, nil
		}
		mark.Close()
	}
	return 0, nil, errors.New("freeport: no port is free")
}

// free says whether nobody has a port for UDP or TCP.
func free(port int) bool {
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	l, err := net.Listen("tcp4", addr)
	if err != nil {
		return false
	}
	defer l.Close()
	p, err := net.ListenPacket("udp4", addr)
	if err != nil {
		return false
	}
	p.Close()
	return true
}
