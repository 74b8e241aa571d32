package appliance

import (
	"net/netip"
	"sync/atomic"

	"ampoule/libos/pvboot"
	"ampoule/libos/telemetry"
)

// herald tells the hypervisor's tools about us, whenever there is news. That
// they don't take it is no reason not to serve.
type herald struct {
	announce func(name string, addresses []netip.Prefix) error // nil: nobody hears
	name     string
	log      *telemetry.Logger

	addresses atomic.Pointer[func() []netip.Prefix] // nil: it is too early
	news      chan struct{}
	ended     chan struct{}
}

// newHerald makes a herald, which begins with its first tell.
func newHerald(m *pvboot.Machine, name string, log *telemetry.Logger) *herald {
	h := &herald{
		announce: m.Announce, name: name, log: log,
		news: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	if h.announce != nil {
		go h.run()
	}
	return h
}

// tell tells now, and with each call of again, what addresses then says.
func (h *herald) tell(addresses func() []netip.Prefix) {
	h.addresses.Store(&addresses)
	h.again()
}

// again says that there is news. It does not wait; any goroutine may call it.
func (h *herald) again() {
	select {
	case h.news <- struct{}{}:
	default: // the last has not been heard yet
	}
}

// end ends it, once what is under way has been told.
func (h *herald) end() { close(h.ended) }

func (h *herald) run() {
	for before := ""; ; {
		select {
		case <-h.news:
		case <-h.ended:
			return
		}
		addresses := h.addresses.Load()
		if addresses == nil {
			continue
		}
		if err := h.announce(h.name, (*addresses)()); err != nil && err.Error() != before {
			before = err.Error()
			h.log.Info("the hypervisor's tools took not all that was announced", "error", err)
		}
	}
}
