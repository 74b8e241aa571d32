package probe

import "ampoule/libos/rt/rtabi"

// Capabilities of the configuration space (PCI Local Bus 3.0, section 6.7 and
// 6.8.2; virtio 1.2, section 4.1.4).
const (
	capFirst  = 0x40
	capVendor = 0x09
	capMSIX   = 0x11
	capWalk   = (cfgSize - capFirst) / 4 // more cannot be told apart

	virtioCapCommon = 1
	virtioCapNotify = 2
	virtioCapISR    = 3
	virtioCapDevice = 4
	virtioCapLen    = 16
	notifyCapLen    = 20
	msixCapLen      = 12

	msixSizeMask = 0x7ff
	msixMaskAll  = 1 << 14
	msixEnable   = 1 << 15
	msixEntry    = 16 // bytes

	maxBAR = 6
)

// Bits of a base address register (PCI Local Bus 3.0, section 6.2.5.1).
const (
	barPort   = 1 << 0
	barType   = 3 << 1
	barType64 = 2 << 1
	barFlags  = 0xf
)

// caps is what the walk over the capabilities collects: offsets in the
// configuration space, 0 for none.
type caps struct {
	structure [virtioCapDevice + 1]uint32
	msix      uint32
}

// findPCI enters a wanted virtio function in out.
func findPCI(bus *Bus, fn function, kind uint32, out *Result) {
	fn.quiet(bus) // until Start has reset the device
	var f Found
	c := f.describe(bus, fn)
	if c != OK {
		out.fault(c, InPCI, uint64(fn))
		return
	}
	f.Kind, f.Transport, f.Bus = kind, rtabi.TransportPCI, uint64(fn)
	if p := out.find(InPCI, uint64(fn)); p != nil {
		*p = f
	}
}

// describe fills the regions of f.
func (f *Found) describe(bus *Bus, fn function) Code {
	var list caps
	if c := list.walk(bus, fn); c != OK {
		return c
	}
	if list.structure[virtioCapCommon] == 0 && list.structure[virtioCapNotify] == 0 {
		return LegacyPCI
	}
	if list.structure[virtioCapCommon] == 0 || list.structure[virtioCapNotify] == 0 {
		return CapMissing
	}
	if list.msix == 0 {
		return NoMSIX
	}
	for i := regionCommon; i <= regionConfig; i++ {
		if c := f.setRegion(bus, fn, i, list.structure[i+virtioCapCommon]); c != OK {
			return c
		}
	}
	if f.Regions[regionCommon].Len < pciCommonLen {
		return BARRange
	}
	f.notifyMul = fn.read32(bus, list.structure[virtioCapNotify]+16)
	return f.setTable(bus, fn, list.msix)
}

// walk collects the first usable capability of each type, as virtio 1.2,
// section 4.1.4.1 wants it. Those with a reserved BAR are to be ignored.
func (l *caps) walk(bus *Bus, fn function) Code {
	if fn.read16(bus, cfgStatus)&statusCaps == 0 {
		return OK
	}
	var seen uint64 // one bit for each aligned offset
	at := uint32(fn.read8(bus, cfgCapPtr)) &^ 3
	for i := 0; i < capWalk && at != 0; i++ {
		if at < capFirst {
			return CapRange
		}
		if seen>>(at>>2)&1 != 0 {
			return CapLoop
		}
		seen |= 1 << (at >> 2)
		switch fn.read8(bus, at) {
		case capVendor:
			if c := l.virtio(bus, fn, at); c != OK {
				return c
			}
		case capMSIX:
			if at+msixCapLen > cfgSize {
				return CapRange
			}
			if l.msix == 0 {
				l.msix = at
			}
		}
		at = uint32(fn.read8(bus, at+1)) &^ 3
	}
	if at != 0 {
		return CapLoop
	}
	return OK
}

// virtio enters the vendor's capability at offset at.
func (l *caps) virtio(bus *Bus, fn function, at uint32) Code {
	length, kind := uint32(fn.read8(bus, at+2)), fn.read8(bus, at+3)
	if kind < virtioCapCommon || kind > virtioCapDevice {
		return OK
	}
	least := uint32(virtioCapLen)
	if kind == virtioCapNotify {
		least = notifyCapLen
	}
	if length < least || at+length > cfgSize {
		return CapRange
	}
	if fn.read8(bus, at+4) >= maxBAR || l.structure[kind] != 0 {
		return OK
	}
	l.structure[kind] = at
	return OK
}

// setRegion turns the capability at offset at into an address range.
func (f *Found) setRegion(bus *Bus, fn function, region int, at uint32) Code {
	if at == 0 || uint(region) >= regions {
		return OK
	}
	bar, size, c := readBAR(bus, fn, uint32(fn.read8(bus, at+4)))
	if c != OK {
		return c
	}
	off, n := uint64(fn.read32(bus, at+8)), uint64(fn.read32(bus, at+12))
	if off%4 != 0 || off > size || n > size-off {
		return BARRange
	}
	f.Regions[region] = Region{bar + off, n}
	return OK
}

// setTable finds the MSI-X table (PCI Local Bus 3.0, section 6.8.2).
func (f *Found) setTable(bus *Bus, fn function, at uint32) Code {
	n := fn.read16(bus, at+2)&msixSizeMask + 1
	table := fn.read32(bus, at+4)
	bar, size, c := readBAR(bus, fn, table&7)
	if c != OK {
		return c
	}
	off, bytes := uint64(table&^7), uint64(n)*msixEntry
	if off > size || bytes > size-off {
		return BARRange
	}
	f.Regions[regionMSIX] = Region{bar + off, bytes}
	f.msixCap, f.msixSize = uint8(at), n
	return OK
}

// readBAR gives the address and size of a memory BAR. To learn the size it must
// write to the BAR, with decoding off as long as the address is wrong.
func readBAR(bus *Bus, fn function, bar uint32) (addr, size uint64, c Code) {
	if bar >= maxBAR {
		return 0, 0, BARRange
	}
	reg := cfgBAR0 + 4*bar
	low := fn.read32(bus, reg)
	if low&barPort != 0 {
		return 0, 0, BARPort
	}
	wide := low&barType == barType64
	if wide && bar == maxBAR-1 {
		return 0, 0, BARRange
	}
	command := fn.read16(bus, cfgCommand)
	fn.write16(bus, cfgCommand, command&^(commandIO|commandMemory))
	high, mask := uint32(0), uint64(0xffffffff00000000)
	fn.write32(bus, reg, ^uint32(0))
	mask |= uint64(fn.read32(bus, reg) &^ barFlags)
	fn.write32(bus, reg, low)
	if wide {
		high = fn.read32(bus, reg+4)
		fn.write32(bus, reg+4, ^uint32(0))
		mask = uint64(fn.read32(bus, reg+4))<<32 | mask&0xffffffff
		fn.write32(bus, reg+4, high)
	}
	fn.write16(bus, cfgCommand, command)

	addr, size = uint64(high)<<32|uint64(low&^barFlags), -mask
	if addr == 0 {
		return 0, 0, BARUnassigned
	}
	// The size is a power of two and the address a multiple of it, or the
	// device lies.
	if mask&0xffffffff == 0 && !wide || size&(size-1) != 0 || addr&^mask != 0 || addr+size < addr {
		return 0, 0, BARRange
	}
	return addr, size, OK
}
