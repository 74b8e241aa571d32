package httpd

import (
	"bytes"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ampoule/libos/appliance"
	"ampoule/libos/memory"
	"ampoule/libos/mgmt/plane"
	"ampoule/libos/telemetry"
	"ampoule/libos/telemetry/metrics"
)

// lines is a log that may be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestAccessLog: a line has what is known of a request and its response, whatever the
// request has in it is quoted and cut off, and what cannot be read is logged too.
func TestAccessLog(t *testing.T) {
	out := &lines{}
	cfg := config(t)
	cfg.Log = Log{Access: LogAll, Rate: 100}
	dial := startWith(t, cfg, &appliance.Env{Log: telemetry.New(out, time.Now, telemetry.Info)})
	const host = "Host: example.org\r\n"
	talk(t, dial(), "GET / HTTP/1.1\r\n"+host+"Referer: http://x.example/\r\nUser-Agent: curl/8 \"status=200\xff\r\n\r\n"+
		"GET /none?secret=1 HTTP/1.1\r\n"+host+"\r\n"+
		"GET /"+strings.Repeat("y", 1500)+" HTTP/1.1\r\n"+host+"User-Agent: "+strings.Repeat("z", 1500)+"\r\n\r\n"+
		"nonsense\r\n\r\n")
	got := out.String()
	for _, want := range []string{
		`(?m) info request from=10\.0\.2\.2 status=200 bytes=5 method=GET site=example\.org path=/ referer=http://x\.example/ agent="curl/8 \\"status=200\\xff"$`,
		`(?m) info request from=10\.0\.2\.2 status=404 bytes=\d+ method=GET site=example\.org path=/none$`,
		`(?m) path=/y{255}\.\.\. agent=z{128}\.\.\.$`,
		`(?m) info request from=10\.0\.2\.2 status=400 bytes=\d+$`,
	} {
		if !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("no line is %s:\n%s", want, got)
		}
	}
	if strings.Contains(got, "secret") || strings.Count(got, "\n") != 4 {
		t.Errorf("%s", got)
	}
}

// TestAccessBounds: errors alone, one of so many, and no more lines in a second than
// allowed, with the number of those left out.
func TestAccessBounds(t *testing.T) {
	out := &lines{}
	log := telemetry.New(out, time.Now, telemetry.Info)
	count := func(a *access, status, n int, tick int64) (logged int) {
		for range n {
			if a.wants(status, tick) {
				logged++
			}
		}
		return logged
	}
	errorsOnly := newAccess(Log{Access: LogErrors, Rate: 5, Sample: 7}, log)
	if count(errorsOnly, 200, 10, 1) != 0 || count(errorsOnly, 404, 20, 1) != 5 || errorsOnly.leftOut() != 15 || out.String() != "" {
		t.Errorf("errors: %d left out, %q", errorsOnly.leftOut(), out)
	}
	if count(errorsOnly, 404, 1, 2) != 1 || !strings.Contains(out.String(), "warn access log: lines left out lines=15 rate=5\n") {
		t.Errorf("the next second: %q", out)
	}
	if n := count(newAccess(Log{Access: LogAll, Rate: 100, Sample: 7}, log), 200, 70, 1); n != 10 {
		t.Errorf("%d of 70 logged, one of 7", n)
	}
	if newAccess(Log{Rate: 1}, log) != nil {
		t.Error("there is a log that nobody asked for")
	}
}

// managed is a management plane that keeps what is to be collected.
type managed struct {
	plane.Plane
	collect metrics.Collector
}

func (m *managed) Collect(c metrics.Collector) { m.collect = c }

// TestMetrics: responses are counted by site, status and coding, and nothing that a
// client sends becomes a label.
func TestMetrics(t *testing.T) {
	m := &managed{}
	cfg := config(t)
	cfg.Names, cfg.Read, cfg.Idle = []string{"example.org"}, time.Second, time.Second
	dial := startWith(t, cfg, &appliance.Env{Management: m})
	const host = "Host: example.org\r\n"
	talk(t, dial(), strings.Repeat("GET / HTTP/1.1\r\n"+host+"\r\n", 3)+"GET /none HTTP/1.1\r\n"+host+"\r\nGET / HTTP/1.1\r\nHost: other.example\r\n\r\nnonsense\r\n\r\n")
	idle, begun := dial(), dial()
	io.WriteString(begun, "GET / HT")
	for _, c := range []net.Conn{idle, begun} {
		io.ReadAll(c)
		c.Close()
	}
	var w metrics.Writer
	m.collect(&w)
	got := string(w.Bytes())
	for _, want := range []string{
		`ampoule_http_responses_total{host="example.org",code="200",encoding="identity"} 4`,
		`ampoule_http_responses_total{host="example.org",code="404",encoding="identity"} 1`,
		`ampoule_http_responses_total{host="",code="400",encoding="identity"} 1`,
		`ampoule_http_responses_total{host="",code="408",encoding="identity"} 1`,
		`ampoule_http_connections_total 3`,
		`ampoule_http_timeouts_total{phase="idle"} 1`, `ampoule_http_timeouts_total{phase="read"} 1`, `ampoule_http_timeouts_total{phase="write"} 0`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
	if strings.Contains(got, "other.example") {
		t.Errorf("a client's name is a label:\n%s", got)
	}
}

// TestShed: while memory is short connections are reset, and those that have not taken
// anything for longest are ended, secure ones among them, by one collection; others only
// where anybody may be. Each is ended once.
func TestShed(t *testing.T) {
	newServer := func() *server {
		s := &server{Config: config(t), conns: map[net.Conn]*conn{}, counts: newCounts(1), log: telemetry.New(io.Discard, time.Now, telemetry.Debug)}
		s.clock.now = time.Now
		s.clock.ticks.Store(60)
		return s
	}
	s := newServer()
	s.secure = newServer()
	free, collections := uint64(600_000), 0 // of 8 MiB, an eighth of which is to be left
	s.memory = memory.New(memory.Machine{Room: func() (uint64, uint64) { return free, 8 << 20 }, Collect: func() { collections++ }}, s, s.log)
	s.secure.memory = s.memory
	ends, secure := make([]*end, 100), make([]*end, 100)
	for i := range ends {
		ends[i] = &end{}
		c := &conn{wire: ends[i], s: s}
		c.stalled.Store(int64(i % 50)) // two of each, 0 is none
		c.due.Store(int64(60 + i))
		s.conns[ends[i]] = c
		secure[i] = &end{stalled: i%2 == 1, since: time.Duration(60-i%50)*time.Second + time.Millisecond}
		s.secure.conns[secureEnd{secure[i]}] = nil
	}
	// gone says how many are gone of each kind that has stalled for so many ticks.
	gone := func(all []*end, after func(i int) bool) (n int) {
		for i, e := range all {
			if e.aborted > 1 {
				t.Errorf("number %d is ended %d times", i, e.aborted)
			}
			if e.aborted > 0 && after(i) {
				n++
			}
		}
		return n
	}
	every := func(int) bool { return true }
	s.memory.Look() // seven: secure 1, 1, plain 1, 1, 2, 2, secure 3
	if a, b := gone(ends, every), gone(secure, every); a+b != 7 || b != 3 || collections != 1 {
		t.Errorf("%d plain ones are ended and %d secure ones, by %d collections; want 4, 3, 1", a, b, collections)
	}
	if n := gone(ends, func(i int) bool { return i%50 == 0 || i%50 > 2 }) + gone(secure, func(i int) bool { return i%50 != 1 && i%50 != 3 }); n > 0 {
		t.Errorf("%d are ended before others that have stalled for longer", n)
	}
	for _, t2 := range []*server{s, s.secure} {
		if t2.admit(&end{}, &conn{}) {
			t.Error("one more is taken")
		}
	}
	if n := s.Shed(1000, false); n != 98+50-7 || s.Shed(1000, false) != 0 {
		t.Errorf("%d more are ended", n)
	}
	if n := gone(ends, func(i int) bool { return i%50 == 0 }) + gone(secure, func(i int) bool { return i%2 == 0 }); n > 0 {
		t.Errorf("%d that do not stall are ended", n)
	}
	if n := s.Shed(1, true); n != 1 || secure[0].aborted+secure[50].aborted != 1 {
		t.Error("who has been silent for longest is not the first of those that do not stall")
	}
	free = 4 << 20
	if s.memory.Look(); !s.admit(&end{}, &conn{}) {
		t.Error("with memory again no connection is taken")
	}
}

// parting is a connection that needs memory for its goodbye, as TLS does.
type parting struct {
	secureEnd
	s *server
}

func (p parting) Close() error { p.s.memory.Gate(); return nil }

// TestCloseShort: a server ends while there is no memory for its goodbyes.
func TestCloseShort(t *testing.T) {
	s := &server{Config: config(t), conns: map[net.Conn]*conn{}, listener: make(queue), log: telemetry.New(io.Discard, time.Now, telemetry.Debug)}
	e := &end{}
	s.memory = memory.New(memory.Machine{Room: func() (uint64, uint64) { return 0, 8 << 20 }, Collect: func() {}}, s, s.log)
	s.conns[parting{secureEnd{e}, s}] = nil
	done := make(chan struct{})
	go func() { s.close(); close(done) }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("it does not end")
	}
	if e.aborted != 1 {
		t.Errorf("nobody looked for memory: the connection was ended %d times", e.aborted)
	}
}

// TestMakeRoom: with as many connections as there may be, who stalls or is silent for
// longest makes room for others, but nobody who was served or has come just now.
func TestMakeRoom(t *testing.T) {
	s := &server{Config: config(t), conns: map[net.Conn]*conn{}, counts: newCounts(1), log: telemetry.New(io.Discard, time.Now, telemetry.Debug), most: 32}
	s.secure = &server{Config: s.Config, conns: map[net.Conn]*conn{}}
	s.memory = memory.New(memory.Machine{Room: func() (uint64, uint64) { return 4 << 20, 8 << 20 }, Collect: func() {}}, s, s.log)
	s.clock.now = time.Now
	s.clock.ticks.Store(1000)
	enter := func(t *server, stalled, silent int64) *end {
		e := &end{stalled: stalled > 0, since: time.Duration(max(stalled, silent)) * time.Second}
		c := &conn{wire: e, s: s}
		if stalled > 0 {
			c.stalled.Store(1000 - stalled)
		}
		c.due.Store(1000 - silent + int64(s.Idle/interval))
		if t == s.secure {
			t.conns[secureEnd{e}] = nil
		} else {
			t.conns[e] = c
		}
		return e
	}
	var ends []*end
	for i := range int64(8) { // the first two are the first to go, then 8 and 9
		ends = append(ends, enter(s, 20-i, 0))
	}
	for i := range int64(8) {
		ends = append(ends, enter(s.secure, 0, 60-i))
	}
	for range 15 {
		ends = append(ends, enter(s, 0, 1))
	}
	gone := func() (all []int) {
		for i, e := range ends {
			if e.aborted > 0 {
				all = append(all, i)
			}
		}
		return all
	}
	one := func() {
		t.Helper()
		e := &end{}
		c := &conn{wire: e, s: s}
		c.due.Store(s.clock.after(s.Idle))
		if !s.admit(e, c) {
			t.Fatal("one more is not taken")
		}
	}
	one()
	if n := gone(); len(n) != 0 {
		t.Errorf("there is room, and %v made it", n)
	}
	one() // a sixteenth of 32
	if n := gone(); !slices.Equal(n, []int{0, 1}) {
		t.Errorf("%v made room, not those that stalled for longest", n)
	}
	for range 2 * 6 {
		one()
	}
	if n := gone(); len(n) != 2*7 || n[13] != 13 {
		t.Errorf("%v made room", n)
	}
	for range 10 { // whatever comes now, others are not ended for it
		one()
	}
	if n := gone(); len(n) != 16 || n[15] != 15 || s.vain != 1000 {
		t.Errorf("%v made room, in vain at %d", n, s.vain)
	}
	if s.clock.ticks.Store(1002); s.vain == 1002 {
		t.Fatal("the clock stands")
	}
	one()
	if n := gone(); len(n) != 18 {
		t.Errorf("two seconds later %v made room", n)
	}
}

// end is a connection of which nothing is known but its end.
type end struct {
	wire
	aborted int
	stalled bool
	since   time.Duration
}

func (e *end) Abort()       { e.aborted++ }
func (e *end) Close() error { return nil }

// secureEnd is the same with TLS.
type secureEnd struct{ *end }

func (e secureEnd) Begin() (func(Handler), error) { return nil, nil }
func (e secureEnd) Serves([]byte) bool            { return true }
func (e secureEnd) Waits() (bool, time.Duration)  { return e.stalled, e.since }
