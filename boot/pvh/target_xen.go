//go:build xen

package pvh

import "ampoule/boot/gate"

// The target is a PVH guest of Xen.
const (
	onXen       = true
	consolePort = 0xe9 // to the hypervisor's log
	maxIO       = xenMaxIO
	ioSlack     = 0  // pages are granted, not ranges
	latePages   = 12 // for startXen, after the I/O region has taken what was left
)

func devices(m *machine) failure { return m.findXen() }

func mapDevices(m *machine) failure { return m.mapXen() }

// startClock has nothing to do: the clock comes with the shared info page.
func startClock(*machine) failure { return failNone }

func copyGate(m *machine, to []byte) bool {
	_, m.intel = underXen()
	return gate.CopyXen(to, uint64(m.at.Gate), m.smap, m.intel)
}

func startEvents(m *machine, d *gate.Data) failure { return m.startXen(d) }
