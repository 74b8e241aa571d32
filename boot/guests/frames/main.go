//go:build ampoule

// Command frames is the guest that sends every Ethernet frame back to its
// sender. With load=spin on the kernel command line a goroutine computes all
// the while, without ever calling anything.
package main

import (
	"errors"
	"os"

	"ampoule/boot/guests/bare"
	"ampoule/boot/platform"
	"ampoule/libos/device"
)

func main() {
	m, err := platform.Open()
	if err != nil || m.Net() == nil {
		println("no network device")
		os.Exit(1)
	}
	if bare.Option("load") == "spin" {
		go func() {
			//lint:ignore SA5002 nothing in it yields, which is the point
			for {
			}
		}()
	}
	bare.PrintPlaces()
	println("up")
	serve(m.Net())
}

// serve copies each frame into one of its own, addresses swapped.
func serve(dev device.Net) {
	in := make([]device.Frame, dev.Info().Batch)
	for {
		n, err := dev.Recv(in)
		if errors.Is(err, device.ErrAgain) {
			dev.Ready().Wait()
			continue
		}
		if err != nil {
			println(err.Error())
			os.Exit(1)
		}
		for _, f := range in[:n] {
			reply(dev, f.Buf.Bytes())
			f.Buf.Release()
		}
	}
}

func reply(dev device.Net, frame []byte) {
	out, err := dev.Alloc()
	if err != nil || len(frame) < 14 {
		return
	}
	info := dev.Info()
	out.SetWindow(info.HeadRoom, len(frame))
	p := out.Bytes()
	copy(p, frame)
	copy(p[0:6], frame[6:12])
	copy(p[6:12], info.MAC[:])
	if n, _ := dev.Send([]device.Frame{{Buf: out}}); n == 0 {
		out.Release()
	}
}
