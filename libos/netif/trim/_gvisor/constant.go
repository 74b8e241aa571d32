package tcp

import (
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
)

// What is sent from constants costs no memory, so more of it may wait than of copies.
const (
	// constantMin is the shortest piece that is not copied: a view costs about as
	// much as copying that.
	constantMin = 2 << 10
	// constantMax is how much data may wait to be sent, or to be acknowledged, when
	// what is over the send buffer's size lies in a constant.
	constantMax = 256 << 10
)

// NewConstant makes what WriteConstant takes for a constant.
func (e *Endpoint) NewConstant(s string) any { return buffer.NewConstant(s) }

// WriteConstant is WriteSlices of slices some of which lie in a constant of
// NewConstant: those are not copied. copies is for its own use, the same for all calls of a
// connection and 0 at first: no fewer bytes than are copied and not acknowledged.
func (e *Endpoint) WriteConstant(constant any, all [][]byte, skip int, copies *int) (int, tcpip.Error) {
	e.LockUser()
	defer e.UnlockUser()
	if n, ok := e.sendAtOnce(all, skip); ok {
		*copies += n
		return n, nil
	}
	s, n, err := e.queueConstant(constant.(*buffer.Constant), all, skip, copies)
	if s != nil {
		e.sendData(s)
	}
	return n, err
}

// queueConstant is queueSlices of the same. It says ErrWouldBlock, too, if only a part
// of all was taken. The waiter is told when there is room again, for which the send
// buffer's size is no more than the mark of that: the bounds are here.
//
// +checklocks:e.mu
func (e *Endpoint) queueConstant(k *buffer.Constant, all [][]byte, skip int, copies *int) (*segment, int, tcpip.Error) {
	e.sndQueueInfo.sndQueueMu.Lock()
	defer e.sndQueueInfo.sndQueueMu.Unlock()
	_, err := e.isEndpointWritableLocked()
	if _, full := err.(*tcpip.ErrWouldBlock); err != nil && !(full && e.EndpointState().connected()) {
		e.stats.WriteErrors.WriteClosed.Increment()
		return nil, 0, err
	}
	used := e.sndQueueInfo.SndBufUsed
	*copies = min(*copies, used)
	limit := GetTCPSendBufferLimits(e.stack).Max
	q := constantQueue{k: k, room: constantMax - used, copies: limit - *copies}
	full := q.add(all, skip)
	*copies = limit - q.copies
	n := constantMax - used - q.room
	used += n
	mark := limit
	if full {
		mark = max(used, 2) // told when less than half of that is left
	}
	e.sndQueueInfo.TCPSndBufState.AutoTuneSndBufDisabled.Store(1)
	e.ops.SetSendBufferSize(int64(mark), false)
	err = nil
	if full {
		err = &tcpip.ErrWouldBlock{}
	}
	if n == 0 {
		return nil, 0, err
	}
	s := newOutgoingSegment(e.TransportEndpointInfo.ID, e.stack.Clock(), q.data)
	e.sndQueueInfo.SndBufUsed = used
	e.snd.writeList.PushBack(s)
	return s, n, err
}

// constantQueue collects what is to be sent.
type constantQueue struct {
	k            *buffer.Constant
	data         buffer.Buffer
	room, copies int // how much more may wait, and may be copied
}

// add appends what there is room for of what is behind the first skip bytes of all,
// and says whether anything is left.
func (q *constantQueue) add(all [][]byte, skip int) (full bool) {
	done, pos := skip, 0 // counted from the beginning of all
	for _, b := range all {
		at := max(pos, skip)
		if pos += len(b); pos-at < constantMin {
			continue
		}
		v := q.k.View(b[len(b)-(pos-at):])
		if v == nil {
			continue
		}
		if !q.copy(all, done, at-done) {
			v.Release()
			return true
		}
		v.CapLength(q.room)
		done = at + v.Size()
		q.room -= v.Size()
		q.data.Append(v)
		if done < pos {
			return true
		}
	}
	return !q.copy(all, done, pos-done)
}

// copy appends a copy of n bytes behind the first skip of all, if there is room for
// them all, or of as many as there is.
func (q *constantQueue) copy(all [][]byte, skip, n int) (whole bool) {
	k := min(n, q.room, q.copies)
	if k > 0 {
		data := copied(all, skip, k)
		q.data.Merge(&data)
		q.room -= k
		q.copies -= k
	}
	return k == n
}
