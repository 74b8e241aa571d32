package https

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"ampoule/appliances/http/httpd"
	"ampoule/libos/memory"
)

// halting is a connection that has something to read at any time, and of which a Write
// waits.
type halting struct {
	net.Conn
	entered, leave chan struct{}
}

func (h *halting) Read(b []byte) (int, error) { return 1, nil }
func (h *halting) Close() error               { return nil }
func (h *halting) Write(b []byte) (int, error) {
	h.entered <- struct{}{}
	<-h.leave
	return len(b), nil
}

// TestBusy: who waits for a client keeps no other from its work, whether it was busy
// before the write began or reads while it is under way.
func TestBusy(t *testing.T) {
	l := &listener{memory: memory.New(memory.Here(), nil, nil), work: make(chan struct{}, 1)}
	h := &halting{entered: make(chan struct{}), leave: make(chan struct{})}
	u := &under{Conn: h, l: l, heard: true}
	b := make([]byte, 1)
	for _, before := range []bool{true, false} {
		if before {
			if u.Read(b); len(l.work) != 1 {
				t.Error("with something to do it is not busy")
			}
		}
		done := make(chan struct{})
		go func() { u.Write(b); close(done) }()
		<-h.entered
		if len(l.work) != 0 {
			t.Errorf("busy before %t: it is when it waits for the client", before)
		}
		if u.Read(b); len(l.work) != 0 {
			t.Errorf("busy before %t: it is with what it reads while it waits", before)
		}
		h.leave <- struct{}{}
		<-done
	}
	u.Read(b)
	if u.Close(); len(l.work) != 0 {
		t.Error("busy when it was closed")
	}
}

// frame is one of HTTP/2 (RFC 9113, section 4.1).
func frame(kind, flags byte, stream uint32, payload string) string {
	head := append([]byte{0, 0, byte(len(payload)), kind, flags}, binary.BigEndian.AppendUint32(nil, stream)...)
	return string(head) + payload
}

// asks are HEADERS that ask for a large file, count of them. A method is given as in a block.
func asks(method string, first uint32, count int) string {
	var b strings.Builder
	for i := range uint32(count) {
		b.WriteString(frame(1, 5, first+2*i, method+"\x87\x04\x06/large\x01\x0bexample.org"))
	}
	return b.String()
}

// TestDeafMany: clients of HTTP/2 that ask for much, take nothing, and then make a mistake,
// or ask for more heads than may wait, as many as may be busy, keep no other from being
// served.
func TestDeafMany(t *testing.T) {
	begin := "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, "\x00\x04\x7f\xff\xff\xff") + frame(8, 0, 0, "\x40\x00\x00\x00") + asks("\x82", 1, 90)
	for what, then := range map[string]string{"mistake": frame(6, 0, 0, "a ping"), "heads": asks("\x02\x04HEAD", 181, 400)} {
		r := start(t, func(c *httpd.Config, _ *Config) { c.Idle, c.Read, c.Write = time.Minute, time.Minute, time.Minute })
		var deaf []*tls.Conn
		for range maxBusy {
			c, err := r.dialTLS("h2")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.NetConn().Close() })
			c.NetConn().(*net.TCPConn).SetReadBuffer(64 << 10)
			c.SetWriteDeadline(time.Now().Add(20 * time.Second))
			deaf = append(deaf, c)
		}
		for _, text := range []string{begin, then} {
			for _, c := range deaf {
				if _, err := io.WriteString(c, text); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(500 * time.Millisecond) // until the buffers are full, or it has waited for them
		}
		if _, body := ask(t, r.client(true), "GET", "https://example.org/"); body != "first" {
			t.Errorf("%s: the answer is %q", what, body)
		}
	}
}
