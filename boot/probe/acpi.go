package probe

// Where the interrupt controllers are when nothing says otherwise.
const (
	usualIOAPIC = 0xfec00000
	usualLAPIC  = 0xfee00000
)

// Signatures, as little-endian numbers.
const (
	sigRSDP = 0x2052545020445352 // "RSD PTR "
	sigRSDT = 0x54445352
	sigXSDT = 0x54445358
	sigFADT = 0x50434146 // "FACP"
	sigMADT = 0x43495041 // "APIC"
	sigDSDT = 0x54445344
)

// Bounds of what is read.
const (
	headerLen  = 36 // ACPI 6.4, section 5.2.6
	maxTable   = 1 << 20
	maxTables  = 64
	rsdpV1Len  = 20
	rsdpV2Len  = 36
	rsdpMaxLen = 256
)

// readACPI fills out.Platform. What is damaged is reported and left at its
// default.
func readACPI(bus *Bus, rsdp uint64, out *Result) {
	p := &out.Platform
	p.LAPIC = usualLAPIC
	p.NIOAPIC, p.IOAPIC[0] = 1, IOAPIC{Addr: usualIOAPIC}
	if rsdp == 0 {
		return
	}
	root, width, c := readRSDP(bus, rsdp)
	if c != OK {
		out.fault(c, InACPI, rsdp)
		return
	}
	sig, most := uint32(sigRSDT), uint64(headerLen+4*maxTables)
	if width == 8 {
		sig, most = sigXSDT, headerLen+8*maxTables
	}
	n, c := checkTable(bus, root, sig)
	if c != OK || n > most {
		out.fault(RootTable, InACPI, root)
		return
	}
	p.ACPI = true
	for at := root + headerLen; at+width <= root+n; at += width {
		t := uint64(bus.Read32(at))
		if width == 8 {
			t |= uint64(bus.Read32(at+4)) << 32
		}
		if c := readTable(bus, t, p); c != OK {
			out.fault(c, InACPI, t)
		}
	}
}

// readRSDP gives the root table's address and the width of its entries (ACPI
// 6.4, section 5.2.5.3).
func readRSDP(bus *Bus, at uint64) (root, width uint64, c Code) {
	if at > low4G-rsdpMaxLen || bus.Read64(at) != sigRSDP || sum(bus, at, rsdpV1Len) != 0 {
		return 0, 0, RootPointer
	}
	if bus.Read8(at+15) >= 2 {
		n := uint64(bus.Read32(at + 20))
		if n < rsdpV2Len || n > rsdpMaxLen || sum(bus, at, n) != 0 {
			return 0, 0, RootPointer
		}
		if root = bus.Read64(at + 24); root != 0 {
			return root, 8, OK
		}
	}
	return uint64(bus.Read32(at + 16)), 4, OK
}

// checkTable gives the length of the table at at, which has signature sig.
func checkTable(bus *Bus, at uint64, sig uint32) (uint64, Code) {
	if at == 0 || at > low4G-headerLen || bus.Read32(at) != sig {
		return 0, TableRange
	}
	n := uint64(bus.Read32(at + 4))
	if n < headerLen || n > maxTable || at > low4G-n {
		return 0, TableRange
	}
	if sum(bus, at, n) != 0 {
		return 0, TableChecksum
	}
	return n, OK
}

func sum(bus *Bus, at, n uint64) (s uint8) {
	for i := uint64(0); i < n; i++ {
		s += bus.Read8(at + i)
	}
	return s
}

// readTable reads the tables that matter and passes over all others.
func readTable(bus *Bus, at uint64, p *Platform) Code {
	if at == 0 || at > low4G-headerLen {
		return TableRange
	}
	sig := bus.Read32(at)
	if sig != sigFADT && sig != sigMADT {
		return OK
	}
	n, c := checkTable(bus, at, sig)
	if c != OK {
		return c
	}
	if sig == sigFADT {
		return readFADT(bus, at, n, p)
	}
	return readMADT(bus, at, n, p)
}

// Entries of the MADT (ACPI 6.4, section 5.2.12).
const (
	madtLAPIC     = 36
	madtFirst     = 44
	entryIOAPIC   = 1
	entryOverride = 2
	entryLAPIC64  = 5
)

func readMADT(bus *Bus, at, n uint64, p *Platform) Code {
	if n < madtFirst {
		return MADTEntry
	}
	if a := bus.Read32(at + madtLAPIC); a != 0 {
		p.LAPIC = uint64(a)
	}
	c, ioapics, overrides := OK, uint32(0), uint32(0)
	for off := uint64(madtFirst); off < n; {
		if n-off < 2 {
			return MADTEntry
		}
		e, size := at+off, uint64(bus.Read8(at+off+1))
		if size < 2 || size > n-off {
			return MADTEntry
		}
		switch kind := bus.Read8(e); {
		case kind == entryIOAPIC && size >= 12:
			if ioapics >= MaxIOAPIC {
				c = MADTFull
				break
			}
			p.IOAPIC[ioapics] = IOAPIC{uint64(bus.Read32(e + 4)), bus.Read32(e + 8)}
			ioapics++
			p.NIOAPIC = ioapics
		case kind == entryOverride && size >= 10:
			if overrides >= MaxOverride {
				c = MADTFull
				break
			}
			p.Override[overrides] = Override{bus.Read32(e + 4), bus.Read16(e + 8), bus.Read8(e + 3)}
			overrides++
			p.NOverride = overrides
		case kind == entryLAPIC64 && size >= 12:
			p.LAPIC = bus.Read64(e + 4)
		case kind == entryIOAPIC, kind == entryOverride, kind == entryLAPIC64:
			return MADTEntry
		}
		off += size
	}
	return c
}
