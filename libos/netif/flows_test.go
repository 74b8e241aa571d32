package netif

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"ampoule/libos/device"
	"ampoule/libos/netif/netiftest"
)

// short is the number of segments that s has received without the IP layers.
func short(s *Stack) int64 {
	return int64(s.gv.Stats().TCP.ValidSegmentsReceived.Value()) - int64(s.gv.Stats().IP.PacketsReceived.Value())
}

// connect joins a and b by a connection, of which it returns both ends.
func connect(t *testing.T, a, b *Stack, addr string) (client, server net.Conn) {
	t.Helper()
	l, err := b.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan net.Conn, 1)
	go func() {
		c, _ := l.Accept()
		got <- c
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if client, err = a.DialContext(ctx, "tcp", addr); err != nil {
		t.Fatal(err)
	}
	if server = <-got; server == nil {
		t.Fatal("no connection was accepted")
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	for _, c := range []net.Conn{client, server} {
		c.SetDeadline(time.Now().Add(60 * time.Second))
	}
	return client, server
}

// TestFlows: the segments of connections find them without the layers, after our
// addresses have changed by way of them, and nothing is left when they end.
func TestFlows(t *testing.T) {
	a, b := pair(t, netiftest.Options{}, netiftest.Options{})
	for _, addr := range []string{addrB4 + ":80", "[" + addrB6 + "]:80"} {
		c, s := connect(t, a, b, addr)
		go io.Copy(s, s)
		before := short(b)
		for range 20 {
			exchange(t, c, payload(900))
		}
		if n := short(b) - before; n < 20 {
			t.Errorf("%s: %d segments found the connection", addr, n)
		}
		b.readdressed()
		eventually(t, "the last acknowledgement is there", func() bool {
			before = short(b)
			time.Sleep(10 * time.Millisecond)
			return short(b) == before
		})
		exchange(t, c, payload(900))
		if n := short(b) - before; n > 0 {
			t.Errorf("%s: %d segments found a connection that was to be forgotten", addr, n)
		}
		c.Close()
		s.Close()
	}
	eventually(t, "the server's flows end", func() bool { return b.link.flows.n.Load() == 0 })
	c, s := connect(t, a, b, addrB4+":80")
	if n := b.link.flows.n.Load(); n != 1 {
		t.Errorf("%d flows, want 1", n)
	}
	c.Close()
	s.Close()
	eventually(t, "all flows end", func() bool { return a.link.flows.n.Load() == 0 && b.link.flows.n.Load() == 0 })
	for _, f := range []*flows{&a.link.flows, &b.link.flows} {
		for _, e := range f.table {
			if e != nil {
				t.Error("a flow is left")
			}
		}
	}
}

// finds says whether f finds the endpoint of a connection.
func (f *flows) finds(k *flowKey) bool {
	to, _ := f.find(k)
	return to != nil
}

// TestFlowTable: of two endpoints with the same addresses the one that came last is
// found, and the other when it is gone; all are found in a table that has grown.
func TestFlowTable(t *testing.T) {
	a, b := pair(t, netiftest.Options{}, netiftest.Options{})
	c, _ := connect(t, a, b, addrB4+":80")
	ep := c.(*Conn).ep.(stack.TransportEndpoint)
	id := c.(*Conn).ep.Info().(*stack.TransportEndpointInfo).ID
	var f flows
	f.table = make([]*flow, 16)
	first := f.Enter(id, ep)
	key := first.(*flow).key
	second := f.Enter(id, ep)
	for range 100 { // more than there are lists
		f.Leave(f.Enter(id, ep))
	}
	entries := make([]flow, 100)
	for i := range entries {
		e := &entries[i]
		e.key, e.to = flowKey{rest: uint64(i)}, ep
		if i%25 == 0 {
			f.grow(2 * len(f.table))
		}
		f.enter(e)
	}
	for i := range entries {
		if !f.finds(&flowKey{rest: uint64(i)}) {
			t.Errorf("flow %d is not found", i)
		}
	}
	second.(*flow).to = nil // to tell them apart
	if f.finds(&key) {
		t.Error("not the last one was found")
	}
	second.(*flow).to = ep
	f.Leave(second)
	f.Leave(second)
	if !f.finds(&key) {
		t.Error("another endpoint's flow is gone")
	}
	if f.Leave(first); f.finds(&key) {
		t.Error("the endpoint's own flow is left")
	}
	if f.finds(&flowKey{rest: 1 << 40}) {
		t.Error("a flow is found that is not there")
	}
}

// TestPlain: what is not as usual is left to the layers.
func TestPlain(t *testing.T) {
	h := &host{t: t}
	h.dev, _ = netiftest.Pair(netiftest.Options{}, netiftest.Options{})
	for _, src := range []string{"10.1.2.9", "fd00::9"} {
		good := h.syn(src, 4000, 80, 1)
		p, _ := parse(good)
		four := p.etherType == typeIPv4
		at := p.transport
		resum := func(b []byte) {
			if four {
				ip := header.IPv4(b[14:])
				ip.SetChecksum(0)
				ip.SetChecksum(^ip.CalculateChecksum())
			}
		}
		length := func(b []byte, n int) {
			if four {
				binary.BigEndian.PutUint16(b[16:], uint16(20+n))
			} else {
				binary.BigEndian.PutUint16(b[18:], uint16(n))
			}
			resum(b)
		}
		for _, c := range []struct {
			name string
			ok   bool
			f    func(b []byte) []byte
		}{
			{"as it is", true, func(b []byte) []byte { return b }},
			{"padded", true, func(b []byte) []byte { return append(b, 0, 0, 0, 0, 0, 0) }},
			{"longer than the frame", false, func(b []byte) []byte { length(b, 21); return b }},
			{"shorter than the TCP header", false, func(b []byte) []byte { length(b, 19); return b }},
			{"data offset 4", false, func(b []byte) []byte { b[at+12] = 4 << 4; return b }},
			{"data offset behind the end", false, func(b []byte) []byte { b[at+12] = 6 << 4; return b }},
			{"cut", false, func(b []byte) []byte { return b[:len(b)-1] }},
		} {
			b := c.f(bytes.Clone(good))
			k, ip, n, ok := plain(b, p, len(b)-ethernetSize, false)
			if ok != c.ok || ok && (uint32(k.rest) != 4000<<16|80 || ip != at-14 || n != 20) {
				t.Errorf("%s, %s: %v %v %d %d", src, c.name, ok, k, ip, n)
			}
		}
		if four {
			b := bytes.Clone(good)
			b[22]++ // time to live
			if _, _, _, ok := plain(b, p, len(b)-ethernetSize, false); ok {
				t.Error("a header with a wrong sum is plain")
			}
			b = append(bytes.Clone(good[:34]), append([]byte{1, 1, 1, 0}, good[34:]...)...)
			b[14] = 0x46 // four bytes of options
			length(b, 24)
			q, _ := parse(b)
			if _, _, _, ok := plain(b, q, len(b)-ethernetSize, true); ok {
				t.Error("a packet with options is plain")
			}
		}
	}
}

// TestSegment compares frames that WriteSegment makes with those of the layers.
func TestSegment(t *testing.T) {
	for _, o := range []device.Feature{0, device.TxChecksum, offloadTx} {
		da, db := netiftest.Pair(netiftest.Options{Offload: o}, netiftest.Options{Offload: offloadRx})
		a := newTestStack(t, da, testConfig(addrA4, addrA6), testLimits())
		b := newTestStack(t, db, testConfig(addrB4, addrB6), testLimits())
		for _, to := range []string{addrB4, addrB6} {
			host := to
			if to == addrB6 {
				host = "[" + to + "]"
			}
			connect(t, a, b, host+":80") // so that each knows the other
			for _, n := range []int{0, 1, 1300, 20000} {
				sameFrames(t, a, da, to, n, o == offloadTx)
			}
		}
	}
}

// sameFrames sends a segment with n bytes both ways.
func sameFrames(t *testing.T, s *Stack, dev *netiftest.Device, to string, n int, tso bool) {
	t.Helper()
	if n > 1400 && !tso {
		return
	}
	type sent struct {
		b []byte
		m device.Meta
	}
	frames := make(chan sent, 16)
	dev.Tap(func(b []byte, m device.Meta) {
		if p, _ := parse(b); p.proto == protoTCP && bytes.Contains(b, []byte{0xab, 0xcd, 0xab, 0xce}) {
			frames <- sent{bytes.Clone(b), m}
		}
	})
	defer dev.Tap(nil)
	addr, proto := full(netip.MustParseAddr(to))
	r, err := s.gv.FindRoute(nic, tcpip.Address{}, addr, proto, false)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	params := stack.NetworkHeaderParams{Protocol: header.TCPProtocolNumber, TTL: 63, TOS: 4, DF: true}
	if err := r.WritePacket(params, segmentFor(r, n, tso)); err != nil {
		t.Fatal(err)
	}
	layered := <-frames
	remote := tcpip.LinkAddress(layered.b[:6])
	data := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(payload(n))})
	if err, ok := s.link.WriteSegment(r, remote, params, segmentFields, segmentOptions, data, segmentGSO(tso)); err != nil || !ok {
		t.Fatalf("%s, %d bytes: %v, %v", to, n, err, ok)
	}
	if short := <-frames; !bytes.Equal(short.b, layered.b) || short.m != layered.m {
		t.Errorf("%s, %d bytes: frames differ:\n%x %+v\n%x %+v", to, n, short.b[:min(80, len(short.b))], short.m,
			layered.b[:min(80, len(layered.b))], layered.m)
	}
}

// What TestSegment sends.
var (
	segmentFields  = header.TCPFields{SrcPort: 0xabcd, DstPort: 0xabce, SeqNum: 5, AckNum: 6, Flags: header.TCPFlagAck, WindowSize: 7}
	segmentOptions = []byte{1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8}
)

func segmentGSO(tso bool) (g stack.GSO) {
	if tso {
		g = stack.GSO{Type: stack.GSOTCPv4, NeedsCsum: true, MSS: 1400, CsumOffset: header.TCPChecksumOffset}
	}
	return g
}

// segmentFor is a segment as TCP hands it to a route: its checksum is the
// device's business, as far as the device has any.
func segmentFor(r *stack.Route, n int, tso bool) *stack.PacketBuffer {
	size := header.TCPMinimumSize + len(segmentOptions)
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{ReserveHeaderBytes: size + int(r.MaxHeaderLength()), Payload: buffer.MakeWithData(payload(n))})
	h := header.TCP(pkt.TransportHeader().Push(size))
	fields := segmentFields
	fields.DataOffset = uint8(size)
	h.Encode(&fields)
	copy(h[header.TCPMinimumSize:], segmentOptions)
	pkt.TransportProtocolNumber = header.TCPProtocolNumber
	pkt.GSOOptions = segmentGSO(tso)
	sum := r.PseudoHeaderChecksum(header.TCPProtocolNumber, uint16(pkt.Size()))
	switch {
	case tso:
		h.SetChecksum(sum)
	case r.RequiresTXTransportChecksum():
		h.SetChecksum(^h.CalculateChecksum(checksum.Combine(sum, pkt.Data().Checksum())))
	}
	return pkt
}

// TestAcknowledged: what nobody answers is acknowledged at once all the same,
// and what is answered without a frame of its own, where the stack is trimmed.
func TestAcknowledged(t *testing.T) {
	da, db := netiftest.Pair(netiftest.Options{}, netiftest.Options{})
	t.Cleanup(func() { da.Check(t); db.Check(t) })
	a := newTestStack(t, da, testConfig(addrA4, addrA6), testLimits())
	b := newTestStack(t, db, testConfig(addrB4, addrB6), testLimits())
	c, s := connect(t, a, b, addrB4+":80")
	acks := make(chan struct{}, 1024)
	var bare, all atomic.Int64
	db.Tap(func(f []byte, _ device.Meta) {
		p, _ := parse(f)
		if p.proto != protoTCP {
			return
		}
		all.Add(1)
		if n := int(binary.BigEndian.Uint16(f[16:])) - ipv4Size - int(f[p.transport+12]>>4)*4; n == 0 {
			bare.Add(1)
			acks <- struct{}{}
		}
	})
	m := measure(t)
	slow := 0 // what waits for the next segment, or to be sent again, takes 200 ms
	for range 10 {
		took := m.begin()
		c.Write(payload(100))
		select {
		case <-acks:
		case <-time.After(5 * time.Second):
			t.Fatal("no acknowledgement came")
		}
		if _, ran := took(); ran > 150*time.Millisecond {
			slow++
		}
	}
	if slow > 5 { // the host may be busy now and then
		t.Errorf("%d of 10 acknowledgements came late", slow)
	}
	io.ReadFull(s, make([]byte, 1000))
	go io.Copy(s, s)
	bare.Store(0)
	all.Store(0)
	for range 200 {
		exchange(t, c, payload(900))
	}
	_, trimmed := any(&stack.Route{}).(interface {
		WriteSegment(stack.NetworkHeaderParams, header.TCPFields, []byte, *stack.PacketBuffer, stack.GSO) (tcpip.Error, bool)
	})
	if n := bare.Load(); trimmed && n > 100 || !trimmed && n < 100 {
		t.Errorf("200 answers, %d frames and %d of them nothing but acknowledgements; trimmed: %v", all.Load(), n, trimmed)
	}
}

// TestWindows: a receiver with a small window that stops reading now and then,
// so that the window closes, gets all, also over a wire that loses and reorders.
func TestWindows(t *testing.T) {
	for _, loss := range []float64{0, 0.01} {
		o := netiftest.Options{Loss: loss, Reorder: loss, Repeat: loss, Seed: 11}
		da, db := netiftest.Pair(o, o)
		t.Cleanup(func() { da.Check(t); db.Check(t) })
		small := testLimits()
		small.TCPReceive = BufferRange{4 << 10, 4 << 10, 4 << 10}
		a := newTestStack(t, da, testConfig(addrA4, addrA6), testLimits())
		b := newTestStack(t, db, testConfig(addrB4, addrB6), small)
		var closed atomic.Int64
		db.Tap(func(f []byte, _ device.Meta) {
			if p, _ := parse(f); p.proto == protoTCP && binary.BigEndian.Uint16(f[p.transport+14:]) == 0 {
				closed.Add(1)
			}
		})
		c, s := connect(t, a, b, addrB4+":80")
		data := payload(200 << 10)
		go c.Write(data)
		got := make([]byte, len(data))
		for n := 0; n < len(got); n += 40 << 10 {
			time.Sleep(50 * time.Millisecond)
			if _, err := io.ReadFull(s, got[n:n+40<<10]); err != nil {
				t.Fatalf("loss %v: after %d bytes: %v", loss, n, err)
			}
		}
		if !bytes.Equal(got, data) {
			t.Errorf("loss %v: other data arrived", loss)
		}
		if closed.Load() == 0 {
			t.Errorf("loss %v: the window never closed", loss)
		}
	}
}
