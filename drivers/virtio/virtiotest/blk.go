package virtiotest

import (
	"encoding/binary"
	"sync"
)

// Blk is the device of a disk. It works within the driver's notify.
type Blk struct {
	Q       *Queue
	Answer  func(head uint16, status byte, n int) // instead of a completion, if not nil
	Lazy    bool                                  // reads write no data and claim that they did
	mu      sync.Mutex
	content []byte
	flushes int
	fail    bool
	hold    bool
	heads   []uint16 // that are held
}

// NewBlk makes the device's side work on content.
func NewBlk(q *Queue, content []byte) *Blk {
	b := &Blk{Q: q, content: content}
	q.Kick = b.work
	q.Rearm()
	return b
}

// work does all requests there are.
func (b *Blk) work() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.Q.Pending() > 0 {
		head, _ := b.Q.Next()
		if b.hold {
			b.heads = append(b.heads, head)
			continue
		}
		b.one(head)
	}
	b.Q.Rearm()
}

// one carries out a request (virtio 1.2, section 5.2.6).
func (b *Blk) one(head uint16) {
	var parts [][]byte
	var writes []bool
	b.Q.Buffers(head, func(p []byte, write bool) bool {
		parts, writes = append(parts, p), append(writes, write)
		return true
	})
	last := len(parts) - 1
	if last < 1 || len(parts[0]) != 16 || writes[0] || len(parts[last]) != 1 || !writes[last] {
		panic(Violation("request without header or status"))
	}
	status, n := byte(0), 1
	at := binary.LittleEndian.Uint64(parts[0][8:]) * 512
	for i, p := range parts[1:last] {
		if at > uint64(len(b.content)) || uint64(len(p)) > uint64(len(b.content))-at {
			panic(Violation("request beyond the end of the disk"))
		}
		if kind := parts[0][0]; writes[i+1] != (kind == 0) {
			panic(Violation("data in the wrong direction"))
		} else if b.fail {
		} else if kind == 0 && b.Lazy {
			n += len(p)
		} else if kind == 0 {
			n += copy(p, b.content[at:])
		} else {
			copy(b.content[at:], p)
		}
		at += uint64(len(p))
	}
	if parts[0][0] == 4 {
		b.flushes++
	}
	if b.fail {
		b.fail, status, n = false, 1, 1
	}
	parts[last][0] = status
	if b.Answer != nil {
		b.Answer(head, status, n)
		return
	}
	b.Q.Complete(head, n)
}

// Content implements devicetest.BlockPeer.
func (b *Blk) Content() []byte { return b.content }

// Fail implements devicetest.BlockPeer.
func (b *Blk) Fail() { b.locked(func() { b.fail = true }) }

// Hold implements devicetest.BlockPeer.
func (b *Blk) Hold(on bool) {
	b.locked(func() {
		b.hold = on
		for _, h := range b.heads {
			b.one(h)
		}
		b.heads = nil
	})
}

// Flushes implements devicetest.BlockPeer.
func (b *Blk) Flushes() (n int) {
	b.locked(func() { n = b.flushes })
	return n
}

// Break implements devicetest.BlockPeer.
func (b *Blk) Break() {
	b.locked(func() {
		b.Answer = func(head uint16, _ byte, _ int) { b.Q.SetUsed(b.Q.UsedIndex() + 100) }
	})
}

func (b *Blk) locked(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}
