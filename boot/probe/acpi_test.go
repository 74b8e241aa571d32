//go:build !ampoule

package probe

import (
	"bytes"
	"encoding/binary"
	"path/filepath"
	"testing"
)

// tables is a piece of physical memory: address to content.
type tables map[uint64][]byte

// machine answers reads from the tables and gives zeroes for everything else.
func (m tables) machine() *fake { return &fake{rom: m} }

func (m tables) load(addr uint64, size int) (v uint64) {
	for at, b := range m {
		for i := range uint64(size) {
			if off := addr + i - at; off < uint64(len(b)) {
				v |= uint64(b[off]) << (8 * i)
			}
		}
	}
	return v
}

// Addresses of the hand-made tables.
const (
	rsdpAt = 0xe0000
	rootAt = 0x1000
	fadtAt = 0x2000
	madtAt = 0x3000
	dsdtAt = 0x4000
)

// seal makes the sum of b zero by its checksum byte.
func seal(b []byte, at int) []byte {
	b[at] = 0
	s := byte(0)
	for _, v := range b {
		s += v
	}
	b[at] = -s
	return b
}

func table(sig string, body []byte) []byte {
	b := append([]byte(sig), make([]byte, 32)...)
	b = append(b, body...)
	put32(b[4:], uint32(len(b)))
	return seal(b, 9)
}

// makeTables gives a machine with fixed hardware: PM1a at port 0xb004, sleep
// type 5, reset by memory.
func makeTables() tables {
	le := binary.LittleEndian
	rsdp := append([]byte("RSD PTR "), make([]byte, 28)...)
	rsdp[15] = 2
	put32(rsdp[20:], 36)
	le.PutUint64(rsdp[24:], rootAt)
	seal(rsdp[:20], 8)

	fadt := make([]byte, 276-36)
	put32(fadt[fadtDSDT-36:], 0xdead000) // X_DSDT goes first
	put32(fadt[fadtPM1a-36:], 0xb004)
	put32(fadt[fadtFlags-36:], flagReset)
	fadt[fadtReset-36] = spaceMemory
	put32(fadt[fadtReset+4-36:], 0xfed00000)
	fadt[fadtResetValue-36] = 6
	le.PutUint64(fadt[fadtXDSDT-36:], dsdtAt)

	madt := []byte{0, 0, 0xe0, 0xfe, 1, 0, 0, 0}
	madt = append(madt, 0, 8, 0, 0, 1, 0, 0, 0)
	madt = append(madt, 1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0)
	madt = append(madt, 2, 10, 0, 0, 2, 0, 0, 0, 0, 0)

	return tables{
		rsdpAt: seal(rsdp, 32),
		rootAt: table("XSDT", le.AppendUint64(le.AppendUint64(le.AppendUint64(nil, fadtAt), madtAt), 0xfeed0000)),
		fadtAt: table("FACP", fadt),
		madtAt: table("APIC", madt),
		dsdtAt: table("DSDT", []byte("\x10\x05_S5_\x08_S5_\x12\x06\x04\x0a\x05\x00\x00\x00")),
	}
}

func TestACPI(t *testing.T) {
	var out Result
	readACPI(makeTables().machine().bus(), rsdpAt, &out)
	want := Platform{
		ACPI: true, LAPIC: 0xfee00000, NIOAPIC: 1, IOAPIC: [MaxIOAPIC]IOAPIC{{0xfec00000, 0}},
		NOverride: 1, Override: [MaxOverride]Override{{GSI: 2}},
		PowerOff: Action{ActPort, 2, 5<<10 | 1<<13, 0xb004},
		Reset:    Action{ActMemory, 1, 6, 0xfed00000},
	}
	if out.NFaults != 0 || out.Platform != want {
		t.Errorf("got  %+v\nwant %+v\nfaults %+v", out.Platform, want, out.Faults[:out.NFaults])
	}
	out = Result{}
	readACPI(makeTables().machine().bus(), 0, &out)
	want = Platform{LAPIC: 0xfee00000, NIOAPIC: 1, IOAPIC: [MaxIOAPIC]IOAPIC{{0xfec00000, 0}}}
	if out.NFaults != 0 || out.Platform != want {
		t.Errorf("without ACPI: %+v", out.Platform)
	}
}

// variant changes one thing in the hand-made tables.
type variant struct {
	name   string
	change func(tables)
	fault  Fault
	check  func(*Platform) bool
}

func (c *variant) test(t *testing.T) {
	m := makeTables()
	c.change(m)
	var out Result
	readACPI(m.machine().bus(), rsdpAt, &out)
	if c.fault == (Fault{}) && out.NFaults != 0 || c.fault != (Fault{}) && (out.NFaults != 1 || out.Faults[0] != c.fault) {
		t.Errorf("got %+v, want %+v", out.Faults[:out.NFaults], c.fault)
	}
	if c.check != nil && !c.check(&out.Platform) {
		t.Errorf("%+v", out.Platform)
	}
}

func TestRootVariants(t *testing.T) {
	for _, c := range []variant{
		{"RSDT", func(m tables) {
			m[rsdpAt] = m[rsdpAt][:20]
			m[rsdpAt][15] = 0
			put32(m[rsdpAt][16:], rootAt)
			seal(m[rsdpAt], 8)
			m[rootAt] = table("RSDT", []byte{0, fadtAt >> 8, 0, 0, 0, madtAt >> 8, 0, 0})
		}, Fault{}, func(p *Platform) bool { return p.PowerOff.Addr == 0xb004 && p.NOverride == 1 }},
		{"root elsewhere", func(m tables) { m[rsdpAt][24]++; seal(m[rsdpAt], 32) }, Fault{RootTable, InACPI, rootAt + 1},
			func(p *Platform) bool { return !p.ACPI }},
		{"root above 4 GiB", func(m tables) { m[rsdpAt][28]++; seal(m[rsdpAt], 32) }, Fault{RootTable, InACPI, 1<<32 | rootAt},
			func(p *Platform) bool { return !p.ACPI }},
		{"root pointer signature", func(m tables) { m[rsdpAt][0]++; seal(m[rsdpAt][:20], 8); seal(m[rsdpAt], 32) }, Fault{RootPointer, InACPI, rsdpAt}, nil},
		{"root pointer sum", func(m tables) { m[rsdpAt][10]++ }, Fault{RootPointer, InACPI, rsdpAt}, nil},
		{"root pointer extended sum", func(m tables) { m[rsdpAt][33]++ }, Fault{RootPointer, InACPI, rsdpAt}, nil},
		{"root pointer length", func(m tables) { put32(m[rsdpAt][20:], 1<<30) }, Fault{RootPointer, InACPI, rsdpAt}, nil},
		{"root sum", func(m tables) { m[rootAt][9]++ }, Fault{RootTable, InACPI, rootAt}, nil},
		{"root too long", func(m tables) { m[rootAt] = table("XSDT", make([]byte, 8*maxTables+8)) }, Fault{RootTable, InACPI, rootAt}, nil},
		{"root length", func(m tables) { put32(m[rootAt][4:], 35) }, Fault{RootTable, InACPI, rootAt}, nil},
		{"entry above 4 GiB", func(m tables) { m[rootAt][40] = 1; seal(m[rootAt], 9) }, Fault{TableRange, InACPI, 1<<32 | fadtAt},
			func(p *Platform) bool { return p.PowerOff.Space == ActNone && p.NOverride == 1 }},
		{"empty entry", func(m tables) { m[rootAt][37] = 0; seal(m[rootAt], 9) }, Fault{TableRange, InACPI, 0}, nil},
	} {
		t.Run(c.name, c.test)
	}
}

func TestFADTVariants(t *testing.T) {
	for _, c := range []variant{
		{"FADT sum", func(m tables) { m[fadtAt][9]++ }, Fault{TableChecksum, InACPI, fadtAt}, nil},
		{"FADT too short", func(m tables) { m[fadtAt] = table("FACP", make([]byte, 60)) }, Fault{FADTShort, InACPI, fadtAt}, nil},
		{"FADT without registers", func(m tables) { m[fadtAt] = table("FACP", make([]byte, 116-36)) }, Fault{FADTShort, InACPI, fadtAt}, nil},
		{"PM1a as structure", func(m tables) {
			m[fadtAt][fadtXPM1a] = spacePort
			put32(m[fadtAt][fadtXPM1a+4:], 0x604)
			seal(m[fadtAt], 9)
		}, Fault{}, func(p *Platform) bool { return p.PowerOff == Action{ActPort, 2, 5<<10 | 1<<13, 0x604} }},
		{"PM1a elsewhere", func(m tables) {
			m[fadtAt][fadtXPM1a] = spacePort
			put32(m[fadtAt][fadtXPM1a+4:], 0xffff)
			put32(m[fadtAt][fadtPM1a:], 0xffff)
			seal(m[fadtAt], 9)
		}, Fault{FADTShort, InACPI, fadtAt}, func(p *Platform) bool { return p.PowerOff.Space == ActNone }},
		{"reduced hardware", func(m tables) {
			put32(m[fadtAt][fadtFlags:], flagReduced)
			put32(m[fadtAt][fadtSleep+4:], 0xfea00200)
			seal(m[fadtAt], 9)
		}, Fault{}, func(p *Platform) bool {
			return p.PowerOff == Action{ActMemory, 1, 5<<2 | 1<<5, 0xfea00200} && p.Reset == Action{}
		}},
		{"reduced hardware, old table", func(m tables) {
			put32(m[fadtAt][fadtFlags:], flagReduced)
			m[fadtAt] = table("FACP", m[fadtAt][36:244])
		}, Fault{FADTShort, InACPI, fadtAt}, nil},
		{"DSDT elsewhere", func(m tables) { m[fadtAt][fadtXDSDT+1]++; seal(m[fadtAt], 9) }, Fault{TableRange, InACPI, fadtAt}, nil},
	} {
		t.Run(c.name, c.test)
	}
}

func TestSleepVariants(t *testing.T) {
	dsdt := func(m tables, aml string) { m[dsdtAt] = table("DSDT", []byte("\x00\x00"+aml)) }
	for _, c := range []variant{
		{"no _S5_", func(m tables) { dsdt(m, "\x08_S4_\x12\x06\x04\x00\x00\x00\x00") }, Fault{DSDTSleep, InACPI, fadtAt}, nil},
		{"_S5_ is no name", func(m tables) { dsdt(m, "\x10_S5_\x12\x06\x04\x00\x00\x00\x00") }, Fault{DSDTSleep, InACPI, fadtAt}, nil},
		{"_S5_ is no package", func(m tables) { dsdt(m, "\x08_S5_\x0a\x06\x04\x00\x00\x00\x00") }, Fault{DSDTSleep, InACPI, fadtAt}, nil},
		{"_S5_ is empty", func(m tables) { dsdt(m, "\x08_S5_\x12\x02\x00\x00\x00\x00\x00") }, Fault{DSDTSleep, InACPI, fadtAt}, nil},
		{"_S5_ too large", func(m tables) { dsdt(m, "\x08_S5_\x12\x04\x01\x0a\x08\x00\x00\x00\x00") }, Fault{DSDTSleep, InACPI, fadtAt}, nil},
		{"_S5_ ends", func(m tables) { dsdt(m, "\x08_S5_\x12") }, Fault{DSDTSleep, InACPI, fadtAt}, nil},
		{"_S5_ goes on behind the table", func(m tables) {
			dsdt(m, "\x08_S5_\x12\x04\x01\x0a")
			m[dsdtAt+uint64(len(m[dsdtAt]))] = []byte{5, 0, 0, 0}
		}, Fault{DSDTSleep, InACPI, fadtAt}, nil},
		{"_S5_ runs out", func(m tables) { dsdt(m, "\x08_S5_\x12\xc0") }, Fault{DSDTSleep, InACPI, fadtAt}, nil},
		{"_S5_ of zeroes", func(m tables) { dsdt(m, "\x08_S5_\x12\x06\x04\x00\x00\x00\x00") }, Fault{}, func(p *Platform) bool { return p.PowerOff.Value == 1<<13 }},
		{"_S5_ with one", func(m tables) { dsdt(m, "\x08\\_S5_\x12\x06\x04\x01\x00\x00\x00") }, Fault{}, func(p *Platform) bool { return p.PowerOff.Value == 1<<10|1<<13 }},
		{"_S5_ with a word", func(m tables) { dsdt(m, "\x08_S5_\x12\x46\x00\x04\x0b\x07\x00") }, Fault{}, func(p *Platform) bool { return p.PowerOff.Value == 7<<10|1<<13 }},
		{"_S5_ with a double word", func(m tables) { dsdt(m, "\x08_S5_\x12\x08\x01\x0c\x03\x00\x00\x00") }, Fault{}, func(p *Platform) bool { return p.PowerOff.Value == 3<<10|1<<13 }},
	} {
		t.Run(c.name, c.test)
	}
}

func TestMADTVariants(t *testing.T) {
	for _, c := range []variant{
		{"MADT too short", func(m tables) { m[madtAt] = table("APIC", make([]byte, 7)) }, Fault{MADTEntry, InACPI, madtAt}, nil},
		{"MADT entry of length 0", func(m tables) { m[madtAt] = table("APIC", make([]byte, 16)) }, Fault{MADTEntry, InACPI, madtAt},
			func(p *Platform) bool { return p.NIOAPIC == 1 && p.IOAPIC[0].Addr == usualIOAPIC }},
		{"MADT entry too long", func(m tables) { m[madtAt][45] = 200; seal(m[madtAt], 9) }, Fault{MADTEntry, InACPI, madtAt}, nil},
		{"MADT ends in an entry", func(m tables) { m[madtAt] = table("APIC", m[madtAt][36:45]) }, Fault{MADTEntry, InACPI, madtAt}, nil},
		{"MADT IOAPIC too short", func(m tables) { m[madtAt] = table("APIC", append(make([]byte, 8), 1, 4, 0, 0)) }, Fault{MADTEntry, InACPI, madtAt}, nil},
		{"MADT with many IOAPICs", func(m tables) {
			m[madtAt] = table("APIC", append(make([]byte, 8), bytes.Repeat([]byte{1, 12, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0}, 5)...))
		}, Fault{MADTFull, InACPI, madtAt}, func(p *Platform) bool { return p.NIOAPIC == 4 && p.IOAPIC[3].Addr == 0x1000000 }},
		{"MADT with many overrides", func(m tables) {
			m[madtAt] = table("APIC", append(make([]byte, 8), bytes.Repeat([]byte{2, 10, 0, 4, 3, 0, 0, 0, 15, 0}, 17)...))
		}, Fault{MADTFull, InACPI, madtAt}, func(p *Platform) bool { return p.NOverride == 16 && p.Override[15] == Override{3, 15, 4} }},
		{"MADT with a LAPIC address", func(m tables) {
			m[madtAt] = table("APIC", append(make([]byte, 8), 5, 12, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0))
		}, Fault{}, func(p *Platform) bool { return p.LAPIC == 1<<32 }},
	} {
		t.Run(c.name, c.test)
	}
}

func TestRSDPOutOfReach(t *testing.T) {
	for _, at := range []uint64{1 << 32, low4G - 8, 1<<64 - 8} {
		var out Result
		f := tables{}.machine()
		readACPI(f.bus(), at, &out)
		if out.first() != RootPointer || f.loads != 0 {
			t.Errorf("%#x: %v, %d reads", at, out.first(), f.loads)
		}
	}
}

// FuzzACPI has tables with any content behind right checksums.
func FuzzACPI(f *testing.F) {
	m := makeTables()
	f.Add(m[rootAt][36:], m[fadtAt][36:], m[madtAt][36:], m[dsdtAt][36:])
	for _, c := range recorded[:1] {
		rsdp, r := load(f, filepath.Join("testdata", c.name+".acpi"))
		var root, fadt, madt, dsdt []byte
		for at, b := range r {
			switch string(b[:4]) {
			case "XSDT":
				root = b[36:]
			case "FACP":
				fadt = b[36:]
			case "APIC":
				madt = b[36:]
			case "DSDT":
				dsdt = b[36:]
			default:
				if at != rsdp {
					f.Fatalf("table %q", b[:4])
				}
			}
		}
		f.Add(root, fadt, madt, dsdt)
	}
	f.Fuzz(func(t *testing.T, root, fadt, madt, dsdt []byte) {
		if len(root)+len(fadt)+len(madt)+len(dsdt) > 1<<14 {
			return
		}
		m := makeTables()
		m[rootAt], m[fadtAt] = table("XSDT", root), table("FACP", fadt)
		m[madtAt], m[dsdtAt] = table("APIC", madt), table("DSDT", dsdt)
		fm := m.machine()
		var out Result
		readACPI(fm.bus(), rsdpAt, &out)
		p := &out.Platform
		if p.NIOAPIC == 0 || p.NIOAPIC > MaxIOAPIC || p.NOverride > MaxOverride || p.PowerOff.Space > ActPort {
			t.Errorf("%+v", p)
		}
		for _, a := range []Action{p.PowerOff, p.Reset} {
			if a.Space == ActPort && a.Addr+uint64(a.Width) > 0x10000 || a.Space == ActMemory && a.Addr+uint64(a.Width) > 1<<32 {
				t.Errorf("out of reach: %+v", a)
			}
		}
		// Each of at most 64 entries of the root may lead to one table and a
		// DSDT, each read twice or so.
		if fm.loads > 64*4*(1<<15) {
			t.Errorf("%d reads", fm.loads)
		}
	})
}
