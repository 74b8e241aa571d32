package netif

import (
	"errors"
	"runtime"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"ampoule/libos/config/feature"
	"ampoule/libos/device"
	"ampoule/libos/event"
	"ampoule/libos/iopage"
)

// recvBatch is the most frames taken from the device at once.
const recvBatch = 64

// maxFrame is the largest frame that is let in: 64 KiB of IP packet, which a
// device that merges segments may deliver, and the Ethernet header.
const maxFrame = 65535 + ethernetSize

// maxPanics is how many panics of the stack are taken for one bad packet each.
// A stack that goes on panicking is broken, and the VM had better end.
const maxPanics = 16

// receive takes frames until the link is closed or the device is gone for good.
// A fast path that panics costs the burst in which it did.
func (l *link) receive() {
	defer close(l.done)
	var r receiver
	r.batch = r.frames[:]
	if b := l.info.Batch; b > 0 && b < len(r.batch) {
		r.batch = r.batch[:b]
	}
	for !l.receiving(&r) {
	}
}

// receiver is what the receive goroutine has in hand.
type receiver struct {
	frames [recvBatch]device.Frame
	batch  []device.Frame // of frames
	n      int            // frames received
	shown  bool           // to the fast path, which has passed them
	done   int            // of those, dealt with
	ready  int            // of those, rewritten by the fast path and moved to the front, not sent yet
	away   bool           // the device was gone

	others  bool // there was a frame that no connection took at once
	settled uint // bursts
}

// receiving is receive until there is a panic, of which it takes as many as deliver
// does. It says whether receiving has ended. When a device that was away is
// back, the neighbours are told.
func (l *link) receiving(r *receiver) (ended bool) {
	defer func() {
		if p := recover(); p != nil {
			if l.count.panics.Add(1) > maxPanics || l.working {
				panic(p)
			}
			if l.turner != nil {
				l.turner.Abandon(r.batch)
			}
			release(r.frames[:r.ready])
			release(r.frames[r.done:r.n])
			r.n, r.done, r.ready = 0, 0, 0
		}
	}()
	l.settle(r)                             // what a burst with a panic has left
	var ready *event.Source = l.dev.Ready() // named, so that its methods are inlined
	for !l.closed.Load() {
		var n int
		var err error
		if fast := l.fast.Load(); fast == nil || l.turner == nil || feature.Capture && l.tap.Load() != nil { // a tap sees all frames
			n, err = l.dev.Recv(r.batch)
			r.n, r.shown = n, false
			l.count.rxFrames.Add(uint64(n))
		} else {
			if b := l.begin.Load(); b != nil {
				(*b)()
			}
			var t device.Turned
			t, err = l.turner.Turn(*fast, r.batch)
			r.n, r.shown = t.Passed, true
			n = t.Passed + t.Replied + t.Dropped + t.Lost
			l.count.rxFrames.Add(uint64(n))
			l.count.fastReplied.Add(uint64(t.Replied))
			if n != t.Replied {
				l.count.fastDropped.Add(uint64(t.Dropped))
				l.count.txDropped.Add(uint64(t.Lost))
			}
		}
		if (r.n > 0 || err != nil || r.away) && l.received(r, n, err) {
			return true
		}
		if n < len(r.batch) {
			// If more has come, this returns at once; halting is the runtime's
			// business.
			ready.Wait()
		}
	}
	return true
}

// yieldEvery is after how many bursts others run in any case.
const yieldEvery = 8

// settle has the stack process the segments of a burst, and lets those run whom
// frames were for, so that their queues have room for the next burst. If it is known
// that all is done already, it lets others run now and then only.
func (l *link) settle(r *receiver) {
	l.working = true
	l.flows.queue.Work()
	if b := l.bursts.Load(); b != nil {
		b.end()
	}
	if r.settled++; r.others || r.settled%yieldEvery == 0 || l.flows.queue.Owes() {
		r.others = false
		runtime.Gosched()
		l.flows.queue.Pay()
	}
	l.working = false
}

// received deals with n frames, unless they were all for the fast path, with an error,
// and with a device that is back. It says whether receiving has ended.
func (l *link) received(r *receiver, n int, err error) (ended bool) {
	if n == 0 && err != nil && !errors.Is(err, device.ErrAgain) {
		l.count.gone.Store(true)
		r.away = true
		return !l.info.Returns
	}
	if r.away {
		l.returned(r)
	}
	if r.n > 0 && l.room(r) && l.burst(r) {
		l.settle(r)
	}
	r.n, r.done, r.ready = 0, 0, 0 // for a panic before there are others
	return false
}

// room says whether there is memory for the frames, and drops them when there is none.
func (l *link) room(r *receiver) bool {
	gate := l.gate.Load()
	if gate == nil || (*gate)() {
		return true
	}
	l.count.rxNoMemory.Add(uint64(r.n))
	release(r.frames[:r.n])
	return false
}

// returned notes that a device that was away is back.
func (l *link) returned(r *receiver) {
	r.away = false
	l.count.gone.Store(false)
	l.renew()
	go l.back()
}

// renew takes over the address of a device that is back: it may be another one.
// The fast path is told too.
func (l *link) renew() {
	info := l.dev.Info()
	if string(l.LinkAddress()) == string(info.MAC[:]) {
		return
	}
	l.setMAC(info.MAC)
	if f := l.fast.Load(); f != nil {
		if r, ok := (*f).(Relinker); ok {
			r.Relink(info)
		}
	}
}

// burst handles the frames of one Recv, and says whether any went to the stack.
func (l *link) burst(r *receiver) (passed bool) {
	frames := r.frames[:r.n]
	if feature.Capture {
		l.watch(frames, false)
	}
	r.done, r.ready = 0, 0
	fast := l.fast.Load()
	if b := l.begin.Load(); b != nil && !r.shown {
		(*b)()
	}
	for i := range frames {
		f := &frames[i]
		v := Pass
		if fast != nil && !r.shown {
			v = (*fast).Frame(f)
		}
		r.done++
		switch v {
		case Reply:
			// The frames before i are dealt with, so their places are free.
			if r.ready < i {
				frames[r.ready] = *f
			}
			r.ready++
		case Drop:
			l.count.fastDropped.Add(1)
			f.Buf.Release()
		default:
			if !passed {
				l.flows.queue.Begin()
				if b := l.bursts.Load(); b != nil {
					b.begin()
				}
			}
			if !l.pass(f) {
				r.others = true
			}
			f.Buf.Release()
			passed = true
		}
	}
	if n := r.ready; n > 0 {
		r.ready = 0
		l.reply(frames[:n])
	}
	return passed
}

// release gives back the pages of frames.
func release(frames []device.Frame) {
	for i := range frames {
		frames[i].Buf.Release()
	}
}

// reply sends frames that the fast path has rewritten. It does not wait: when
// the ring is full the client asks again.
func (l *link) reply(frames []device.Frame) {
	if feature.Capture {
		l.watch(frames, true)
	}
	t := &l.tx
	t.mu.Lock()
	for len(frames) > 0 {
		n, err := l.dev.Send(frames)
		l.count.fastReplied.Add(uint64(n))
		if frames = frames[n:]; len(frames) == 0 {
			break
		}
		lost := 1 // a malformed one; the others may still go
		if err == nil || errors.Is(err, device.ErrAgain) || errors.Is(err, device.ErrGone) {
			lost = len(frames)
		}
		release(frames[:lost])
		l.count.txDropped.Add(uint64(lost))
		frames = frames[lost:]
	}
	t.mu.Unlock()
}

// pass hands a frame over to its connection, or copies it for the stack. The frame
// stays the caller's. It says whether the connection is done with it.
func (l *link) pass(f *device.Frame) (done bool) {
	defer func() { // outlive the stack when it panics
		if r := recover(); r != nil && (l.count.panics.Add(1) > maxPanics || l.working) {
			panic(r)
		}
	}()
	if l.expected(&l.head, f) {
		return true
	}
	data, head, ok := gather(f.Buf)
	if !ok {
		l.count.rxInvalid.Add(1)
		return false
	}
	// All checks are made on the copy: a device may still write to the page.
	p, ok := parse(head)
	if !ok {
		l.count.rxInvalid.Add(1)
		data.Release()
		return false
	}
	verified, ok := l.accept(head, p, f)
	if !ok {
		data.Release()
		return false
	}
	if head[0]&1 == 0 && l.flows.take(head, p, &data, verified) {
		return false
	}
	l.deliver(head, p, data, verified)
	return false
}

// maxHeaders is as far as netif looks into a frame.
const maxHeaders = 256

// accept decides whether the frame that starts with head is for the stack, and
// whether its checksums are known to be good.
func (l *link) accept(head []byte, p packet, f *device.Frame) (verified, ok bool) {
	if p.fragment && !l.frags {
		l.count.rxFragments.Add(1)
		return false, false
	}
	if !l.asking.received(head, p) {
		l.count.rxUnresolved.Add(1)
		return false, false
	}
	if head[0]&1 == 0 && string(head[:6]) != string(l.LinkAddress()) {
		l.count.rxForeign.Add(1)
		return false, false
	}
	verified = f.State != device.ChecksumNone && l.info.Offload&device.RxChecksum != 0
	if verified && !headerValid(head, p) {
		l.count.rxInvalid.Add(1)
		return false, false
	}
	return verified, true
}

// packetType tells to whom a frame goes that starts with head.
func packetType(head []byte) tcpip.PacketType {
	switch {
	case head[0]&1 == 0:
		return tcpip.PacketHost
	case string(head[:6]) == string(header.EthernetBroadcastAddress):
		return tcpip.PacketBroadcast
	}
	return tcpip.PacketMulticast
}

// deliver hands a frame to the DHCP client or to the stack. It takes over data,
// which starts with head.
func (l *link) deliver(head []byte, p packet, data buffer.Buffer, verified bool) {
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: data})
	defer pkt.DecRef()
	pkt.PktType = packetType(head)
	if feature.DHCP && l.leases != nil && l.leases(head, p, pkt, verified) {
		return
	}
	l.verified.Store(verified)
	if _, ok := pkt.LinkHeader().Consume(ethernetSize); !ok {
		l.count.rxInvalid.Add(1)
		return
	}
	pkt.NetworkProtocolNumber = tcpip.NetworkProtocolNumber(p.etherType)
	if d := l.dispatcher(); d != nil {
		d.DeliverNetworkPacket(pkt.NetworkProtocolNumber, pkt)
	}
}

// gather copies a chain of pages into a buffer of the stack's. head is the
// beginning of the copy: all headers, unless the frame is malformed.
func gather(b *iopage.Buf) (data buffer.Buffer, head []byte, ok bool) {
	total := 0
	for ; b != nil; b = b.Next() {
		src := b.Bytes()
		if len(src) == 0 {
			continue
		}
		if total += len(src); total > maxFrame {
			data.Release()
			return buffer.Buffer{}, nil, false
		}
		if err := data.Append(buffer.NewViewWithData(src)); err != nil {
			data.Release()
			return buffer.Buffer{}, nil, false
		}
	}
	if total < ethernetSize {
		data.Release()
		return buffer.Buffer{}, nil, false
	}
	start, ok := data.PullUp(0, min(total, maxHeaders))
	return data, start.AsSlice(), ok
}
