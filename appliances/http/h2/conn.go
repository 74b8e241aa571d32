package h2

import (
	"bytes"
	"errors"
	"net"
	"sync"
	"time"

	"ampoule/appliances/http/httpd"

	"golang.org/x/net/http2/hpack"
)

// conn is a connection. One goroutine reads and answers (serve); one writes, which is
// the same as long as there is little to write.
type conn struct {
	s       *server
	c       net.Conn
	handler httpd.Handler

	// Of the goroutine that reads.
	in      input
	decoder *hpack.Decoder
	told    bool // noTable was
	head    head
	greeted bool   // the client's first SETTINGS have come
	last    uint32 // the highest stream that was opened
	budget  int    // see charge
	earned  uint64 // of sent, for which budget was increased
	count   int    // frames that were taken
	waits   patience

	mu       sync.Mutex // guards what follows
	room     sync.Cond  // there may be less in out
	writing  bool       // a goroutine writes
	received int        // octets of DATA that the window was not opened for again
	dropped  recent     // streams that were reset here
	broken   bool       // nothing can be written any more
	leaving  bool       // the client has said GOAWAY
	out      []byte     // frames to be sent before any of DATA
	streams  map[uint32]*stream
	ready    []*stream // that have something to send and a window for it, by turns
	pending  int       // responses that are not sent
	sent     uint64    // octets of DATA, and a little for each response
	window   int64     // of the connection
	first    int64     // window of a new stream
	largest  int       // payload of a frame that the client takes
}

func newConn(s *server, c net.Conn, h httpd.Handler) *conn {
	x := &conn{s: s, c: c, handler: h, budget: mostBudget, streams: map[uint32]*stream{},
		window: firstWindow, first: firstWindow, largest: maxFrame}
	x.room.L = &x.mu
	x.decoder = hpack.NewDecoder(tableSize, x.emit)
	x.decoder.SetMaxStringLength(stringSize)
	return x
}

// serve is the goroutine that reads.
func (x *conn) serve() {
	err := x.begin()
	for err == nil {
		err = x.frames()
		if err == nil {
			x.flush()
			err = x.wait()
		}
	}
	x.end(err)
}

// begin reads the preface and says our settings (section 3.4).
func (x *conn) begin() error {
	b := appendSetting(nil, settingStreams, mostStreams)
	b = appendSetting(b, settingWindow, bodyWindow)
	b = appendSetting(b, settingListSize, headSize)
	b = appendSetting(b, settingNoPriorities, 1)
	x.out = append(appendHeader(x.out, frameSettings, 0, 0, len(b)), b...)
	x.flush()
	x.c.SetReadDeadline(time.Now().Add(x.s.read))
	for len(x.in.b) < len(preface) {
		if !bytes.HasPrefix([]byte(preface), x.in.b) {
			return connError{protocolError, "no preface"}
		}
		if err := x.in.fill(x.c); err != nil {
			return err
		}
	}
	if !bytes.HasPrefix(x.in.b, []byte(preface)) {
		return connError{protocolError, "no preface"}
	}
	x.in.done = len(preface)
	return nil
}

// frames takes all frames that are there.
func (x *conn) frames() error {
	for {
		f, ok, err := x.in.next()
		if err != nil || !ok {
			return err
		}
		x.count++
		if err = x.take(&f); err != nil {
			var se streamError
			if !errors.As(err, &se) {
				return err
			}
			if err = x.reset(se); err != nil {
				return err
			}
		}
		if err = x.hold(); err != nil {
			return err
		}
	}
}

// wait reads more, as long as the state of the connection lets it wait.
func (x *conn) wait() error {
	for {
		limit, err := x.limit(time.Now())
		if err != nil {
			return err
		}
		x.c.SetReadDeadline(limit)
		if x.over() { // since before, so that abandon's deadline was overwritten
			return errOver
		}
		if err = x.in.fill(x.c); err == nil || !late(err) {
			return err
		}
		// What was sent meanwhile may have moved the limit.
	}
}

// late says whether an error is that of a deadline.
func late(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

// over says that nothing can be written any more.
func (x *conn) over() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.broken
}

// patience is since when a connection waits.
type patience struct {
	since  time.Time // something was achieved
	sent   uint64    // conn.sent then
	busy   bool      // there were responses under way
	part   time.Time // there is a part of something; zero: there is none
	frames int       // conn.count then
}

// limit is until when the connection may wait: for a request, for the client to take
// 32 KiB of responses, or for the rest of what has begun. What is no achievement does
// not move it. An error says that it is over.
func (x *conn) limit(now time.Time) (time.Time, error) {
	x.mu.Lock()
	busy, sent := x.pending > 0, x.sent
	over := x.broken || x.leaving && len(x.streams) == 0 && !x.writing
	x.mu.Unlock()
	if over {
		return now, errOver
	}
	p := &x.waits
	x.budget = min(x.budget+int((sent-x.earned)/earning), mostBudget)
	x.earned += (sent - x.earned) / earning * earning
	if busy != p.busy || sent-p.sent >= progress || !busy && sent != p.sent || p.since.IsZero() {
		p.since, p.sent, p.busy = now, sent, busy
	}
	limit := p.since.Add(x.s.idle)
	if busy {
		limit = p.since.Add(x.s.write)
	}
	switch {
	case !x.in.partial() && !x.head.open:
		p.part = time.Time{}
	case p.part.IsZero() || x.count != p.frames && !x.head.open:
		p.part = now
	}
	p.frames = x.count
	if rest := p.part.Add(x.s.read); !p.part.IsZero() && rest.Before(limit) {
		limit = rest
	}
	if !now.Before(limit) {
		return now, errLate
	}
	return limit, nil
}

var (
	errOver = errors.New("h2: the connection is over")
	errLate = connError{noError, "the client took too long"}
)

// end says goodbye, if err is not the client's, and takes a little more, so that it
// is heard.
func (x *conn) end(err error) {
	var ce connError
	if !errors.As(err, &ce) {
		x.fail()
		return
	}
	x.goodbye(ce.code)
	if w, ok := x.c.(interface{ CloseWrite() error }); ok {
		w.CloseWrite()
	}
	x.c.SetReadDeadline(time.Now().Add(lingerTime))
	for left := lingerSize; left > 0; {
		x.in.done = len(x.in.b)
		if x.in.fill(x.c) != nil {
			break
		}
		left -= len(x.in.b)
	}
	x.fail()
}

// goodbye says GOAWAY behind what waits, without any of DATA.
func (x *conn) goodbye(c code) {
	x.mu.Lock()
	defer x.mu.Unlock()
	b := appendHeader(x.out, frameGoAway, 0, 0, 8)
	b = append(b, byte(x.last>>24), byte(x.last>>16), byte(x.last>>8), byte(x.last))
	x.out = append(b, byte(c>>24), byte(c>>16), byte(c>>8), byte(c))
	x.drop()
	for (x.writing || len(x.out) > 0) && !x.broken {
		if x.writing {
			x.room.Wait() // another goroutine writes it
			continue
		}
		x.writing = true
		x.step()
		x.writing = false
	}
}

// drop forgets all streams; x.mu is held.
func (x *conn) drop() {
	x.ready, x.pending = nil, 0
	clear(x.streams)
}

// fail has nothing written any more.
func (x *conn) fail() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.broken, x.out = true, nil
	x.drop()
	x.room.Broadcast()
}

// mostBudget is what a client may do in vain at a time, earning the octets sent that
// give it back one.
const (
	mostBudget = 1000
	earning    = 512
)

// charge takes something from what a client may do without getting anything: frames
// that only ask for an acknowledgement or change something, streams that are reset
// before they are answered (CVE-2023-44487), whoever resets them (CVE-2025-8671).
// Responses earn it back. A browser that loads pages and turns from them costs less.
func (x *conn) charge(n int) error {
	if x.budget -= n; x.budget < 0 {
		return connError{enhanceYourCalm, "too much in vain"}
	}
	return nil
}
