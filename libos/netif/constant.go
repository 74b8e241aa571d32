package netif

import (
	"math"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"ampoule/libos/config/feature"
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

// tailMin is the shortest end of a segment that is worth a descriptor of its own.
const tailMin = 512

// constant is the end of a segment's data that the device can read where it lies: n
// octets at off of device.NetInfo.Constants. n is 0 where there is none; nor is there
// while frames are watched, since who watches is shown I/O pages.
func (l *link) constant(data *stack.PacketBuffer) (off uint32, n int) {
	if l.info.Constants == "" || data == nil || feature.Capture && l.tap.Load() != nil {
		return 0, 0
	}
	views, skip := data.AsViewList()
	v := views.Back()
	if v == nil {
		return 0, 0
	}
	b := v.AsSlice()
	if v == views.Front() {
		b = b[min(skip, len(b)):]
	}
	if len(b) < tailMin || len(b) > min(math.MaxUint16, data.Size()) {
		return 0, 0
	}
	return within(l.info.Constants, b)
}
