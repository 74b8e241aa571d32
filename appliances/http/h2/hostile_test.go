package h2

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"ampoule/appliances/http/httpd"

	"golang.org/x/net/http2"
)

// floods are what a client may do over and over without getting anything.
var floods = map[string]func(p *peer, i int){
	"ping":     func(p *peer, i int) { p.WritePing(false, [8]byte{byte(i)}) },
	"ping ack": func(p *peer, i int) { p.WritePing(true, [8]byte{byte(i)}) },
	"settings": func(p *peer, i int) { p.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 16384}) },
	"table":    func(p *peer, i int) { p.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: uint32(i)}) },
	"priority": func(p *peer, i int) { p.WritePriority(1, http2.PriorityParam{StreamDep: 3}) },
	"unknown":  func(p *peer, i int) { p.WriteRawFrame(0xbe, 0, 0, []byte("x")) },
	"window":   func(p *peer, i int) { p.WriteWindowUpdate(0, 1) },
	"leaving":  func(p *peer, i int) { p.WriteGoAway(0, http2.ErrCodeNo, nil) },
	"no data":  func(p *peer, i int) { p.WriteData(3, false, nil) },
	"mistake":  func(p *peer, i int) { p.get("/", "Bad", "") },
	"dribble":  func(p *peer, i int) { p.WriteWindowUpdate(1, 1) },
	"refused":  func(p *peer, i int) { p.get("/large") },
	"headless": func(p *peer, i int) {
		p.WriteRSTStream(p.get("/"), http2.ErrCodeCancel)
		p.WriteData(p.next-2, false, nil)
	},
	"reset":         func(p *peer, i int) { p.WriteRSTStream(p.get("/large"), http2.ErrCodeCancel) },
	"make it reset": func(p *peer, i int) { p.WriteWindowUpdate(p.get("/large"), 0) },
}

// TestFloods ends connections whose clients only make work. What they send does not
// exceed what is taken behind the GOAWAY: who sends more may find a reset instead.
func TestFloods(t *testing.T) {
	for name, send := range floods {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := connect(t, config(), http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
			p.get("/large")
			p.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: p.head(":method", "POST", ":scheme", "https", ":authority", "example.org", ":path", "/large"), EndHeaders: true})
			p.next = 5
			go func() {
				for i := range mostBudget + 50 {
					send(p, i)
				}
			}()
			began := time.Now()
			code, err := p.goAway()
			if code != http2.ErrCodeEnhanceYourCalm || err != nil {
				t.Errorf("%v, %v after %v", code, err, time.Since(began))
			}
		})
	}
}

// TestFloodWithoutEnd ends the connection of a client that heeds no GOAWAY.
func TestFloodWithoutEnd(t *testing.T) {
	p := connect(t, config())
	go io.Copy(io.Discard, p.conn)
	for p.WritePing(false, [8]byte{}) == nil {
	}
	select {
	case <-p.ended:
	case <-time.After(20 * time.Second):
		t.Error("the connection goes on")
	}
}

// TestHeads sends heads that are too long or come in too many parts (CVE-2024-27316),
// and one whose fields are much longer than their block (a bomb of HPACK).
func TestHeads(t *testing.T) {
	start := func(p *peer) {
		p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.head(":method", "GET"), EndStream: true})
	}
	p := connect(t, config())
	start(p)
	go func(p *peer) {
		for range 1000 {
			p.WriteContinuation(1, false, nil)
		}
	}(p)
	if code, err := p.goAway(); code != http2.ErrCodeEnhanceYourCalm || err != nil {
		t.Errorf("empty parts: %v, %v", code, err)
	}
	p = connect(t, config())
	start(p)
	go func(p *peer) {
		for i := range 20 {
			p.WriteContinuation(1, false, p.head(fmt.Sprintf("x-%d", i), strings.Repeat("\x01", 4000)))
		}
	}(p)
	if code, err := p.goAway(); code != http2.ErrCodeEnhanceYourCalm || err != nil {
		t.Errorf("long parts: %v, %v", code, err)
	}
	p = connect(t, config())
	// One field of 4000 octets in the table, which the next head names 16,000 times.
	p.response(p.get("/", "x", strings.Repeat("y", 4000)))
	block := append(p.head(":method", "GET", ":scheme", "https", ":authority", "example.org", ":path", "/"), bytes.Repeat([]byte{0x80 | 62}, 16000)...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	p.WriteHeaders(http2.HeadersFrameParam{StreamID: p.next, BlockFragment: block, EndStream: true, EndHeaders: true})
	status, _, _ := p.response(p.next)
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; status != "431" || used > 4<<20 { // with 64 MB it would have worked
		t.Errorf("a bomb: %s, with %d octets of memory", status, used)
	}
	p.next += 2
	if status, _, _ := p.response(p.get("/")); status != "200" {
		t.Errorf("behind it: %s", status)
	}
}

// TestTimes ends connections in time: idle ones, whatever else they send, those that
// do not go on, and those that take nothing.
func TestTimes(t *testing.T) {
	for name, c := range map[string]struct {
		send func(p *peer)
		want string
	}{
		"idle": {func(p *peer) { p.response(p.get("/")) }, "idle"},
		"idle with pings": {func(p *peer) {
			go func() {
				for range 100 {
					p.WritePing(false, [8]byte{})
					time.Sleep(100 * time.Millisecond)
				}
			}()
		}, "idle"},
		"half a head": {func(p *peer) {
			p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.head(":method", "GET")})
		}, "read"},
		"half a frame": {func(p *peer) { p.conn.Write([]byte{0, 0, 8, 6, 0}) }, "read"},
		"no window":    {func(p *peer) { p.get("/large") }, "write"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := &httpd.Config{Idle: 20 * time.Second, Read: 20 * time.Second, Write: 20 * time.Second}
			*map[string]*time.Duration{"idle": &cfg.Idle, "read": &cfg.Read, "write": &cfg.Write}[c.want] = time.Second
			p := connect(t, cfg, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 100})
			began := time.Now()
			c.send(p)
			code, err := p.goAway()
			if took := time.Since(began); code != http2.ErrCodeNo || err != nil || took < 900*time.Millisecond || took > 10*time.Second {
				t.Errorf("%v, %v after %v", code, err, took)
			}
		})
	}
}

// TestDeaf ends a connection whose client does not read, and waits with it meanwhile:
// what waits to be written is bounded.
func TestDeaf(t *testing.T) {
	cfg := &httpd.Config{Idle: time.Minute, Read: time.Minute, Write: time.Second}
	p := connect(t, cfg)
	// With less than a segment Linux drops what comes, and with it what it acknowledges.
	p.conn.(*net.TCPConn).SetReadBuffer(64 << 10)
	p.WriteWindowUpdate(0, 1<<30)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	asked := 0
	for began := time.Now(); time.Since(began) < 20*time.Second; asked++ {
		p.conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
		id := p.next
		p.next += 2
		err := p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.head(":method", "HEAD", ":scheme", "https", ":authority", "example.org", ":path", "/"), EndStream: true, EndHeaders: true})
		if err != nil {
			break
		}
	}
	select {
	case <-p.ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the connection does not end")
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 1<<20 {
		t.Errorf("%d requests made the heap grow by %d octets", asked, grown)
	}
	t.Logf("%d requests", asked)
}

// TestGone has clients that go away at any time.
func TestGone(t *testing.T) {
	for n := range 30 {
		p := connect(t, config())
		p.WriteWindowUpdate(0, 1<<30)
		for range n {
			p.get("/large")
		}
		p.conn.Close()
		select {
		case <-p.ended:
		case <-time.After(10 * time.Second):
			t.Fatal("the connection does not end")
		}
	}
}

// TestShrunk makes a stream's window negative while the stream is in line for the
// connection's: nothing may be sent of it until its own is open again.
func TestShrunk(t *testing.T) {
	p := connect(t, config(), http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	id, got := p.get("/large"), ""
	if err := p.until(func(f http2.Frame) bool {
		if d, ok := f.(*http2.DataFrame); ok {
			got += string(d.Data())
		}
		return len(got) == firstWindow
	}); err != nil {
		t.Fatalf("with %d octets: %v", len(got), err)
	}
	p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	p.WriteWindowUpdate(0, 1)
	p.WritePing(false, [8]byte{1})
	if err := p.until(func(f http2.Frame) bool {
		if _, ok := f.(*http2.DataFrame); ok {
			t.Errorf("%v with no window", f)
		}
		ping, ok := f.(*http2.PingFrame)
		return ok && ping.IsAck()
	}); err != nil {
		t.Fatal(err)
	}
	p.WriteWindowUpdate(0, 1<<20)
	p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	if _, rest, code := p.response(id); got+rest != large || code != http2.ErrCodeNo {
		t.Errorf("%d octets more, %v", len(rest), code)
	}
}

// faulty panics when it has been written to some times.
type faulty struct {
	net.Conn
	left int
}

func (f *faulty) Write(b []byte) (int, error) {
	if f.left--; f.left < 0 {
		panic("a fault")
	}
	return f.Conn.Write(b)
}

// TestFault ends a connection whose writing panics, whichever goroutine writes.
func TestFault(t *testing.T) {
	for n := range 6 {
		ours, theirs := net.Pipe()
		spawn := func(f func()) {
			go func() {
				defer func() { recover() }()
				f()
			}()
		}
		p := connect(t, config())
		serve := Protocol{}.Open(config(), spawn)
		ended := make(chan struct{})
		spawn(func() {
			defer close(ended)
			defer theirs.Close() // as its owner does
			serve(&faulty{theirs, n}, p.h)
		})
		go io.Copy(io.Discard, ours)
		io.WriteString(ours, http2.ClientPreface)
		f := http2.NewFramer(ours, nil)
		f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
		f.WriteWindowUpdate(0, 1<<20)
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.head(":method", "GET", ":scheme", "https", ":authority", "example.org", ":path", "/large"), EndStream: true, EndHeaders: true})
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Errorf("after %d writes: the connection does not end", n)
		}
		ours.Close()
	}
}

// TestScratch: nothing of a request is there for the next one that uses its memory.
func TestScratch(t *testing.T) {
	s := new(server)
	w := s.takeScratch()
	for range 100 { // with the race detector a pool forgets some
		w.request.Begin([]byte("HEAD"), slash)
		s.giveScratch(w)
		if w = s.takeScratch(); len(w.request.Method) != 0 || len(w.request.Path) != 0 {
			t.Fatalf("%s %s is still there", w.request.Method, w.request.Path)
		}
	}
}

// breaking is a connection that can't be written to any more while a deadline is set.
type breaking struct {
	net.Conn
	at time.Time
	do func()
}

func (b *breaking) SetReadDeadline(t time.Time) error {
	if do := b.do; do != nil {
		b.do = nil
		do()
	}
	b.at = t
	return nil
}

func (b *breaking) Read([]byte) (int, error) {
	time.Sleep(min(time.Until(b.at), 5*time.Second))
	return 0, os.ErrDeadlineExceeded
}

// TestBroken: who reads hears of a connection that broke, whenever that was.
func TestBroken(t *testing.T) {
	b := &breaking{}
	x := newConn(&server{idle: time.Minute, read: time.Minute, write: time.Minute}, b, nil)
	b.do = func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.abandon()
	}
	began := time.Now()
	if err := x.wait(); err != errOver || time.Since(began) > 4*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}
