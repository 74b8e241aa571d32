package netif

import (
	"encoding/binary"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"ampoule/libos/device"
	"ampoule/libos/netif/netiftest"
)

// trimmed says whether the stack is the one of images.
func trimmed() bool {
	_, ok := any(&stack.Route{}).(interface {
		WriteSegment(stack.NetworkHeaderParams, header.TCPFields, []byte, *stack.PacketBuffer, stack.GSO) (tcpip.Error, bool)
	})
	return ok
}

// delayed is a connection whose server delays acknowledgements, and counts those that
// nothing carries.
func delayed(t *testing.T, o netiftest.Options) (c, s net.Conn, bare *atomic.Int64) {
	t.Helper()
	da, db := netiftest.Pair(o, o)
	t.Cleanup(func() { da.Check(t); db.Check(t) })
	a := newTestStack(t, da, testConfig(addrA4, addrA6), testLimits())
	b := newTestStack(t, db, testConfig(addrB4, addrB6), testLimits())
	c, s = connect(t, a, b, addrB4+":80")
	s.(*Conn).DelayAcks()
	bare = new(atomic.Int64)
	db.Tap(func(f []byte, _ device.Meta) {
		p, _ := parse(f)
		if p.proto == protoTCP && int(binary.BigEndian.Uint16(f[16:]))-ipv4Size-int(f[p.transport+12]>>4)*4 == 0 {
			bare.Add(1)
		}
	})
	return c, s, bare
}

// TestDelayAcks: an answer that comes a little later carries the acknowledgement. One that
// nothing carries is sent by itself, and the next ones without delay.
func TestDelayAcks(t *testing.T) {
	c, s, bare := delayed(t, netiftest.Options{})
	go func() {
		b := make([]byte, 1000)
		for {
			n, err := s.Read(b)
			if err != nil {
				return
			}
			if b[0] == 'q' { // a question
				time.Sleep(3 * time.Millisecond)
				s.Write(b[:n])
			}
		}
	}()
	question := append([]byte{'q'}, payload(500)...)
	const questions = 50
	for range questions {
		exchange(t, c, question)
	}
	if n := bare.Load(); trimmed() && n > questions/2 || !trimmed() && n < questions/2 {
		t.Errorf("%d answers came with %d acknowledgements by themselves; trimmed: %v", questions, n, trimmed())
	}
	m := measure(t)
	late, later := 0, 0 // what is not acknowledged is sent again after 200 ms or more
	for range 5 * 17 {
		before, began, took := bare.Load(), time.Now(), m.begin()
		c.Write([]byte{'n'})
		for bare.Load() == before && time.Since(began) < 5*time.Second {
			time.Sleep(time.Millisecond)
		}
		all, ran := took()
		if ran > 150*time.Millisecond {
			t.Errorf("an acknowledgement took %v (%v)", ran, all)
		}
		if all > 15*time.Millisecond {
			late++
		}
		if ran > 15*time.Millisecond {
			later++
		}
	}
	if trimmed() && late < 3 || later > 30 { // 5, and the host may be busy
		t.Errorf("%d acknowledgements were late, %d of them by the host", late, late-later)
	}
}

// TestDelayAcksNagle: a sender that holds back the second part of each question until the
// first is acknowledged (RFC 896) loses the delay in few of them.
func TestDelayAcksNagle(t *testing.T) {
	c, s, _ := delayed(t, netiftest.Options{})
	c.(*Conn).ep.SocketOptions().SetDelayOption(true)
	const part, questions = 100, 34
	go func() {
		b := make([]byte, 2*part)
		for {
			if _, err := io.ReadFull(s, b); err != nil {
				return
			}
			s.Write(b)
		}
	}()
	m := measure(t)
	var slow, slower int
	got := make([]byte, 2*part)
	for range questions {
		took := m.begin()
		c.Write(payload(part))
		c.Write(payload(part))
		if _, err := io.ReadFull(c, got); err != nil {
			t.Fatal(err)
		}
		all, ran := took()
		if all > 15*time.Millisecond {
			slow++
		}
		if ran > 15*time.Millisecond {
			slower++
		}
		if ran > 150*time.Millisecond {
			t.Errorf("a question took %v (%v)", ran, all)
		}
	}
	if trimmed() && slow < 1 || slower > 12 {
		t.Errorf("%d of %d questions were slowed, %d of them by the host", slow, questions, slow-slower)
	}
}

// TestDelayAcksLossy: what is lost is sent again, and small answers and much data arrive.
func TestDelayAcksLossy(t *testing.T) {
	for seed := range uint64(3) {
		c, s, _ := delayed(t, netiftest.Options{Loss: 0.02, Reorder: 0.02, Repeat: 0.01, Seed: 100 + seed})
		c.(*Conn).DelayAcks()
		for i := range 100 {
			p := payload(10 + 13*i)
			c.Write(p)
			same(t, s, p)
			s.Write(p)
			same(t, c, p)
		}
		much := payload(4 << 20)
		go c.Write(much)
		go s.Write(much)
		done := make(chan struct{})
		go func() { same(t, s, much); close(done) }()
		same(t, c, much)
		<-done
	}
}

// same reads as many bytes as want has, which must be the same.
func same(t *testing.T, c net.Conn, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != string(want) {
		t.Errorf("%d bytes of %d: %v", n, len(want), err)
	}
}
