// Package recent keeps the last lines of a log in memory, for who asks later.
package recent

import (
	"bytes"
	"io"
	"sync"
)

// Lines passes whole lines on to a Writer and keeps the last of them.
type Lines struct {
	to io.Writer

	mu  sync.Mutex
	buf []byte // a ring
	n   uint64 // bytes ever written to it
}

// New keeps the last size bytes of what goes to w.
func New(w io.Writer, size int) *Lines { return &Lines{to: w, buf: make([]byte, size)} }

// Write implements io.Writer. It is as slow as the Writer behind it.
func (l *Lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	kept := p
	if len(kept) > len(l.buf) {
		kept = kept[len(kept)-len(l.buf):]
	}
	at := int(l.n % uint64(len(l.buf)))
	copy(l.buf, kept[copy(l.buf[at:], kept):])
	l.n += uint64(len(kept))
	l.mu.Unlock()
	return l.to.Write(p)
}

// Last returns a copy of the last lines, at most so many, whole ones only.
func (l *Lines) Last(lines int) []byte {
	l.mu.Lock()
	at, size := int(l.n%uint64(len(l.buf))), uint64(len(l.buf))
	all := append([]byte(nil), l.buf[:at]...)
	if l.n > size {
		all = append(append(make([]byte, 0, size), l.buf[at:]...), all...)
		all = all[bytes.IndexByte(all, '\n')+1:]
	}
	l.mu.Unlock()
	from := len(all)
	for ; lines > 0 && from > 0; lines-- {
		from = bytes.LastIndexByte(all[:from-1], '\n') + 1
	}
	return all[from:]
}
