//go:build !ampoule

package probe

import (
	"encoding/binary"
	"strconv"
	"strings"
	"testing"
	"time"

	"ampoule/libos/rt/rtabi"
)

const modernMMIO = "virtio-mmio.force-legacy=false"

var qemuMachines = []struct {
	name      string
	args      []string
	transport uint32
	gsi       [2]uint32 // of net and rng, in any order
	ioapics   []IOAPIC
	acpi      bool
}{
	{"microvm", []string{"-M", "microvm", "-device", "virtio-net-device,netdev=n", "-netdev", "user,id=n,restrict=on", "-device", "virtio-rng-device"},
		rtabi.TransportMMIO, [2]uint32{46, 47}, []IOAPIC{{0xfec00000, 0}, {0xfec10000, 24}}, true},
	{"microvm,pic=off,rtc=off,pit=off", []string{"-M", "microvm,pic=off,rtc=off,pit=off", "-device", "virtio-net-device,netdev=n", "-netdev", "user,id=n,restrict=on", "-device", "virtio-rng-device"},
		rtabi.TransportMMIO, [2]uint32{46, 47}, []IOAPIC{{0xfec00000, 0}, {0xfec10000, 24}}, true},
	{"microvm,ioapic2=off", []string{"-M", "microvm,ioapic2=off", "-device", "virtio-net-device,netdev=n", "-netdev", "user,id=n,restrict=on", "-device", "virtio-rng-device"},
		rtabi.TransportMMIO, [2]uint32{22, 23}, []IOAPIC{{0xfec00000, 0}}, true},
	{"microvm,acpi=off", []string{"-M", "microvm,acpi=off", "-device", "virtio-net-device,netdev=n", "-netdev", "user,id=n,restrict=on", "-device", "virtio-rng-device"},
		rtabi.TransportMMIO, [2]uint32{11, 12}, []IOAPIC{{0xfec00000, 0}}, false},
	{"microvm,acpi=off,auto-kernel-cmdline=off", []string{"-M", "microvm,acpi=off,auto-kernel-cmdline=off", "-device", "virtio-net-device,netdev=n", "-netdev", "user,id=n,restrict=on", "-device", "virtio-rng-device"},
		rtabi.TransportMMIO, [2]uint32{11, 12}, []IOAPIC{{0xfec00000, 0}}, false},
	{"q35", []string{"-M", "q35", "-device", "virtio-net-pci,netdev=n", "-netdev", "user,id=n,restrict=on", "-device", "virtio-rng-pci"},
		rtabi.TransportPCI, [2]uint32{}, []IOAPIC{{0xfec00000, 0}}, true},
	{"q35 modern only", []string{"-M", "q35", "-device", "virtio-net-pci,netdev=n,disable-legacy=on", "-netdev", "user,id=n,restrict=on", "-device", "virtio-rng-pci,disable-legacy=on"},
		rtabi.TransportPCI, [2]uint32{}, []IOAPIC{{0xfec00000, 0}}, true},
	{"q35 behind bridges", []string{"-M", "q35", "-device", "pcie-root-port,id=a", "-device", "virtio-net-pci,netdev=n,bus=a", "-netdev", "user,id=n,restrict=on",
		"-device", "pcie-pci-bridge,id=b,bus=pcie.0", "-device", "pci-bridge,id=c,bus=b,chassis_nr=1,addr=1", "-device", "virtio-rng-pci,bus=c,addr=2"},
		rtabi.TransportPCI, [2]uint32{}, []IOAPIC{{0xfec00000, 0}}, true},
	{"q35 with 2 GiB and a multifunction slot", []string{"-M", "q35", "-m", "2048", "-device", "virtio-net-pci,netdev=n,addr=4.0,multifunction=on", "-netdev", "user,id=n,restrict=on", "-device", "virtio-rng-pci,addr=4.5"},
		rtabi.TransportPCI, [2]uint32{}, []IOAPIC{{0xfec00000, 0}}, true},
	{"pc", []string{"-M", "pc", "-device", "virtio-net-pci,netdev=n", "-netdev", "user,id=n,restrict=on", "-device", "virtio-rng-pci"},
		rtabi.TransportPCI, [2]uint32{}, []IOAPIC{{0xfec00000, 0}}, true},
}

// qemuRequest places the queues in RAM that the sleeping kernel does not use.
func qemuRequest() *Request {
	return &Request{
		Wanted: [MaxWanted]Wanted{
			{kindNet, 1<<0 | 1<<1 | 1<<5 | 1<<7 | 1<<11 | 1<<15 | 1<<16 | 1<<28 | 1<<29 | 1<<33 | 1<<34 | 1<<35},
			{kindEntropy, 0},
		},
		Vector:  0x40,
		Vectors: 16,
		Desc:    PageAlloc{0x1000000, 0x1010000},
		Ring:    PageAlloc{0x1100000, 0x1110000},
	}
}

// TestQEMU starts the devices of real machines, has the entropy device fill a
// buffer, and powers the machine off.
func TestQEMU(t *testing.T) {
	for _, m := range qemuMachines {
		t.Run(m.name, func(t *testing.T) {
			q := startQEMU(t, append(m.args, "-global", modernMMIO)...)
			line, rsdp := q.start()
			if !strings.HasPrefix(string(line), "first=1") || m.acpi != (rsdp != 0) {
				t.Fatalf("command line %q, root pointer %#x", line, rsdp)
			}
			var out Result
			if c := Find(q.bus(), line, rsdp, qemuRequest(), &out); c != OK {
				for _, f := range out.Faults[:out.NFaults] {
					var b [160]byte
					t.Log(string(b[:f.Put(b[:])]))
				}
				t.Fatalf("Find: %v", c)
			}
			checkQEMUDevices(t, &out, m.transport, m.gsi)
			p := &out.Platform
			if p.ACPI != m.acpi || p.LAPIC != 0xfee00000 || int(p.NIOAPIC) != len(m.ioapics) {
				t.Errorf("platform: %+v", p)
			}
			for i, io := range m.ioapics {
				if p.IOAPIC[i] != io {
					t.Errorf("IOAPIC %d: %+v, want %+v", i, p.IOAPIC[i], io)
				}
			}
			for i := range out.Devices[:out.NDevices] {
				if out.Devices[i].Kind == kindEntropy {
					fillEntropy(t, q, &out, i)
				}
			}
			if m.acpi {
				act(q, &p.PowerOff)
				if err := q.ends(); err != nil {
					t.Errorf("power off with %+v: %v", p.PowerOff, err)
				}
			}
		})
	}
}

func checkQEMUDevices(t *testing.T, out *Result, transport uint32, gsi [2]uint32) {
	t.Helper()
	if out.NDevices != 2 || out.Devices[0].Kind+out.Devices[1].Kind != kindNet+kindEntropy {
		t.Fatalf("%d devices: %+v", out.NDevices, out.Devices[:out.NDevices])
	}
	if g := [2]uint32{out.Ports[0].GSI, out.Ports[1].GSI}; g != gsi && g != [2]uint32{gsi[1], gsi[0]} {
		t.Errorf("GSIs %v, want %v", g, gsi)
	}
	for i := range out.Devices[:out.NDevices] {
		d := &out.Devices[i]
		if d.Transport != transport || d.NQueues != queueCount(d.Kind) || d.Features&(1<<32) == 0 {
			t.Errorf("device %d: %+v", i, d)
		}
		if d.Kind == kindEntropy {
			continue
		}
		if d.Config[0] != 0x52 || d.Config[1] != 0x54 || d.Queues[0].Size != 256 || d.Queues[1].Size != 256 {
			t.Errorf("net: %+v", d)
		}
		if want := uint64(1<<32 | 1<<29 | 1<<16 | 1<<15 | 1<<5); d.Features&want != want || d.Features&(1<<28|1<<33|1<<34|1<<35) != 0 {
			t.Errorf("net features %#x", d.Features)
		}
	}
}

// fillEntropy puts one buffer in the queue of device i and waits for it to come
// back and for the interrupt.
func fillEntropy(t *testing.T, q *qemu, out *Result, i int) {
	t.Helper()
	bus, d, p := q.bus(), &out.Devices[i], &out.Ports[i]
	const buffer = 0x1200000
	ring := uint64(d.Queues[0].Ring)
	bus.Write64(p.Desc[0], buffer)
	bus.Write32(p.Desc[0]+8, 64)
	bus.Write16(p.Desc[0]+12, rtabi.DescWrite)
	bus.Write16(ring+2, 1) // avail.idx; avail.ring[0] is 0
	if p.NotifyWidth == 2 {
		bus.Write16(p.Notify[0], uint16(p.NotifyValue[0]))
	} else {
		bus.Write32(p.Notify[0], p.NotifyValue[0])
	}
	for n := 0; bus.Read16(ring+rtabi.QueueUsedOff+2) != 1; n++ {
		if n > 500 {
			t.Fatal("the entropy device does not answer")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if b := q.read(buffer, 64); zero(b) || binary.LittleEndian.Uint32(q.read(ring+rtabi.QueueUsedOff+8, 4)) == 0 {
		t.Errorf("no entropy: % x", b)
	}
	if p.ISR != 0 {
		if s := bus.Read32(p.ISR); s != 1 {
			t.Errorf("interrupt status %#x, want 1", s)
		}
		bus.Write32(p.ISRAck, 1)
		if s := bus.Read32(p.ISR); s != 0 {
			t.Errorf("interrupt status %#x after acknowledging", s)
		}
		return
	}
	_, irr, _ := strings.Cut(q.lapic(), "IRR")
	irr, _, _ = strings.Cut(irr, "\n")
	if !strings.Contains(irr+" ", " "+strconv.Itoa(int(p.Vector[0]))+" ") {
		t.Errorf("vector %d did not arrive: IRR%s", p.Vector[0], irr)
	}
}

func act(q *qemu, a *Action) {
	switch a.Space {
	case ActMemory:
		q.bus().M.Store(a.Addr, int(a.Width), uint64(a.Value))
	case ActPort:
		q.bus().M.Out(uint16(a.Addr), int(a.Width), uint32(a.Value))
	default:
		q.t.Errorf("no such action: %+v", a)
	}
}

func TestQEMUReset(t *testing.T) {
	for _, m := range []string{"microvm", "q35"} {
		t.Run(m, func(t *testing.T) {
			q := startQEMU(t, "-M", m)
			_, rsdp := q.start()
			var out Result
			readACPI(q.bus(), rsdp, &out)
			act(q, &out.Platform.Reset)
			if err := q.ends(); err != nil {
				t.Errorf("reset with %+v: %v", out.Platform.Reset, err)
			}
		})
	}
}

// TestQEMULegacy checks the message for what microvm gives unless told.
func TestQEMULegacy(t *testing.T) {
	q := startQEMU(t, "-M", "microvm,acpi=off", "-device", "virtio-net-device,netdev=n", "-netdev", "user,id=n,restrict=on")
	line, rsdp := q.start()
	var out Result
	if c := Find(q.bus(), line, rsdp, qemuRequest(), &out); c != LegacyMMIO || out.NDevices != 0 {
		t.Errorf("%v, %d devices", c, out.NDevices)
	}
	q = startQEMU(t, "-M", "pc", "-device", "virtio-net-pci,netdev=n,disable-modern=on", "-netdev", "user,id=n,restrict=on")
	line, rsdp = q.start()
	out = Result{}
	if c := Find(q.bus(), line, rsdp, qemuRequest(), &out); c != LegacyPCI || out.NDevices != 0 {
		t.Errorf("%v, %d devices", c, out.NDevices)
	}
}

// TestQEMUUnwilling has a device that insists on an IOMMU and one without
// MSI-X.
func TestQEMUUnwilling(t *testing.T) {
	q := startQEMU(t, "-M", "q35", "-device", "virtio-net-pci,netdev=n,iommu_platform=on,disable-legacy=on,addr=5", "-netdev", "user,id=n,restrict=on", "-device", "virtio-net-pci,netdev=m,vectors=0,addr=6", "-netdev", "user,id=m,restrict=on")
	line, rsdp := q.start()
	var out Result
	Find(q.bus(), line, rsdp, qemuRequest(), &out)
	want := []Fault{{NoMSIX, InPCI, 6 << 3}, {FeaturesRefused, InPCI, 5 << 3}}
	if out.NDevices != 0 || out.NFaults != 2 || out.Faults[0] != want[0] || out.Faults[1] != want[1] {
		t.Errorf("%d devices, %+v", out.NDevices, out.Faults[:out.NFaults])
	}
}
