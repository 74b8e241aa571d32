package freeport

import (
	"fmt"
	"net"
	"testing"
)

// TestReserve: what is reserved can be bound, and is given to nobody else before it is
// released; what somebody has, or has reserved, is not given.
func TestReserve(t *testing.T) {
	given := map[int]bool{}
	for range 200 {
		port, release, err := Reserve()
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		if given[port] || port < first || port >= last {
			t.Errorf("port %d is given, as others were: %v", port, given[port])
		}
		given[port] = true
	}
	port, release, err := Reserve()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	if free(port) {
		t.Error("a port for which somebody listens is free")
	}
	l.Close()
	p, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	if free(port) {
		t.Error("a port at which somebody takes datagrams is free")
	}
	p.Close()
	mark := fmt.Sprintf("%s:%d", guard, port)
	if l, err := net.Listen("tcp", mark); err == nil {
		l.Close()
		t.Error("others are not kept from it")
	}
	if err := release(); err != nil {
		t.Error(err)
	}
	if l, err := net.Listen("tcp", mark); err != nil {
		t.Errorf("after the release: %v", err)
	} else {
		l.Close()
	}
}
