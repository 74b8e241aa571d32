package console

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"ampoule/drivers/xen/abi"
	"ampoule/drivers/xen/xentest"
	oscons "ampoule/libos/console"
)

func open(t *testing.T, input func([]byte)) (*Console, *xentest.Dom0) {
	t.Helper()
	d := xentest.New(t, 0)
	c, err := Open(Config{Gate: d, Line: d.Console.Line, Input: input})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, d
}

var _ oscons.Put = (*Console)(nil).Write

func TestWrite(t *testing.T) {
	c, d := open(t, nil)
	before := d.Notifies(d.Console.Port())
	if n := c.Write([]byte("Hello\n")); n != 6 {
		t.Fatalf("Write took %d", n)
	}
	if n := c.Write([]byte(strings.Repeat("x", 300))); n != 300 {
		t.Fatalf("Write took %d", n)
	}
	if n := d.Notifies(d.Console.Port()) - before; n != 2 {
		t.Errorf("%d notifications", n)
	}
	// The ring begins near the end of the index space and wraps.
	if got, want := string(d.Console.Take(5000)), "Hello\n"+strings.Repeat("x", 300); got != want {
		t.Errorf("%q came out", got)
	}
}

// TestUnderOSConsole runs libos/console on it: all arrives, in order.
func TestUnderOSConsole(t *testing.T) {
	c, d := open(t, nil)
	o := oscons.New(c.Write)
	var want, got []byte
	for i := range 400 {
		line := []byte(strings.Repeat(string(rune('a'+i%26)), i%90) + "\n")
		o.Write(line)
		want = append(want, line...)
		got = append(got, d.Console.Take(100)...)
	}
	for end := time.Now().Add(5 * time.Second); len(got) < len(want) && time.Now().Before(end); time.Sleep(time.Millisecond) {
		got = append(got, d.Console.Take(500)...)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d bytes written, %d came out, or others", len(want), len(got))
	}
}

// TestNeverDrains (CVE-2022-46770): a console that takes nothing costs nothing.
func TestNeverDrains(t *testing.T) {
	c, d := open(t, nil)
	total := 0
	for range 10000 {
		total += c.Write([]byte("xxxxxxxx"))
	}
	if total != abi.ConsoleOut {
		t.Errorf("%d bytes taken", total)
	}
	before := d.Notifies(d.Console.Port())
	if n := c.Write(make([]byte, 1<<20)); n != 0 || d.Notifies(d.Console.Port()) != before {
		t.Errorf("a full ring took %d", n)
	}
	d.Console.Take(10)
	if n := c.Write(make([]byte, 1<<20)); n != 10 {
		t.Errorf("a ring with room for 10 took %d", n)
	}
}

// TestIndexJump: impossible indexes do no harm, and a daemon that comes to its
// senses is served again.
func TestIndexJump(t *testing.T) {
	lines := make(chan string, 16)
	c, d := open(t, func(b []byte) { lines <- string(b) })
	prod := d.Console.OutProd()
	for _, v := range []uint32{prod + 1, prod + 1<<31, prod - abi.ConsoleOut - 1} {
		d.Console.SetOutCons(v)
		if n := c.Write([]byte("x")); n != 0 {
			t.Errorf("consumer at %#x of %#x: took %d", v, prod, n)
		}
	}
	if n := c.Jumps(); n != 3 {
		t.Errorf("%d jumps counted", n)
	}
	d.Console.SetOutCons(prod)
	if n := c.Write([]byte("x")); n != 1 || string(d.Console.Take(9)) != "x" {
		t.Error("no output after the indexes came right")
	}
	for _, by := range []uint32{abi.ConsoleIn + 1, 1<<31 + 1, 0xffffffff} {
		at := d.Console.InCons() + by
		d.Console.SetInProd(at)
		for end := time.Now().Add(5 * time.Second); d.Console.InCons() != at; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("jump by %#x: the input stands still", by)
			}
		}
	}
	d.Console.Type("hello\n")
	select {
	case got := <-lines:
		if got != "hello" {
			t.Errorf("line %q", got)
		}
	case <-time.After(5 * time.Second):
		t.Error("no input after jumps")
	}
}

func TestInput(t *testing.T) {
	lines := make(chan string, 16)
	_, d := open(t, func(b []byte) { lines <- string(b) })
	long := strings.Repeat("long", 100)
	d.Console.Type("one\r\ntwo\n\n" + long + "\nla")
	time.Sleep(2 * inputPause)
	d.Console.Type("st\n")
	for _, want := range []string{"one", "two", long[:MaxLine], "last"} {
		select {
		case got := <-lines:
			if got != want {
				t.Errorf("line %q, want %q", got, want)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("no line %q", want)
		}
	}
}

// TestInputStorm: input without end is taken at a bounded pace.
func TestInputStorm(t *testing.T) {
	_, d := open(t, func([]byte) {})
	start, from := time.Now(), d.Console.InCons()
	for time.Since(start) < 100*time.Millisecond {
		d.Console.Type(strings.Repeat("\x00\xff", 512))
	}
	looks := int(time.Since(start)/inputPause) + 2
	if n := d.Console.InCons() - from; n < abi.ConsoleIn || int(n) > looks*abi.ConsoleIn {
		t.Errorf("%d bytes taken in %d looks", n, looks)
	}
}

func TestSaveRestore(t *testing.T) {
	c, d := open(t, nil)
	ctx := context.Background()
	for _, restored := range []bool{false, true} {
		c.Suspend(ctx)
		if n := c.Write([]byte("lost")); n != 0 {
			t.Errorf("%d bytes taken while suspended", n)
		}
		if restored {
			d.Restore()
		}
		if err := c.Resume(ctx, restored); err != nil {
			t.Fatal(err)
		}
		if n := c.Write([]byte("back")); n != 4 || string(d.Console.Take(9)) != "back" {
			t.Errorf("restored %v: %d bytes taken", restored, n)
		}
	}
}

// TestTwoWriters: what the gate writes between Write's steps, or before it, comes
// out whole, and what Write was given comes out behind it.
func TestTwoWriters(t *testing.T) {
	c, d := open(t, nil)
	c.Write([]byte("before\n"))
	gate(d, "panic: one\n")
	c.Write([]byte("after\n"))
	at, n := c.copy([]byte("a line that is overtaken\n"))
	gate(d, "two\n")
	if c.publish(at, n) {
		t.Error("bytes that the gate has overwritten were shown")
	}
	c.Write([]byte("a line that is overtaken\n"))
	want := "before\npanic: one\nafter\ntwo\na line that is overtaken\n"
	if got := string(d.Console.Take(5000)); got != want {
		t.Errorf("%q came out, want %q", got, want)
	}
}

// gate writes as the gate does.
func gate(d *xentest.Dom0, text string) {
	line, _ := d.Console.Line()
	prod := line.Page.Load32(abi.ConsoleOutProd)
	for i := range text {
		line.Page.Bytes()[abi.ConsoleOutAt+(prod+uint32(i))%abi.ConsoleOut] = text[i]
	}
	line.Page.Store32(abi.ConsoleOutProd, prod+uint32(len(text)))
}

// TestNoInput: without a use for it, input costs nothing, however much there is.
func TestNoInput(t *testing.T) {
	c, d := open(t, nil)
	from, before := d.Console.InCons(), d.Notifies(d.Console.Port())
	d.Console.Type(strings.Repeat("x", abi.ConsoleIn))
	time.Sleep(2 * inputPause)
	if d.Console.InCons() != from || d.Notifies(d.Console.Port()) != before {
		t.Error("input that nobody wants was taken")
	}
	if n := c.Write([]byte("x")); n != 1 {
		t.Error("no output with the input ring full")
	}
}

// FuzzConsole lets a daemon write anything to its page, also between the two
// steps of a write.
func FuzzConsole(f *testing.F) {
	f.Add([]byte{0, 9, 1, 200, 2, 3, 3, 7})
	f.Add([]byte{4, 9, 5, 0, 4, 200, 1, 2, 5, 0, 0, 255})
	d := xentest.New(f, 0)
	line, err := d.Console.Line()
	if err != nil {
		f.Fatal(err)
	}
	var text [255 * 16]byte
	var b [abi.ConsoleIn]byte
	var t *testing.T
	c := &Console{conf: Config{Gate: d, Line: d.Console.Line, Input: func(b []byte) {
		if len(b) == 0 || len(b) > MaxLine {
			t.Fatalf("line of %d bytes", len(b))
		}
	}}}
	f.Fuzz(func(now *testing.T, prog []byte) {
		t, c.n = now, 0
		if err := c.attach(); err != nil {
			t.Fatal(err)
		}
		at, n := uint32(0), 0
		for i := 0; i+1 < len(prog) && i < 512; i += 2 {
			arg := int(prog[i+1])
			switch prog[i] % 6 {
			case 0:
				if n := c.Write(text[:arg*16]); n > arg*16 || n > abi.ConsoleOut {
					t.Fatalf("%d of %d bytes taken", n, arg*16)
				}
			case 1:
				line.Page.Store32(abi.ConsoleInCons+uint32(arg&3)*4, uint32(arg)*0x01020304)
			case 2:
				n, _ := c.take(&b)
				c.split(b[:n])
			case 3:
				at := abi.ConsoleInCons + uint32(arg&3)*4
				line.Page.Store32(at, line.Page.Load32(at)+uint32(arg)*8)
			case 4:
				if at, n = c.copy(text[:arg*16]); n > arg*16 || n > abi.ConsoleOut {
					t.Fatalf("%d of %d bytes copied", n, arg*16)
				}
			case 5:
				moved := line.Page.Load32(abi.ConsoleOutProd) != at
				if c.publish(at, n) == moved {
					t.Fatalf("shown: %v, with the index moved: %v", !moved, moved)
				}
			}
		}
	})
}
