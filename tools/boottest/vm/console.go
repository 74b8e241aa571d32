package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
)

// maxLine bounds one console line; a longer one is cut into several.
const maxLine = 4096

// ErrEnded is returned by WaitLine when the VM ended without such a line.
var ErrEnded = errors.New("vm: ended")

// console collects the lines of a serial port. It keeps the first and the last
// half of limit bytes and drops what is between, whole lines at a time.
type console struct {
	mu      sync.Mutex
	limit   int
	head    []string
	tail    []string
	headLen int
	tailLen int
	dropped int
	partial []byte
	next    int // line from which WaitLine looks on
	ended   bool
	changed chan struct{} // closed and replaced at each change
	tee     func(string)
}

func newConsole(limit int, tee func(string)) *console {
	return &console{limit: limit, tee: tee, changed: make(chan struct{})}
}

// readFrom blocks until r ends.
func (c *console) readFrom(r io.Reader) {
	buf := make([]byte, 4096)
	for {
		n, err := r.Read(buf)
		c.write(buf[:n])
		if err != nil {
			c.finish()
			return
		}
	}
}

func (c *console) write(p []byte) {
	for len(p) > 0 {
		n := bytes.IndexByte(p, '\n')
		whole := n >= 0
		if !whole {
			n = len(p)
		}
		room := maxLine - len(c.partial)
		if n > room {
			n, whole = room, false
		}
		c.mu.Lock()
		c.partial = append(c.partial, bytes.ReplaceAll(p[:n], []byte{'\r'}, nil)...)
		full := len(c.partial) >= maxLine
		c.mu.Unlock()
		p = p[n:]
		if whole {
			p = p[1:]
		}
		if whole || full {
			c.flush()
		}
	}
}

// flush makes a line of what came since the last one.
func (c *console) flush() {
	c.mu.Lock()
	line := string(c.partial)
	c.partial = c.partial[:0]
	if c.headLen+len(line) < c.limit/2 && c.dropped == 0 && len(c.tail) == 0 {
		c.head = append(c.head, line)
		c.headLen += len(line) + 1
	} else {
		c.tail = append(c.tail, line)
		c.tailLen += len(line) + 1
		for c.tailLen > c.limit/2 && len(c.tail) > 1 {
			c.tailLen -= len(c.tail[0]) + 1
			c.tail = c.tail[1:]
			c.dropped++
		}
	}
	close(c.changed)
	c.changed = make(chan struct{})
	c.mu.Unlock()
	if c.tee != nil {
		c.tee(line)
	}
}

func (c *console) finish() {
	c.mu.Lock()
	rest := len(c.partial) > 0
	c.mu.Unlock()
	if rest {
		c.flush()
	}
	c.mu.Lock()
	c.ended = true
	close(c.changed)
	c.changed = make(chan struct{})
	c.mu.Unlock()
}

// lines is a copy of what is kept, with a note where lines were dropped.
func (c *console) lines() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := append([]string(nil), c.head...)
	if c.dropped > 0 {
		out = append(out, fmt.Sprintf("[%d lines dropped]", c.dropped))
	}
	out = append(out, c.tail...)
	if len(c.partial) > 0 {
		out = append(out, string(c.partial))
	}
	return out
}

// last is the end of the console: up to n lines.
func (c *console) last(n int) string {
	l := c.lines()
	return strings.Join(l[max(0, len(l)-n):], "\n")
}

// find returns the first line from c.next on that matches, and moves on past
// it. It holds mu.
func (c *console) find(re *regexp.Regexp) (string, bool) {
	total := len(c.head) + c.dropped + len(c.tail)
	for i := c.next; i < total; i++ {
		line := ""
		switch t := i - len(c.head) - c.dropped; {
		case i < len(c.head):
			line = c.head[i]
		case t >= 0:
			line = c.tail[t]
		default:
			i = len(c.head) + c.dropped - 1 // dropped: go on behind the gap
			continue
		}
		if re.MatchString(line) {
			c.next = i + 1
			return line, true
		}
	}
	c.next = total
	return "", false
}

// wait blocks until find succeeds, ctx ends or the console does.
func (c *console) wait(ctx context.Context, re *regexp.Regexp) (string, error) {
	for {
		c.mu.Lock()
		line, ok := c.find(re)
		ended, changed := c.ended, c.changed
		c.mu.Unlock()
		if ok {
			return line, nil
		}
		if ended {
			return "", ErrEnded
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}
