package netif

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"ampoule/libos/device"
	"ampoule/libos/netif/netiftest"
)

// taker takes all segments.
type taker struct {
	straightQueue
	h, data []byte
	frame   int
}

func (k *taker) Take(_ stack.TransportEndpoint, h, data []byte, frame int) bool {
	k.h, k.data, k.frame = bytes.Clone(h), bytes.Clone(data), frame
	return true
}

// someone is an endpoint.
type someone struct{ stack.TransportEndpoint }

// TestExpected: of any frame, however damaged, a connection is offered what the usual
// way would find in it, or nothing; and it is offered what is as it should be.
func TestExpected(t *testing.T) {
	h := &host{t: t}
	h.dev, _ = netiftest.Pair(netiftest.Options{}, netiftest.Options{})
	dev, _ := netiftest.Pair(netiftest.Options{Offload: device.RxChecksum}, netiftest.Options{})
	l, queue := newLink(dev, false, &Limits{}), &taker{}
	f := &l.flows
	f.queue, f.table = queue, make([]*flow, 16)
	for _, src := range []string{"10.1.2.9", "fd00::9"} {
		good := append(h.syn(src, 4000, 80, 1), "and some data"...)
		copy(good, l.LinkAddress())
		p, _ := parse(good)
		if p.etherType == typeIPv4 {
			binary.BigEndian.PutUint16(good[16:], uint16(len(good)-ethernetSize))
			resum4(good)
		} else {
			binary.BigEndian.PutUint16(good[18:], uint16(len(good)-ethernetSize-ipv6Size))
		}
		k, _, _, ok := plain(good, p, len(good)-ethernetSize, true)
		if !ok {
			t.Fatalf("%s: the frame is not plain", src)
		}
		f.enter(&flow{key: k, to: someone{}})
		f.n.Add(1)
		taken := 0
		for i := range 20_000 {
			frame := damaged(good, i)
			if offered(t, l, queue, frame) {
				taken++
			} else if i == 0 {
				t.Errorf("%s: the frame as it should be was not taken", src)
			}
		}
		t.Logf("%s: %d frames taken", src, taken)
	}
}

// broken is a connection's end that panics.
type broken struct{ layered }

func (broken) Take(stack.TransportEndpoint, []byte, []byte, int) bool { panic("broken") }

// TestExpectedPanics: a panic while a connection is at work, which it may leave locked,
// is not taken for a bad frame, by neither of those that take others.
func TestExpectedPanics(t *testing.T) {
	h := &host{t: t}
	h.dev, _ = netiftest.Pair(netiftest.Options{}, netiftest.Options{})
	dev, _ := netiftest.Pair(netiftest.Options{Offload: device.RxChecksum}, netiftest.Options{})
	l := newLink(dev, false, &Limits{})
	l.flows.queue, l.flows.table = broken{}, make([]*flow, 16)
	frame := h.syn("10.1.2.9", 4000, 80, 1)
	copy(frame, l.LinkAddress())
	p, _ := parse(frame)
	k, _, _, _ := plain(frame, p, len(frame)-ethernetSize, true)
	l.flows.add(&flow{key: k, to: someone{}})
	page, err := l.dev.Alloc()
	if err != nil {
		t.Fatal(err)
	}
	defer page.Release()
	page.SetWindow(0, len(frame))
	copy(page.Bytes(), frame)
	f := device.Frame{Buf: page}
	f.State = device.ChecksumOK
	for _, deal := range []func(){
		func() { l.pass(&f) },
		func() {
			dev.InjectMeta(frame, device.Meta{State: device.ChecksumOK})
			dev.Leave() // receiving would wait for it, if it went on
			r := receiver{}
			r.batch = r.frames[:]
			l.receiving(&r)
		},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("it goes on")
				}
				l.working = false
			}()
			deal()
		}()
	}
}

// damaged is a frame with up to three octets changed, or a piece of one; the first is
// as it was.
func damaged(good []byte, i int) []byte {
	b := bytes.Clone(good)
	for range i % 4 {
		b[rand.IntN(min(len(b), expectedHead))] ^= 1 << rand.IntN(8)
	}
	if i%16 == 5 {
		b = b[:rand.IntN(len(b))]
	}
	if len(b) > 34 && i%3 == 0 {
		resum4(b)
	}
	return b
}

// resum4 sets the sum of an IPv4 header without options.
func resum4(b []byte) {
	if b[12] != 8 {
		return
	}
	sum := uint32(0)
	b[24], b[25] = 0, 0
	for i := 14; i < 34; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(b[24:], ^uint16(sum+sum>>16))
}

// offered says whether a connection is offered a frame, and compares what with the
// usual way's.
func offered(t *testing.T, l *link, queue *taker, frame []byte) bool {
	t.Helper()
	page, err := l.dev.Alloc()
	if err != nil {
		t.Fatal(err)
	}
	defer page.Release()
	page.SetWindow(0, len(frame))
	copy(page.Bytes(), frame)
	var head [expectedHead]byte
	df := device.Frame{Buf: page}
	df.State = device.ChecksumOK
	taken := l.expected(&head, &df)
	if !taken {
		return false
	}
	p, ok := parse(frame)
	k, ip, rest, plainly := plain(frame, p, len(frame)-ethernetSize, true)
	if !ok || !plainly || p.fragment || p.proto != protoTCP || !headerValid(frame, p) || !l.flows.finds(&k) ||
		string(frame[:6]) != string(l.LinkAddress()) {
		t.Fatalf("taken: %x", frame)
	}
	at := ethernetSize + ip
	doff := int(frame[at+12]>>4) * 4
	if !bytes.Equal(queue.h, frame[at:at+doff]) || !bytes.Equal(queue.data, frame[at+doff:at+rest]) || queue.frame != at+rest {
		t.Fatalf("%x: offered %x, %x, %d", frame, queue.h, queue.data, queue.frame)
	}
	return true
}
