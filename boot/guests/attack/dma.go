//go:build ampoule

package main

import (
	"bytes"
	"fmt"
	"os"
	"time"

	"ampoule/boot/guests/bare"
	"ampoule/libos/rt/rtabi"
)

// The DMA attacks drive the receive queue of a network device by hand. First a
// buffer is offered as it should be, and the host's first frame must arrive
// there: that shows that the device writes where it is told. Then the ring and
// the submission area are forged, the host sends more frames, and compares all
// of physical memory.
const (
	goodOffset = 0x1000
	evilOffset = 0x5000
	frameSpace = 2048
	netHeader  = 12
)

// dmaAttacks forges what ring 3 can write.
func dmaAttacks() []attack {
	return []attack{
		{name: "dma-none", do: dma(func(q *rtabi.Queue) {})},
		{name: "dma-submit-area", do: dma(rewriteSubmit)},
		{name: "dma-avail-id", do: dma(func(q *rtabi.Queue) { offer(q, 0xfff0); offer(q, uint16(q.Size)) })},
		{name: "dma-never-posted", do: dma(func(q *rtabi.Queue) { offer(q, 77); offer(q, 78) })},
		{name: "dma-avail-index", do: dma(func(q *rtabi.Queue) { setAvail(q, availIndex(q)+0x7000) })},
		{name: "dma-used-ring", do: dma(forgeUsed)},
		{name: "dma-all-of-ring", do: dma(fillRing)},
		{name: "dma-last-byte", do: dma(lastByte)},
	}
}

// dma is one attack: set up, show that the device works, forge, wait.
func dma(forge func(q *rtabi.Queue)) func() {
	return func() {
		q := &bare.Info().Devices[0].Queues[0]
		if bare.Info().Devices[0].Kind != 1 {
			fmt.Println("the first device is no network card")
			os.Exit(99)
		}
		post(rtabi.Desc{ID: 5, Flags: rtabi.DescWrite, Offset: goodOffset, Len: frameSpace})
		offer(q, 5)
		notify(q)
		fmt.Println("ready")
		waitUsed(q, 1)
		got := bare.Memory(bare.Info().IO+goodOffset+netHeader, 64)
		fmt.Printf("first frame: %q\n", bytes.TrimRight(got[14:], "\x00"))
		forge(q)
		notify(q)
		fmt.Println("armed")
		for {
			time.Sleep(time.Second)
		}
	}
}

func availIndex(q *rtabi.Queue) uint16      { return bare.Load16(q.Ring + rtabi.QueueAvailOff + 2) }
func setAvail(q *rtabi.Queue, index uint16) { bare.Store16(q.Ring+rtabi.QueueAvailOff+2, index) }
func notify(q *rtabi.Queue)                 { bare.Gate(rtabi.GateNotify, uintptr(q.ID), 0) }

// offer makes a descriptor available.
func offer(q *rtabi.Queue, id uint16) {
	i := availIndex(q)
	bare.Store16(q.Ring+rtabi.QueueAvailOff+4+2*uintptr(i&uint16(q.Size-1)), id)
	setAvail(q, i+1)
}

func waitUsed(q *rtabi.Queue, n uint16) {
	for bare.Load16(q.Ring+rtabi.QueueUsedOff+2) != n {
		time.Sleep(time.Millisecond)
	}
}

// rewriteSubmit posts a good descriptor, and then makes the submission area say
// something else, with every byte that might be taken for an address.
func rewriteSubmit(q *rtabi.Queue) {
	post(rtabi.Desc{ID: 9, Flags: rtabi.DescWrite, Offset: evilOffset, Len: frameSpace})
	area := bare.Memory(q.Ring+rtabi.QueueSubOff, rtabi.PageSize-rtabi.QueueSubOff)
	text, _ := bare.Text()
	for i := 0; i+16 <= len(area); i += 16 { // struct virtq_desc: address, length, flags, next
		for k := range 8 {
			area[i+k] = byte(uint64(text) >> (8 * k))
		}
		copy(area[i+8:], []byte{0, 8, 0, 0, rtabi.DescWrite, 0, 0, 0})
	}
	offer(q, 9)
}

// forgeUsed pretends that the device has given buffers back, under addresses.
func forgeUsed(q *rtabi.Queue) {
	used := bare.Memory(q.Ring+rtabi.QueueUsedOff, rtabi.QueueSubOff-rtabi.QueueUsedOff)
	for i := range used {
		used[i] = 0x20
	}
	post(rtabi.Desc{ID: 5, Flags: rtabi.DescWrite, Offset: evilOffset, Len: frameSpace})
	offer(q, 5)
}

// fillRing writes a pattern of low addresses over the whole page.
func fillRing(q *rtabi.Queue) {
	ring := bare.Memory(q.Ring, rtabi.PageSize)
	for i := 0; i+4 <= len(ring); i += 4 {
		copy(ring[i:], []byte{0, 0x10, 0x20, 0})
	}
}

// lastByte offers the very end of the region: allowed, and not a byte more.
func lastByte(q *rtabi.Queue) {
	const n = netHeader + 14 + 1400 // exactly the frames that the host sends
	post(rtabi.Desc{ID: 3, Flags: rtabi.DescWrite, Offset: uint32(bare.Info().IOSize) - n, Len: n})
	offer(q, 3)
}
