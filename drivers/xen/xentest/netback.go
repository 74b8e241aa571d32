package xentest

import (
	"fmt"
	"maps"
	"strconv"
	"sync"

	"ampoule/drivers/xen"
	"ampoule/drivers/xen/abi"
)

// Linux is what Linux 6.1's netback offers.
func Linux() map[string]string {
	return map[string]string{
		"feature-sg": "1", "feature-gso-tcpv4": "1", "feature-gso-tcpv6": "1",
		"feature-ipv6-csum-offload": "1", "feature-rx-copy": "1", "feature-rx-flip": "0",
		"feature-split-event-channels": "1", "feature-multicast-control": "1",
		"feature-ctrl-ring": "1", "multi-queue-max-queues": "2", "hotplug-status": "connected",
	}
}

// Netback is the backend of one vif and the wire behind it. Its rings belong to
// the goroutine of the test; the handshake happens within the VM's writes.
type Netback struct {
	Front, Back string // directories in the store
	RX, TX      Ring

	d *Dom0

	mu     sync.Mutex
	mac    string
	offers map[string]string
	mute   bool // does not answer the handshake
	linked bool
	links  int // handshakes completed
	has    frontend
	one    []byte    // scratch for a frame
	reqs   []Request // and its requests
}

// frontend is what the VM wrote to its directory.
type frontend struct {
	txPort, rxPort           xen.Port
	sg, gso4, gso6           bool
	noChecksum, checksum6    bool
	rxCopy, rxNotify, shared bool
}

// AddVIF makes a vif as the toolstack does, with the backend waiting for the VM.
func (d *Dom0) AddVIF(i int, offers map[string]string) *Netback {
	n := &Netback{
		d:      d,
		Front:  fmt.Sprintf("/local/domain/%d/device/vif/%d", Domain, i),
		Back:   fmt.Sprintf("/local/domain/0/backend/vif/%d/%d", Domain, i),
		mac:    fmt.Sprintf("00:16:3e:00:00:%02x", i+1),
		offers: maps.Clone(offers),
	}
	d.Store.onWrite(n.written)
	n.restart()
	return n
}

// restart makes both directories anew.
func (n *Netback) restart() {
	n.mu.Lock()
	n.linked = false
	n.mu.Unlock()
	s := n.d.Store
	s.Remove(n.Front)
	s.Remove(n.Back)
	s.Set(n.Back+"/frontend", n.Front)
	s.Set(n.Back+"/online", "1")
	for k, v := range n.offers {
		s.Set(n.Back+"/"+k, v)
	}
	s.Set(n.Back+"/state", "2")
	s.Set(n.Front+"/backend-id", "0")
	s.Set(n.Front+"/handle", "0")
	s.Set(n.Front+"/mac", n.mac)
	s.Set(n.Front+"/state", "1")
	s.Set(n.Front+"/backend", n.Back)
}

// Detach removes the vif at once, as a destroyed driver domain or
// `xl network-detach` in the end does. Attach makes it again.
func (n *Netback) Detach() {
	n.mu.Lock()
	n.linked = false
	n.mu.Unlock()
	n.d.Store.Remove(n.Back)
	n.d.Store.Remove(n.Front)
}

// Attach makes the vif again after Detach, with what it offers.
func (n *Netback) Attach(offers map[string]string) {
	n.offers = maps.Clone(offers)
	n.restart()
}

// SetMAC is the address of the vif that the next Attach makes.
func (n *Netback) SetMAC(mac string) { n.mac = mac }

// Mute makes the backend not answer the handshake.
func (n *Netback) Mute(on bool) {
	n.mu.Lock()
	n.mute = on
	n.mu.Unlock()
}

// Linked says whether the rings are in use, and how often they have been taken
// into use.
func (n *Netback) Linked() (now bool, times int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.linked, n.links
}

// SetState writes the backend's state.
func (n *Netback) SetState(s abi.State) {
	n.d.Store.Set(n.Back+"/state", strconv.Itoa(int(s)))
}

// State is the backend's state.
func (n *Netback) State() string {
	v, _ := n.d.Store.Get(n.Back + "/state")
	return v
}

// written is told of what the VM writes: the backend's half of the handshake.
func (n *Netback) written(path, value string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if path != n.Front+"/state" || n.mute {
		return
	}
	switch value {
	case "1":
		if s := n.State(); s == "6" || s == "5" {
			n.SetState(abi.StateInitWait)
		}
	case "3", "4":
		if n.State() != "2" {
			return
		}
		if err := n.link(); err != nil {
			n.d.Store.Set(n.Back+"/error", err.Error())
			n.SetState(abi.StateClosing)
			return
		}
		n.SetState(abi.StateConnected)
	case "5":
		n.SetState(abi.StateClosing)
	case "6":
		n.linked = false
		n.SetState(abi.StateClosed)
	}
}

// number reads a decimal of the frontend's directory.
func (n *Netback) number(key string) (uint32, bool) {
	v, ok := n.d.Store.Get(n.Front + "/" + key)
	u, err := strconv.ParseUint(v, 10, 32)
	return uint32(u), ok && err == nil
}

func (n *Netback) flag(key string) bool {
	v, _ := n.number(key)
	return v != 0
}

// link takes the rings into use. Called with mu held.
func (n *Netback) link() error {
	tx, ok1 := n.number("tx-ring-ref")
	rx, ok2 := n.number("rx-ring-ref")
	if !ok1 || !ok2 {
		return fmt.Errorf("no ring references")
	}
	h := frontend{
		sg: n.flag("feature-sg"), gso4: n.flag("feature-gso-tcpv4"), gso6: n.flag("feature-gso-tcpv6"),
		noChecksum: n.flag("feature-no-csum-offload"), checksum6: n.flag("feature-ipv6-csum-offload"),
		rxCopy: n.flag("request-rx-copy"), rxNotify: n.flag("feature-rx-notify"),
	}
	if p, ok := n.number("event-channel-tx"); ok {
		q, ok := n.number("event-channel-rx")
		if !ok || n.offers["feature-split-event-channels"] != "1" {
			return fmt.Errorf("split event channels, but not so")
		}
		h.txPort, h.rxPort = xen.Port(p), xen.Port(q)
	} else if p, ok := n.number("event-channel"); ok {
		h.txPort, h.rxPort, h.shared = xen.Port(p), xen.Port(p), true
	} else {
		return fmt.Errorf("no event channel")
	}
	if !h.rxCopy {
		return fmt.Errorf("no receive copy")
	}
	return n.take(tx, rx, h)
}

// take maps the rings and binds the ports.
func (n *Netback) take(tx, rx uint32, h frontend) error {
	for _, p := range []xen.Port{h.txPort, h.rxPort} {
		if !n.d.connect(p, nil) {
			return fmt.Errorf("port %d is not for us", p)
		}
	}
	n.has = h
	n.TX, n.RX = attach(n.d.page(tx), 12), attach(n.d.page(rx), 8)
	n.linked = true
	n.links++
	return nil
}

// Frontend says what the VM has asked for: whether it uses split event channels,
// and its ports.
func (n *Netback) Frontend() (split bool, tx, rx xen.Port) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.has.shared, n.has.txPort, n.has.rxPort
}

// NewNetback makes a backend with no store behind it, for fuzzers and
// benchmarks: Bare takes the rings into use.
func (d *Dom0) NewNetback() *Netback { return &Netback{d: d} }

// Bare takes rings into use as a frontend with all features would have it.
func (n *Netback) Bare(tx, rx uint32, txPort, rxPort xen.Port) error {
	return n.take(tx, rx, frontend{
		txPort: txPort, rxPort: rxPort, shared: txPort == rxPort,
		sg: true, gso4: true, gso6: true, checksum6: true, rxCopy: true, rxNotify: true,
	})
}
