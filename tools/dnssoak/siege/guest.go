package siege

import (
	"context"
	"errors"
	"regexp"
	"strconv"
	"sync"
	"time"
)

// Figures are a line of what the guest says of itself (kernel command line
// stats=1): memory, and what became of the frames since its start.
type Figures struct {
	Heap, Sys uint64 // bytes; the heap just after a collection
	Pages     uint64 // free I/O pages
	RX        uint64 // frames received,
	Fast      uint64 // of those, answered by the fast path,
	Shed      uint64 // and dropped by it
	TX        uint64 // frames sent by the stack
	Lost      uint64 // frames that could not be sent
}

// log collects the guest's lines.
type log struct {
	mu    sync.Mutex
	lines []Figures
	bad   []string      // lines that tell of trouble
	news  chan struct{} // capacity 1
}

var (
	figuresLine = regexp.MustCompile(` memory .*\blost=\d+`)
	figure      = regexp.MustCompile(`\b(heap|sys|pages_free|rx|fast|shed|tx|lost)=(\d+)`)
	trouble     = regexp.MustCompile(`^panic:|^fatal error:|^ampoule: | error | made the server panic`)
)

func newLog() *log { return &log{news: make(chan struct{}, 1)} }

// line takes a line of the console.
func (l *log) line(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if trouble.MatchString(s) {
		l.bad = append(l.bad, s)
	}
	f, ok := parseFigures(s)
	if !ok {
		return
	}
	l.lines = append(l.lines, f)
	select {
	case l.news <- struct{}{}:
	default:
	}
}

func parseFigures(s string) (f Figures, ok bool) {
	s = figuresLine.FindString(s)
	into := map[string]*uint64{"heap": &f.Heap, "sys": &f.Sys, "pages_free": &f.Pages, "rx": &f.RX, "fast": &f.Fast,
		"shed": &f.Shed, "tx": &f.TX, "lost": &f.Lost}
	for _, m := range figure.FindAllStringSubmatch(s, -1) {
		n, err := strconv.ParseUint(m[2], 10, 64)
		if err != nil || into[m[1]] == nil {
			return f, false
		}
		*into[m[1]] = n
		delete(into, m[1])
	}
	return f, len(into) == 0
}

// next waits for the next line.
func (l *log) next(ctx context.Context) (Figures, error) {
	l.mu.Lock()
	had := len(l.lines)
	l.mu.Unlock()
	for {
		select {
		case <-l.news:
		case <-ctx.Done():
			return Figures{}, errors.Join(errors.New("the guest says no more of itself"), context.Cause(ctx))
		}
		l.mu.Lock()
		n := len(l.lines)
		f := Figures{}
		if n > had {
			f = l.lines[n-1]
		}
		l.mu.Unlock()
		if n > had {
			return f, nil
		}
	}
}

// rest waits until nothing comes or goes any more: two lines in a row that agree
// about all frames.
func (l *log) rest(ctx context.Context, limit time.Duration) (Figures, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	last, err := l.next(ctx)
	for err == nil {
		var f Figures
		if f, err = l.next(ctx); err != nil {
			break
		}
		if f.RX == last.RX && f.Fast == last.Fast && f.TX == last.TX && f.Shed == last.Shed {
			f.Heap = min(f.Heap, last.Heap)
			return f, nil
		}
		last = f
	}
	return last, err
}

// mark is the number of lines so far.
func (l *log) mark() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.lines)
}

// worst is the most memory that was in use since mark.
func (l *log) worst(mark int) Figures {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := Figures{Pages: ^uint64(0)}
	for _, f := range l.lines[mark:] {
		w.Heap, w.Sys, w.Pages = max(w.Heap, f.Heap), max(w.Sys, f.Sys), min(w.Pages, f.Pages)
	}
	return w
}

// said is the lines that tell of trouble.
func (l *log) said() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.bad...)
}
