package pvh

import (
	"ampoule/boot/cpu"
	"ampoule/boot/gate"
	"ampoule/boot/layout"
	"ampoule/libos/rt/rtabi"
)

// Xen's interface as boot uses it: numbers of public/xen.h, memory.h, vcpu.h,
// event_channel.h and hvm/params.h of Xen 4.17.
const (
	xenLeaf       = 0x40000000
	hyperMemory   = 12
	hyperVCPU     = 24
	hyperSched    = 29
	hyperEvent    = 32
	hyperHVM      = 34
	addToPhysmap  = 7 // XENMEM_add_to_physmap
	spaceShared   = 0 // XENMAPSPACE_shared_info
	spaceGrant    = 1 // XENMAPSPACE_grant_table
	bindVIRQ      = 1 // EVTCHNOP_bind_virq; VIRQ_TIMER is 0
	periodicTimer = 6 // VCPUOP_set_periodic_timer
	setParam      = 0 // HVMOP_set_param
	getParam      = 1
	paramCallback = 0
	paramStore    = 1 // frame; 2: port
	paramConsole  = 17
	callbackVec   = 2 << 56 // deliver events by a vector
	schedShutdown = 2
	shutdownCrash = 3
	domSelf       = 0x7ff0
	backendDomain = 0 // driver domains are not supported

	sharedTime = 32 // vcpu_info[0].time in the shared info page
	wallVer    = 3072
	wallSec    = 3076
	wallNS     = 3080
	wallSecHi  = 3084

	xenRings   = 16 // ring pages for the drivers
	xenMaxIO   = 8 << 20
	refsInPage = 512
)

// Offsets in the shared region on Xen, behind the shared info page.
const (
	xenStore   = 1 * layout.Page
	xenConsole = 2 * layout.Page
	xenRing    = 3 * layout.Page
)

// underXen says whether the hypervisor is Xen, and whether the CPU wants VMCALL.
func underXen() (xen, intel bool) {
	_, b, c, d := cpu.ID(xenLeaf, 0)
	_, v, _, _ := cpu.ID(0, 0)
	return b == 0x566e6558 && c == 0x65584d4d && d == 0x4d4d566e, v == 0x756e6547 // "XenVMMXenVMM", "Genu"
}

// hypercall makes one with up to three arguments; arg is copied to memory that
// its address is passed of.
func (m *machine) hypercall(nr, op uint64, arg *[3]uint64) int64 {
	p := m.tables.mem.base + uintptr(m.argPhys)
	for i, w := range arg {
		m.tables.mem.store(m.argPhys+8*uint64(i), w)
	}
	r := cpu.Hypercall(uintptr(nr), uintptr(op), p, p, m.intel)
	for i := range arg {
		arg[i] = m.tables.mem.load(m.argPhys + 8*uint64(i))
	}
	return r
}

// param reads a parameter of this domain.
func (m *machine) param(index uint64) (uint64, bool) {
	arg := [3]uint64{domSelf | index<<32, 0, 0}
	r := m.hypercall(hyperHVM, getParam, &arg)
	return arg[1], r == 0
}

// findXen asks what this VM and the toolstack share, and makes room for the
// grant table and the drivers' rings.
func (m *machine) findXen() failure {
	xen, _ := underXen()
	if !xen {
		return failNotXen
	}
	m.info.Features |= rtabi.FeatureXen
	mem := m.tables.mem
	if m.argPhys = m.pages.page(mem); m.argPhys == 0 {
		return failTables
	}
	store, ok1 := m.param(paramStore)
	console, ok2 := m.param(paramConsole)
	if !ok1 || !ok2 || store == 0 || console == 0 || store >= 1<<20 || console >= 1<<20 {
		return failXen
	}
	m.consolePhys, m.storePhys = console<<12, store<<12
	m.sharedPhys = m.pages.page(mem)
	m.ringPhys = m.take(xenRings)
	m.grantPages = (gate.FirstRef + xenRings + m.wantIO()/layout.Page + refsInPage - 1) / refsInPage
	m.grantPhys = m.take(m.grantPages)
	if m.tables.failed || m.sharedPhys == 0 {
		return failTables
	}
	m.sharedSize, m.descSize = xenRing+xenRings*layout.Page, m.grantPages*layout.Page
	for i := uint64(0); i < xenRings; i++ {
		mem.clear(m.ringPhys + i*layout.Page)
	}
	return failNone
}

// mapXen maps what findXen found.
func (m *machine) mapXen() failure {
	shared := uint64(m.at.Shared)
	m.tables.add(&m.pages, shared, m.sharedPhys, layout.Page, userRW)
	m.tables.add(&m.pages, shared+xenStore, m.storePhys, layout.Page, userRW)
	m.tables.add(&m.pages, shared+xenConsole, m.consolePhys, layout.Page, userRW)
	m.tables.add(&m.pages, shared+xenRing, m.ringPhys, xenRings*layout.Page, userRW)
	m.tables.add(&m.pages, uint64(m.at.Descriptors), m.grantPhys, m.descSize, kernelRW)
	if m.tables.failed {
		return failTables
	}
	s := m.at.Shared
	m.info.Xen = rtabi.Xen{Store: s + xenStore, Console: s + xenConsole, Rings: s + xenRing, NRings: xenRings,
		RingRef: gate.FirstRef, IORef: gate.FirstRef + xenRings, Shared: s}
	return failNone
}

// xenCalls fills the gate's list of hypercalls, which it runs now and again in
// a restored VM.
func (m *machine) xenCalls(x *gate.Xen) bool {
	ok := x.Add(hyperMemory, addToPhysmap, 0, 0, 0, [3]uint64{domSelf | spaceShared<<32, 0, m.sharedPhys >> 12})
	for i := uint64(0); i < m.grantPages; i++ {
		ok = ok && x.Add(hyperMemory, addToPhysmap, 0, 0, 0, [3]uint64{domSelf | spaceGrant<<32, i, m.grantPhys>>12 + i})
	}
	ok = ok && x.Add(hyperHVM, setParam, 0, 0, 0, [3]uint64{domSelf | paramCallback<<32, callbackVec | layout.VectorTick, 0})
	ok = ok && x.Add(hyperEvent, bindVIRQ, 0, 8, m.xenField(xenTimerPort), [3]uint64{})
	ok = ok && x.Add(hyperVCPU, periodicTimer, 1, 0, 0, [3]uint64{1e9 / layout.TickHz, 0, 0})
	ok = ok && x.Add(hyperHVM, getParam, 0, 8, m.xenField(xenStorePort), [3]uint64{domSelf | (paramStore+1)<<32, 0, 0})
	return ok && x.Add(hyperHVM, getParam, 0, 8, m.xenField(xenConsolePort), [3]uint64{domSelf | (paramConsole+1)<<32, 0, 0})
}

// startXen runs the gate's set-up for the first time and sets the clock. For
// that, boot's own page tables get the gate's data and what it shares with
// others too, at ring 0's later addresses.
func (m *machine) startXen(d *gate.Data) failure {
	x := &d.Xen
	shared := uint64(m.at.Shared)
	x.Shared, x.Console, x.Grants = shared, shared+xenConsole, uint64(m.at.Descriptors)
	x.Backend = backendDomain
	x.RingFrame, x.NRings = m.ringPhys>>12, xenRings
	x.IOFrame, x.NIO = m.ioPhys>>12, m.ioSize>>12
	x.Boot = 1
	if m.ioSize>>12+gate.FirstRef+xenRings > m.grantPages*refsInPage || !m.xenCalls(x) {
		return failXen
	}
	own := mapper{root: layout.Low, mem: m.tables.mem}
	own.add(&m.pages, m.gate(layout.GateData), m.dataPhys, layout.Page, kernelRW)
	own.add(&m.pages, shared, m.sharedPhys, layout.Page, kernelRW)
	own.add(&m.pages, shared+xenConsole, m.consolePhys, layout.Page, kernelRW)
	own.add(&m.pages, uint64(m.at.Descriptors), m.grantPhys, m.descSize, kernelRW)
	if own.failed {
		return failTables
	}
	cpu.Flush()
	if cpu.Call(uintptr(m.codePhys)+gate.SetupOffset) != 0 {
		return failXen
	}
	mem := m.tables.mem
	clock := clockAt(mem, m.sharedPhys+sharedTime)
	setClock(m.info, m.at.Shared+sharedTime)
	m.info.Epoch = xenNow(clock, cpu.TSC())
	m.info.Wall = m.xenWall() + m.info.Epoch
	return failNone
}

// xenNow is system time at TSC reading tsc (public/xen.h, vcpu_time_info).
func xenNow(c *rtabi.Clock, tsc uint64) int64 {
	d := tsc - c.TSC
	if c.Shift < 0 {
		d >>= uint(-c.Shift) & 63
	} else {
		d <<= uint(c.Shift) & 63
	}
	mul := uint64(c.Mul)
	return int64(c.System + d>>32*mul + d&0xffffffff*mul>>32)
}

// xenWall is the wall clock at system time 0, ns since 1970.
func (m *machine) xenWall() int64 {
	mem := m.tables.mem
	for try := 0; ; try++ {
		v := mem.load32(m.sharedPhys + wallVer)
		sec := uint64(mem.load32(m.sharedPhys+wallSec)) | uint64(mem.load32(m.sharedPhys+wallSecHi))<<32
		ns := uint64(mem.load32(m.sharedPhys + wallNS))
		if v&1 == 0 && v == mem.load32(m.sharedPhys+wallVer) || try == 1000 {
			return int64(sec*1e9 + ns)
		}
	}
}
