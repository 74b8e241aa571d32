package guesttest

import (
	"bytes"
	"regexp"
	"testing"
	"time"

	"ampoule/boot/layout"
	"ampoule/tools/boottest/vm"
	"ampoule/tools/guesttest/expect"
	"ampoule/tools/guesttest/guest"
	"ampoule/tools/guesttest/space"
)

func contains(text, re string) bool { return regexp.MustCompile(re).MatchString(text) }

// dmaAttacks says of each whether the device finds a buffer in the end: one that
// the gate allowed, inside the I/O region.
var dmaAttacks = []struct {
	name  string
	lands bool
}{
	{"dma-none", false},
	{"dma-submit-area", true},
	{"dma-avail-id", false},
	{"dma-never-posted", false},
	{"dma-avail-index", false},
	{"dma-used-ring", true},
	{"dma-all-of-ring", false},
	{"dma-last-byte", true},
}

// evil is 1400 bytes that the host's frames are full of after the attack is armed; they
// occur nowhere in the image.
var evil = bytes.Repeat([]byte{0xe7, 0x11, 0xf0, 0x0d, 0x5e, 0xa1, 0xed, 0x99}, 175)

// TestDMA has ring 3 forge all that it can write of a virtqueue, makes the
// device write, and compares physical memory before and after: whatever the
// device wrote must lie in the I/O region, and nothing else may have changed
// but what ring 3 and the gate write themselves.
func TestDMA(t *testing.T) {
	const ram = 32
	for i, a := range dmaAttacks {
		t.Run(a.name, func(t *testing.T) {
			level := []string{"v1", "v3"}[i%2]
			for _, m := range vm.Machines {
				g, peer := cable(t, vm.Config{Image: images.Program(t, attackGuest, level), Machine: m,
					CPU: guest.CPU(level), RAM: ram, Append: "attack=" + a.name})
				at := placesOf(t, line(t, g, "^places: "))
				line(t, g, "^ready$")
				before := snap(t, g, ram)
				if _, err := peer.Write(frame([]byte("GOODFRAME of sixty bytes, padded so that the device takes it.."))); err != nil {
					t.Fatal(err)
				}
				line(t, g, "^first frame: .*GOODFRAME")
				line(t, g, "^armed$")
				for range 4 {
					if _, err := peer.Write(frame(evil)); err != nil {
						t.Fatal(err)
					}
				}
				after := settled(t, g, ram, a.lands)
				where(t, after, at, a.lands)
				space.Unchanged(t, &before.Space, &after.Space)
			}
		})
	}
}

// settled takes a picture when QEMU has had time to write, and where something
// must land, once it has.
func settled(t *testing.T, g *vm.VM, ram int, lands bool) *snapshot {
	t.Helper()
	for start := time.Now(); ; {
		time.Sleep(150 * time.Millisecond)
		s := snap(t, g, ram)
		if !lands || bytes.Contains(s.RAM, evil[:64]) || time.Since(start) > 5*time.Second {
			return s
		}
	}
}

// where holds the places of evil in physical memory to the I/O region.
func where(t *testing.T, s *snapshot, at expect.Places, lands bool) {
	t.Helper()
	n, io, end := 0, at["io"], at["io"]+at["iosize"]+layout.Page
	for next := 0; ; n++ {
		i := bytes.Index(s.RAM[next:], evil[:64])
		if i < 0 {
			break
		}
		next += i
		for _, pa := range []int{next, next + 63} {
			if p, ok := s.Owner(uint64(pa)); !ok || p.VA < io || p.VA >= end {
				t.Errorf("the device wrote to physical address %#x, mapped at %#x", pa, p.VA)
			}
		}
		next += 64
	}
	if n > 0 != lands {
		t.Errorf("frames lie in %d places of the I/O region, want some: %v", n, lands)
	}
	if n == 0 && !bytes.Contains(s.RAM, []byte("GOODFRAME")) {
		t.Error("not even the first frame is in memory: nothing was tried")
	}
}
