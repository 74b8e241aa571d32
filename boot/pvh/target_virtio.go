//go:build !xen

package pvh

import "ampoule/boot/gate"

// The target is a machine with virtio devices and a local APIC.
const (
	onXen       = false
	consolePort = uart
	maxIO       = 32 << 20
	latePages   = 0
)

func devices(m *machine) failure {
	if xen, _ := underXen(); xen {
		return failOtherXen
	}
	return m.findDevices()
}

func startClock(m *machine) failure { return m.startClock() }

func copyGate(m *machine, to []byte) bool { return gate.Copy(to, m.smap) }

func startEvents(m *machine, _ *gate.Data) failure {
	m.startTicks()
	return failNone
}
