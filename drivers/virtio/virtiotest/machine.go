package virtiotest

import (
	"fmt"
	"testing"

	"ampoule/libos/iopage"
	"ampoule/libos/rt/rtabi"
)

// Violation is what Machine panics with where the gate would end the VM with
// rtabi.ExitViolation.
type Violation string

func (v Violation) Error() string { return "gate: violation: " + string(v) }

// Machine is the I/O region of a fake VM and its gate: a virtio.Gate. Devices
// are added before drivers start.
type Machine struct {
	IO   []byte // the I/O region
	Pool *iopage.Pool
	// Constants are what queues that a device only reads may name besides.
	Constants []byte

	tb     testing.TB
	queues []*Queue
}

// NewMachine makes a VM with the given number of I/O pages.
func NewMachine(tb testing.TB, pages int) *Machine {
	tb.Helper()
	m := &Machine{tb: tb, IO: mapPages(tb, pages)}
	m.Pool = iopage.NewPool(m.IO)
	return m
}

// Add makes a device with one queue for each size, and says what boot would
// leave of it. The numbers of its queues at the gate go up from that of the
// first.
func (m *Machine) Add(kind uint32, features uint64, config []byte, sizes ...int) (*rtabi.Device, []*Queue) {
	m.tb.Helper()
	d := &rtabi.Device{
		Kind: kind, Transport: rtabi.TransportMMIO, Features: features,
		ConfigLen: uint32(copy(new(rtabi.Device).Config[:], config)), NQueues: uint32(len(sizes)),
	}
	copy(d.Config[:], config)
	first := len(m.queues)
	for i, size := range sizes {
		// Numbers do not start at 0, so that a driver that mistakes a queue's
		// index for its number is found.
		q := &Queue{m: m, ID: uint32(len(m.queues)) + firstQueue, Size: size, page: mapPages(m.tb, 1)}
		q.eventIdx = features&(1<<29) != 0
		q.table = make([]rtabi.Desc, size)
		q.readOnly = kind == 1 && i == 1 // transmit
		d.Queues[i] = rtabi.Queue{ID: q.ID, Size: uint32(size), Ring: address(q.page)}
		m.queues = append(m.queues, q)
	}
	return d, m.queues[first:]
}

const firstQueue = 3

func (m *Machine) queue(id uint32) *Queue {
	i := int(id) - firstQueue
	if i < 0 || i >= len(m.queues) {
		panic(Violation(fmt.Sprintf("queue %d", id)))
	}
	return m.queues[i]
}

// Post is the gate's: it checks each Desc and writes the descriptor table.
func (m *Machine) Post(queue uint32, n int) {
	q := m.queue(queue)
	if n <= 0 || n > rtabi.MaxSubmit {
		panic(Violation(fmt.Sprintf("queue %d: %d descriptors", queue, n)))
	}
	for i := range n {
		d := readDesc(q.page, i)
		switch {
		case int(d.ID) >= q.Size:
			panic(Violation(fmt.Sprintf("queue %d: id %d of %d", queue, d.ID, q.Size)))
		case d.Flags&^(rtabi.DescNext|rtabi.DescWrite) != 0:
			panic(Violation(fmt.Sprintf("queue %d: id %d: flags %#x", queue, d.ID, d.Flags)))
		case q.readOnly && d.Flags&rtabi.DescWrite != 0:
			panic(Violation(fmt.Sprintf("queue %d: id %d: for the device to write", queue, d.ID)))
		case d.Len == 0 || d.Len > rtabi.PageSize:
			panic(Violation(fmt.Sprintf("queue %d: id %d: %d bytes", queue, d.ID, d.Len)))
		case d.Flags&rtabi.DescNext != 0 && int(d.Next) >= q.Size:
			panic(Violation(fmt.Sprintf("queue %d: id %d: next %d of %d", queue, d.ID, d.Next, q.Size)))
		case q.readOnly && d.Offset >= rtabi.ConstOffset && uint64(d.Offset-rtabi.ConstOffset)+uint64(d.Len) <= uint64(len(m.Constants)):
		case uint64(d.Offset)+uint64(d.Len) > uint64(len(m.IO)):
			panic(Violation(fmt.Sprintf("queue %d: id %d: %d bytes at %d of %d", queue, d.ID, d.Len, d.Offset, len(m.IO))))
		}
		q.table[d.ID] = d
	}
	q.Posts++
	q.Descs += n
}

// Notify is the gate's: it runs the device, if that works when notified.
func (m *Machine) Notify(queue uint32) {
	q := m.queue(queue)
	q.Kicks++
	if q.Kick != nil {
		q.Kick()
	}
}

// Give is the gate's: Post, the index for the device, and Notify if the device wants
// that.
func (m *Machine) Give(queue uint32, n int, index, from uint16) bool {
	q := m.queue(queue)
	if !q.eventIdx {
		panic(Violation(fmt.Sprintf("queue %d: Give without event index", queue)))
	}
	m.Post(queue, n)
	store(q.page, rtabi.QueueAvailOff, uint32(index)<<16)
	if event := uint16(load(q.page, q.availEventAt())); index-event-1 >= index-from {
		return false
	}
	m.Notify(queue)
	return true
}
