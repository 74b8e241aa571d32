package httpd

import (
	"bytes"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"ampoule/libos/appliance"
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
// a response for longest are ended.
func TestShed(t *testing.T) {
	s := &server{Config: config(t), conns: map[net.Conn]*conn{}, counts: newCounts(1)}
	s.clock.now = time.Now
	s.clock.advance()
	short := uint64(100)
	s.memory = memory{limit: 1000, read: func() uint64 { return short * 9 }}
	ends := make([]*end, 100)
	for i := range ends {
		ends[i] = &end{}
		c := &conn{wire: ends[i], s: s}
		c.stalled.Store(int64(i % 50)) // two of each, 0 is none
		s.conns[ends[i]] = c
	}
	s.relieve(1)
	gone := 0
	for i, e := range ends {
		if e.aborted {
			if gone++; i%50 == 0 || i%50 > 7 {
				t.Errorf("number %d is ended", i)
			}
		}
	}
	if gone != 13 || s.admit(&end{}, &conn{}) {
		t.Errorf("%d are ended of 98 that are stalled; or one more is taken", gone)
	}
	short = 10
	if s.relieve(2); !s.admit(&end{}, &conn{}) {
		t.Error("with memory again no connection is taken")
	}
}

// end is a connection of which nothing is known but its end.
type end struct {
	wire
	aborted bool
}

func (e *end) Abort()       { e.aborted = true }
func (e *end) Close() error { return nil }
