//go:build !xen

package pvh

import (
	"ampoule/boot/gate"
	"ampoule/boot/layout"
)

// The target is a machine with virtio devices and a local APIC.
const (
	onXen       = false
	consolePort = uart
	maxIO       = 32 << 20
	ioSlack     = layout.Page // end of the I/O region, never named to a device: see the gate's post
	latePages   = 0
)

func devices(m *machine) failure {
	if xen, _ := underXen(); xen {
		return failOtherXen
	}
	return m.findDevices()
}

func mapDevices(m *machine) failure { return m.mapDevices() }

func startClock(m *machine) failure {
	if m.clockPhys = m.pages.page(m.tables.mem); m.clockPhys == 0 {
		return failTables
	}
	return m.startClock()
}

func copyGate(m *machine, to []byte) bool { return gate.Copy(to, uint64(m.at.Gate), m.smap) }

func startEvents(m *machine, _ *gate.Data) failure {
	m.startTicks()
	return failNone
}
