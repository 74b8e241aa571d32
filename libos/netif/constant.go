package netif

import (
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// Constant is a string from which connections send without a copy: what waits to be
// sent, or to be acknowledged, are references to it. Any goroutine may use it.
type Constant struct {
	text string
	once sync.Once
	of   any // of the trimmed stack's TCP
}

// NewConstant makes a Constant of s.
func NewConstant(s string) *Constant { return &Constant{text: s} }

// constantEndpoint is what the trimmed stack's TCP offers for SendFrom.
type constantEndpoint interface {
	NewConstant(string) any
	// WriteConstant is sliceEndpoint.WriteSlices; long slices that lie in the constant,
	// which NewConstant made, are not copied. copies is for its own use, 0 at first.
	WriteConstant(constant any, all [][]byte, skip int, copies *int) (int, tcpip.Error)
}

// held is what WriteConstant takes for k.
func (k *Constant) held(ep constantEndpoint) any {
	k.once.Do(func() { k.of = ep.NewConstant(k.text) })
	return k.of
}

// SendFrom has TryWrite copy nothing from now on that is long and lies in k: up to
// 256 KiB of that may wait to be sent or acknowledged, besides what Limits.TCPSend lets
// wait of the rest. It is called once, before the first TryWrite, and nothing else
// writes to the connection then.
func (c *Conn) SendFrom(k *Constant) { c.watch.from = k }
