package probe

// Fields of the FADT (ACPI 6.4, section 5.2.9).
const (
	fadtDSDT       = 40
	fadtPM1a       = 64
	fadtFlags      = 112
	fadtReset      = 116 // generic address structure
	fadtResetValue = 128
	fadtXDSDT      = 140
	fadtXPM1a      = 172 // generic address structure
	fadtSleep      = 244 // generic address structure
	fadtV1Len      = 116
	fadtV2Len      = 132
	fadtV3Len      = 244
	fadtV5Len      = 256

	flagReset   = 1 << 10 // RESET_REG_SUP
	flagReduced = 1 << 20 // HW_REDUCED_ACPI
)

// Bits of the PM1 control register (section 4.8.3.2.1) and of the sleep control
// register (section 4.8.3.7).
const (
	pm1SleepType    = 10
	pm1SleepEnable  = 1 << 13
	ctlSleepType    = 2
	ctlSleepEnable  = 1 << 5
	maxSleepType    = 7
	spaceMemory     = 0
	spacePort       = 1
	dsdtUnusedSleep = 0xff
)

// readFADT fills p.PowerOff and p.Reset.
func readFADT(bus *Bus, at, n uint64, p *Platform) Code {
	if n < fadtV1Len {
		return FADTShort
	}
	flags := bus.Read32(at + fadtFlags)
	if flags&flagReset != 0 {
		if n < fadtV2Len {
			return FADTShort
		}
		p.Reset = register(bus, at+fadtReset, 1)
		p.Reset.Value = uint16(bus.Read8(at + fadtResetValue))
	}
	dsdt := uint64(bus.Read32(at + fadtDSDT))
	if n >= fadtV3Len {
		if x := uint64(bus.Read32(at+fadtXDSDT+4))<<32 | uint64(bus.Read32(at+fadtXDSDT)); x != 0 {
			dsdt = x
		}
	}
	off := powerRegister(bus, at, n, flags)
	if off.Space == ActNone {
		return FADTShort
	}
	length, c := checkTable(bus, dsdt, sigDSDT)
	if c != OK {
		return c
	}
	kind := sleepType(bus, dsdt, length)
	if kind > maxSleepType {
		return DSDTSleep
	}
	off.Value = kind<<pm1SleepType | pm1SleepEnable
	if off.Width == 1 {
		off.Value = kind<<ctlSleepType | ctlSleepEnable
	}
	p.PowerOff = off
	return OK
}

// powerRegister gives the register that takes the sleep type: one byte wide
// where the hardware is reduced, two bytes otherwise.
func powerRegister(bus *Bus, at, n uint64, flags uint32) Action {
	if flags&flagReduced != 0 {
		if n < fadtV5Len {
			return Action{}
		}
		return register(bus, at+fadtSleep, 1)
	}
	if n >= fadtV3Len {
		if a := register(bus, at+fadtXPM1a, 2); a.Space != ActNone {
			return a
		}
	}
	port := bus.Read32(at + fadtPM1a)
	if port == 0 || port > 0xfffe {
		return Action{}
	}
	return Action{Space: ActPort, Width: 2, Addr: uint64(port)}
}

// register reads a generic address structure (section 5.2.3.2). Registers
// elsewhere than in memory below 4 GiB and on ports are of no use here.
func register(bus *Bus, at uint64, width uint8) Action {
	addr := uint64(bus.Read32(at+8))<<32 | uint64(bus.Read32(at+4))
	switch space := bus.Read8(at); {
	case addr == 0:
	case space == spaceMemory && addr <= low4G-uint64(width):
		return Action{Space: ActMemory, Width: width, Addr: addr}
	case space == spacePort && addr <= 0x10000-uint64(width):
		return Action{Space: ActPort, Width: width, Addr: addr}
	}
	return Action{}
}

// Opcodes of AML (section 20.3).
const (
	amlZero    = 0x00
	amlOne     = 0x01
	amlName    = 0x08
	amlByte    = 0x0a
	amlWord    = 0x0b
	amlDWord   = 0x0c
	amlPackage = 0x12
	amlRoot    = '\\'
	nameS5     = 0x5f35535f // "_S5_"
)

// sleepType finds the package that the DSDT gives to \_S5_ (section 7.4.2) and
// answers with its first element, dsdtUnusedSleep when there is none. It does
// not interpret AML: firmware declares the object as a plain name with a
// package of constants, and what looks different is passed over.
func sleepType(bus *Bus, at, n uint64) uint16 {
	end := at + n
	for i := at + headerLen + 1; i+8 <= end; i++ {
		if bus.Read8(i) != nameS5&0xff || bus.Read32(i) != nameS5 {
			continue
		}
		before := bus.Read8(i - 1)
		if before != amlName && (before != amlRoot || bus.Read8(i-2) != amlName) {
			continue
		}
		if v := packageFirst(bus, i+4, end); v <= maxSleepType {
			return v
		}
	}
	return dsdtUnusedSleep
}

// packageFirst gives the first element of the package at i, when that is a
// small constant.
func packageFirst(bus *Bus, i, end uint64) uint16 {
	if end-i < 2 || bus.Read8(i) != amlPackage {
		return dsdtUnusedSleep
	}
	// PkgLength: the top two bits of the lead byte count the bytes that
	// follow it (section 20.2.4). One byte counts the elements.
	i += 1 + 1 + uint64(bus.Read8(i+1)>>6)
	if i+3 > end || bus.Read8(i) == 0 {
		return dsdtUnusedSleep
	}
	switch i++; bus.Read8(i) {
	case amlZero:
		return 0
	case amlOne:
		return 1
	case amlByte:
		return uint16(bus.Read8(i + 1))
	case amlWord:
		if i+3 <= end {
			return bus.Read16(i + 1)
		}
	case amlDWord:
		if i+5 <= end && bus.Read16(i+3) == 0 {
			return bus.Read16(i + 1)
		}
	}
	return dsdtUnusedSleep
}
