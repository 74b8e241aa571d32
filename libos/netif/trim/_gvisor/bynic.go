package stack

import "gvisor.dev/gvisor/pkg/tcpip"

// byNIC takes the place of a map by interface of endpoints that are bound to one.
// Here none is: all are for any interface, which is number 0.
type byNIC struct {
	there bool // multi is in use
	multi multiPortEndpoint
	room  [1]TransportEndpoint // for multi.endpoints
}

// get is the endpoints of an interface.
func (b *byNIC) get(id tcpip.NICID) (*multiPortEndpoint, bool) {
	return &b.multi, id == 0 && b.there
}

// prepare is get while there are none.
func (b *byNIC) prepare(id tcpip.NICID) *multiPortEndpoint {
	if id != 0 {
		panic("an endpoint is bound to an interface")
	}
	b.multi.endpoints = b.room[:0]
	return &b.multi
}
