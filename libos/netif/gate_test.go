package netif

import (
	"context"
	"sync/atomic"
	"testing"

	"ampoule/libos/netif/netiftest"
)

// TestGate: what comes while there is no memory is dropped, all of it, and TCP goes on when
// there is some.
func TestGate(t *testing.T) {
	a, b := pair(t, netiftest.Options{}, netiftest.Options{})
	srv, err := b.ListenPacket("udp", ":8")
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	go echoPackets(srv)
	c, err := a.DialContext(context.Background(), "udp", addrB4+":8")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	exchange(t, c, []byte("before"))

	var asked atomic.Int64
	var open atomic.Bool
	b.SetGate(func() bool { asked.Add(1); return open.Load() })
	sent := b.Stats().TxFrames
	c.Write([]byte("lost"))
	eventually(t, "a frame is dropped", func() bool { return b.Stats().RxNoMemory == 1 })
	if asked.Load() == 0 || b.Stats().TxFrames != sent {
		t.Errorf("asked %d times, %d frames sent in answer", asked.Load(), b.Stats().TxFrames-sent)
	}

	done := make(chan error, 1)
	go func() {
		t, err := a.DialContext(context.Background(), "tcp", addrB4+":80")
		if err == nil {
			_, err = t.Write([]byte("hello"))
			t.Close()
		}
		done <- err
	}()
	l, err := b.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dropped := b.Stats().RxNoMemory
	eventually(t, "a SYN is dropped", func() bool { return b.Stats().RxNoMemory > dropped })
	open.Store(true)
	n, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	b.SetGate(nil)
	before := asked.Load()
	exchange(t, c, []byte("after"))
	if asked.Load() != before {
		t.Error("the gate was asked after it was taken away")
	}
}
