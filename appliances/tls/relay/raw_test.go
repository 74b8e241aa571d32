package relay

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"
	"time"
)

// piped is a Conn whose peer is the test.
type piped struct {
	Conn  // not used
	mu    sync.Mutex
	in    []byte
	err   error
	ready func()

	out   []byte
	room  int // of what is written
	late  int // room that there is as soon as there was none
	werr  error
	watch func()
}

func (p *piped) TryRead(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := copy(b, p.in); n > 0 {
		p.in = p.in[n:]
		return n, nil
	}
	return 0, p.err
}

func (p *piped) Read(b []byte) (int, error) { return p.TryRead(b) }

func (p *piped) NotifyRead(f func()) {
	p.mu.Lock()
	now := len(p.in) > 0 || p.err != nil
	if p.ready = f; now {
		p.ready = nil
	}
	p.mu.Unlock()
	if now {
		f()
	}
}

// send has bytes arrive, or an error.
func (p *piped) send(b []byte, err error) {
	p.mu.Lock()
	p.in, p.err = append(p.in, b...), err
	f := p.ready
	p.ready = nil
	p.mu.Unlock()
	if f != nil {
		f()
	}
}

func TestFirst(t *testing.T) {
	record := append([]byte{22, 3, 1, 0, 200}, bytes.Repeat([]byte{7}, 200)...)
	for name, c := range map[string]struct {
		wait []byte // after which nothing is to happen
		more []byte
		err  error
		want []byte
	}{
		"record":       {record[:204], record[204:], nil, record},
		"head":         {record[:4], record[4:], nil, record},
		"two":          {record[:1], append(record[1:], "more"...), nil, append(bytes.Clone(record), "more"...)},
		"silence":      {nil, nil, io.EOF, nil},
		"cut":          {record[:100], nil, errors.New("reset"), record[:100]},
		"other":        {nil, []byte("G"), nil, []byte("G")},
		"large record": {record[:3], []byte{0x41, 1}, nil, []byte{22, 3, 1, 0x41, 1}},
	} {
		w := NewWorkers()
		p := &piped{}
		var clock Clock
		r := NewRaw(p, Front, &Activity{Clock: &clock})
		called := make(chan struct{}, 2)
		r.First(w, func() { called <- struct{}{} })
		for i := range c.wait {
			p.send(c.wait[i:i+1], nil)
		}
		select {
		case <-called:
			t.Errorf("%s: called after %d bytes", name, len(c.wait))
			continue
		case <-time.After(20 * time.Millisecond):
		}
		p.send(c.more, c.err)
		select {
		case <-called:
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: not called", name)
		}
		got := make([]byte, 1000)
		n := 0
		if len(c.want) > 0 {
			n, _ = r.Read(got)
		}
		if !bytes.Equal(got[:n], c.want) {
			t.Errorf("%s: %x is read, want %x", name, got[:n], c.want)
		}
		if _, err := r.Read(got); err != c.err {
			t.Errorf("%s: then %v, want %v", name, err, c.err)
		}
		w.Close()
	}
}
