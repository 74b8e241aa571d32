package console

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// device is a console that takes a given number of bytes.
type device struct {
	mu   sync.Mutex
	room int
	got  []byte
}

func (d *device) put(w uint64, n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n = min(n, d.room)
	for i := 0; i < n; i++ {
		d.got = append(d.got, byte(w>>(8*i)))
	}
	d.room -= n
	return n
}

func (d *device) open(n int) {
	d.mu.Lock()
	d.room += n
	d.mu.Unlock()
}

func (d *device) text() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return string(d.got)
}

func wait(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

func TestWriteAtOnce(t *testing.T) {
	d := &device{room: 1 << 20}
	c := New(Words(d.put))
	text := strings.Repeat("one line of text\n", 3000) // more than the buffer
	c.Write([]byte(text))
	if d.text() != text {
		t.Errorf("%d bytes came through, want %d, in order", len(d.text()), len(text))
	}
	if c.Dropped() != 0 {
		t.Errorf("%d bytes dropped", c.Dropped())
	}
}

func TestSlowConsoleGetsAll(t *testing.T) {
	d := &device{}
	c := New(Words(d.put))
	want := bytes.Repeat([]byte("0123456789"), 1000)
	c.Write(want)
	if d.text() != "" {
		t.Fatal("a full device took bytes")
	}
	for i := 0; i < len(want); i += 7 {
		d.open(7)
	}
	wait(t, "all bytes drained", func() bool { return len(d.text()) >= len(want) })
	if d.text() != string(want) {
		t.Error("bytes out of order")
	}
}

// A console that never drains (CVE-2022-46770 was an endless loop over one)
// costs its buffer, and says how much was lost once it works again.
func TestStuckConsole(t *testing.T) {
	d := &device{}
	c := New(Words(d.put))
	for i := 0; i < 100; i++ {
		c.Write(bytes.Repeat([]byte{'x'}, 1000))
	}
	if got := c.Dropped(); got != 100*1000-Size {
		t.Errorf("dropped %d, want %d", got, 100*1000-Size)
	}
	d.open(1 << 20)
	wait(t, "the report of the loss", func() bool { return strings.Contains(d.text(), "bytes lost]") })
}

// TestPieces: what is written at once is offered at once.
func TestPieces(t *testing.T) {
	var got []string
	c := New(func(p []byte) int { got = append(got, string(p)); return len(p) })
	want := make([]string, 1000) // more than the buffer
	for i := range want {
		want[i] = strings.Repeat("x", i%100) + "\n"
		c.Write([]byte(want[i]))
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d pieces for %d lines, or others", len(got), len(want))
	}
}

// The hardware's answer is not trusted: nonsense counts as nothing taken.
func TestHostileAnswer(t *testing.T) {
	for _, answer := range []int{-1, 9, 1 << 30} {
		for _, put := range []Put{Words(func(uint64, int) int { return answer }), func([]byte) int { return answer }} {
			New(put).Write([]byte("text"))
		}
	}
}

// TestSync: last words reach a slow console, and a stuck one holds up nobody.
func TestSync(t *testing.T) {
	d := &device{}
	c := New(Words(d.put))
	c.Write([]byte("the reason for the end\n"))
	if c.Sync(5 * time.Millisecond) {
		t.Error("a console that takes nothing is said to have taken all")
	}
	time.AfterFunc(5*time.Millisecond, func() { d.open(100) })
	if !c.Sync(5*time.Second) || d.text() != "the reason for the end\n" {
		t.Errorf("came through: %q", d.text())
	}
}
