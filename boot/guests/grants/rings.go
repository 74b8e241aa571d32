//go:build ampoule

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"ampoule/boot/guests/bare"
	"ampoule/drivers/xen"
	"ampoule/drivers/xen/abi"
	"ampoule/libos/device"
	"ampoule/libos/rt/rtabi"
)

const (
	slots   = 256 // of either ring
	patient = 20 * time.Second
)

// ring is the n-th ring page: netfront takes the first to transmit, the second
// to receive.
func (g *guest) ring(n uintptr) xen.Page {
	return xen.PageOf(bare.Memory(g.info.Rings+n*rtabi.PageSize, rtabi.PageSize))
}

// until waits for the backend's index of a ring to reach n.
func until(page xen.Page, n uint32, what string) {
	for end := time.Now().Add(patient); int32(page.Load32(abi.RingRspProd)-n) < 0; {
		if time.Now().After(end) {
			wrong("%s: the backend is at %d and should be at %d", what, page.Load32(abi.RingRspProd), n)
		}
		time.Sleep(time.Millisecond)
	}
}

// send puts requests into the transmit ring, all for the same piece of a page,
// and answers the status of each.
func (g *guest) send(refs []uint32, offset, size uint16) []int16 {
	page, port := g.ring(0), g.gate.ports[1]
	from := page.Load32(abi.RingReqProd)
	for i, ref := range refs {
		at := abi.RingEntries + (from+uint32(i))%slots*12
		page.Set32(at, ref)
		page.Set32(at+4, uint32(offset))
		page.Set32(at+8, uint32(i)|uint32(size)<<16)
	}
	to := from + uint32(len(refs))
	page.Store32(abi.RingReqProd, to)
	g.gate.Notify(port)
	until(page, to, "transmit")
	status := make([]int16, len(refs))
	for i := from; i != to; i++ {
		w := page.Load32(abi.RingEntries + i%slots*12)
		status[w&(slots-1)] = int16(w >> 16)
	}
	return status
}

// transmit has the backend read through every reference: by copying, which
// netback does with up to 128 bytes, and by mapping, which it does with the rest.
func (g *guest) transmit() {
	refs := g.references()
	for _, size := range []uint16{60, 1000} {
		read, refused := 0, 0
		for at := 0; at < len(refs); at += slots / 4 {
			part := refs[at:min(at+slots/4, len(refs))]
			for i, s := range g.send(part, 0, size) {
				switch {
				case s == abi.RspOK && g.granted(part[i]):
					read++
				case s != abi.RspOK && !g.granted(part[i]):
					refused++
				default:
					wrong("transmit: reference %#x of %d bytes: status %d", part[i], size, s)
				}
			}
		}
		fmt.Printf("transmit %d: %d references read, %d refused\n", size, read, refused)
	}
}

// control waits for the host's frame in a page that the driver has offered: the
// backend does write where it may.
func (g *guest) control() {
	in := make([]device.Frame, g.device.Info().Batch)
	for {
		n, err := g.device.Recv(in)
		if errors.Is(err, device.ErrAgain) {
			g.device.Ready().Wait()
			continue
		}
		check("control", err)
		for _, f := range in[:n] {
			_, text, found := bytes.Cut(f.Buf.Bytes(), []byte("GOOD"))
			if found && bytes.HasPrefix(text, []byte("FRAME")) {
				fmt.Println("control: a frame has come")
				return
			}
			f.Buf.Release()
		}
	}
}

// receive has the backend write through every reference that is not granted,
// and now and then through one that is. The host keeps sending frames.
func (g *guest) receive() {
	page := g.ring(1)
	var refs []uint32
	for i, ref := range g.references() {
		if !g.granted(ref) {
			refs = append(refs, ref)
		}
		if i%16 == 0 {
			refs = append(refs, g.info.IORef+uint32(g.pool.Len()/2+i/16))
		}
	}
	// Some frames may be on their way already, to pages that the driver offered.
	const underWay = 8
	from := page.Load32(abi.RingRspProd) + underWay
	end := from + uint32(len(refs))
	at := func(i uint32) uint32 { return abi.RingEntries + i%slots*8 }
	written, refused := 0, 0
	made := page.Load32(abi.RingReqProd)
	for i := from; i != end; {
		// What the driver has offered is replaced, the rest follows.
		for k := i; k != end && k-i < slots/2; k++ {
			page.Set64(at(k), uint64(k%slots)|uint64(refs[k-from])<<32)
			if int32(k+1-made) > 0 {
				made = k + 1
			}
		}
		page.Store32(abi.RingReqProd, made)
		g.gate.Notify(g.gate.ports[0])
		if i == from {
			fmt.Println("send") // to the host
		}
		stop := i + min(slots/2, end-i)
		until(page, stop, "receive")
		for ; i != stop; i++ {
			status := int16(page.Load64(at(i)) >> 48)
			switch ref := refs[i-from]; {
			case status > 0 && g.granted(ref):
				written++
			case status < 0 && !g.granted(ref):
				refused++
			default:
				wrong("receive: reference %#x: status %d", ref, status)
			}
		}
	}
	fmt.Printf("receive: %d references written, %d refused\n", written, refused)
	g.look("rings")
}

// look waits until the host has looked at what is mapped, and has written so to the store:
// what the guest does next changes that.
func (g *guest) look(step string) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	fmt.Println("look:", step)
	for {
		s, err := g.store.Read(ctx, "data/looked")
		if err == nil && s == step {
			return
		}
		if ctx.Err() != nil {
			wrong("nobody looked: %q, %v", s, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// ranges names a piece that does not lie within its page. Netback takes the
// whole interface out of use for that, so that it comes late.
func (g *guest) ranges() {
	page := g.ring(0)
	from := page.Load32(abi.RingReqProd)
	for i, r := range [][2]uint16{{4000, 200}, {0xffff, 60}, {1, 0xffff}, {0xfff0, 0xffff}} {
		at := abi.RingEntries + (from+uint32(i))%slots*12
		page.Set32(at, g.info.IORef+uint32(g.pool.Len())-1)
		page.Set32(at+4, uint32(r[0]))
		page.Set32(at+8, uint32(i)|uint32(r[1])<<16)
		page.Store32(abi.RingReqProd, from+uint32(i)+1)
		g.gate.Notify(g.gate.ports[1])
		time.Sleep(20 * time.Millisecond)
	}
	for i := from; i != page.Load32(abi.RingRspProd); i++ {
		if s := int16(page.Load32(abi.RingEntries+i%slots*12) >> 16); s == abi.RspOK {
			wrong("ranges: piece %d was sent", i-from)
		}
	}
	fmt.Println("ranges: none was sent")
}

// forgeRings connects anew with ring references that are not granted, as a
// forged store would have it: the backend cannot map such a ring.
func (g *guest) forgeRings() {
	g.device.Close()
	time.Sleep(time.Second)
	// When netback cannot map a ring it goes to Closing and then at once to Connected, so
	// that a state of Connected, which who looks late sees, does not say that it has it.
	// Xen knows, whom the host asks.
	_, err := g.connect(400, 5*time.Second)
	fmt.Println("rings forged:", err)
	g.look("forged")
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	s, err := g.store.Read(ctx, vif+"/tx-ring-ref")
	if err != nil || s != "400" {
		wrong("the store says %q, %v for the transmit ring: nothing was tried", s, err)
	}
}

// forgeShared writes to all of the shared info page but the clock, and to the
// store's ring.
func (g *guest) forgeShared() {
	const events, frames = 2048, 3088 // evtchn_pending, arch
	shared := bare.Memory(g.info.Shared, rtabi.PageSize)
	for i := frames; i < len(shared); i++ {
		shared[i] = byte(0x11 * (i & 1)) // frame numbers, among them small ones
	}
	for i := events; i < events+512; i++ {
		shared[i] = 0xff
	}
	store := bare.Memory(g.info.Store, rtabi.PageSize)
	for i := range store {
		store[i] = byte(i * 7)
	}
	g.gate.Notify(xen.Port(bare.Gate(rtabi.GatePort, 0, 0)))
	time.Sleep(200 * time.Millisecond)
	clear(shared[events:][:512]) // or no tick would come any more
	fmt.Println("shared info and store forged")
}
