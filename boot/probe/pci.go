package probe

// Configuration mechanism 1 (PCI Local Bus 3.0, section 3.2.2.3.2).
const (
	portAddress = 0xcf8
	portData    = 0xcfc
	cfgEnable   = 1 << 31
)

// Registers of the configuration space (section 6.1; PCI-to-PCI Bridge 1.2,
// section 3.2).
const (
	cfgVendor    = 0x00
	cfgDevice    = 0x02
	cfgCommand   = 0x04
	cfgStatus    = 0x06
	cfgClass     = 0x0b
	cfgHeader    = 0x0e
	cfgBAR0      = 0x10
	cfgSecondary = 0x19
	cfgLastBus   = 0x1a
	cfgSubsystem = 0x2e
	cfgCapPtr    = 0x34
	cfgSize      = 256
)

// Bits of those registers.
const (
	commandIO     = 1 << 0
	commandMemory = 1 << 1
	commandMaster = 1 << 2
	commandNoINTx = 1 << 10
	statusCaps    = 1 << 4
	headerMulti   = 0x80
	headerType    = 0x7f
	headerDevice  = 0
	headerBridge  = 1
	classBridge   = 6
	noVendor      = 0xffff
)

// Virtio over PCI (virtio 1.2, section 4.1.2).
const (
	vendorVirtio  = 0x1af4
	deviceLegacy  = 0x1000 // transitional: the kind is the subsystem ID
	deviceModern  = 0x1040 // plus the kind
	deviceBeyond  = 0x1080
	pciDevices    = 32
	pciFunctions  = 8
	maxBuses      = 32 // that a scan visits
	functionShift = 8  // from bus/device/function to the address register
)

// function is a bus/device/function: bus << 8 | device << 3 | function.
type function uint32

func (fn function) sel(bus *Bus, off uint32) {
	bus.Out32(portAddress, cfgEnable|uint32(fn)<<functionShift|off&0xfc)
}

func (fn function) read8(bus *Bus, off uint32) uint8 {
	fn.sel(bus, off)
	return bus.In8(portData + uint16(off&3))
}

func (fn function) read16(bus *Bus, off uint32) uint16 {
	fn.sel(bus, off)
	return bus.In16(portData + uint16(off&2))
}

func (fn function) read32(bus *Bus, off uint32) uint32 {
	fn.sel(bus, off)
	return bus.In32(portData)
}

func (fn function) write16(bus *Bus, off uint32, v uint16) {
	fn.sel(bus, off)
	bus.Out16(portData+uint16(off&2), v)
}

func (fn function) write32(bus *Bus, off, v uint32) {
	fn.sel(bus, off)
	bus.Out32(portData, v)
}

// havePCI tells whether the machine has configuration mechanism 1: its address
// register reads back, unlike a port that nobody decodes.
func havePCI(bus *Bus) bool {
	bus.Out32(portAddress, cfgEnable)
	return bus.In32(portAddress) == cfgEnable
}

// busList is the buses still to visit. Each bus is entered once at most, so a
// bridge cannot send the scan round in circles.
type busList struct {
	bus  [maxBuses]uint8
	n    uint32
	seen [4]uint64
}

func (l *busList) add(b uint8) bool {
	n := l.n
	if n >= maxBuses || l.seen[b>>6]>>(b&63)&1 != 0 {
		return false
	}
	l.seen[b>>6] |= 1 << (b & 63)
	l.bus[n] = b
	l.n = n + 1
	return true
}

// scanPCI looks at each function on bus 0 and behind the bridges that the
// firmware has set up.
func scanPCI(bus *Bus, req *Request, out *Result) {
	var todo busList
	todo.add(0)
	for i := range todo.bus {
		if uint32(i) >= todo.n {
			break
		}
		for dev := uint32(0); dev < pciDevices; dev++ {
			fn := function(uint32(todo.bus[i])<<8 | dev<<3)
			if fn.read16(bus, cfgVendor) == noVendor {
				continue
			}
			n := function(1)
			if fn.read8(bus, cfgHeader)&headerMulti != 0 {
				n = pciFunctions
			}
			for j := function(0); j < n; j++ {
				scanFunction(bus, fn+j, &todo, req, out)
			}
		}
	}
}

func scanFunction(bus *Bus, fn function, todo *busList, req *Request, out *Result) {
	vendor := fn.read16(bus, cfgVendor)
	if vendor == noVendor {
		return
	}
	switch fn.read8(bus, cfgHeader) & headerType {
	case headerBridge:
		b, last := fn.read8(bus, cfgSecondary), fn.read8(bus, cfgLastBus)
		if b == 0 { // not set up by the firmware: nothing can be behind it
			return
		}
		if uint32(b) <= uint32(fn)>>8 || last < b || !todo.add(b) {
			out.fault(BridgeRange, InPCI, uint64(fn))
		}
	case headerDevice:
		kind := uint32(0)
		if vendor == vendorVirtio {
			kind = virtioKind(bus, fn)
		}
		if _, ok := req.features(kind); ok && kind != 0 {
			findPCI(bus, fn, kind, out)
		} else if fn.read8(bus, cfgClass) != classBridge {
			fn.quiet(bus)
		}
	}
}

// quiet takes a function's access to memory, which the firmware may have left
// in use.
func (fn function) quiet(bus *Bus) {
	fn.write16(bus, cfgCommand, fn.read16(bus, cfgCommand)&^commandMaster|commandNoINTx)
}

// virtioKind gives the virtio device ID of a function, 0 when it is none.
func virtioKind(bus *Bus, fn function) uint32 {
	d := uint32(fn.read16(bus, cfgDevice))
	switch {
	case d >= deviceModern && d < deviceBeyond:
		return d - deviceModern
	case d >= deviceLegacy && d < deviceModern:
		return uint32(fn.read16(bus, cfgSubsystem))
	}
	return 0
}
