package https

import (
	"bufio"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"ampoule/appliances/http/httpd"
)

// TestSilent has many clients that connect and say nothing: they cost no handshake,
// and nobody else a place.
func TestSilent(t *testing.T) {
	r := start(t, func(_ *httpd.Config, c *Config) { c.Connections, c.Handshakes = 2, 6 })
	c, err := r.dialTLS("http/1.1")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	in := bufio.NewReader(c)
	get := func() {
		t.Helper()
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n")
		for line := ""; line != "first"; {
			b := make([]byte, len("first"))
			if line, err = in.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			if line == "\r\n" {
				io.ReadFull(in, b)
				line = string(b)
			}
		}
	}
	get()
	for range 10 * fewestStrangers {
		silent, err := net.Dial("tcp", r.at[":443"])
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
	}
	other, err := r.dialTLS("http/1.1")
	if err != nil {
		t.Errorf("another client: %v", err)
	} else {
		defer other.Close()
	}
	get()
	if n := r.metric(`ampoule_https_handshakes_total{result="refused"}`); n != "0" {
		t.Errorf("%s are refused", n)
	}
}

// open is a connection of a source with the places that l has.
func open(l *listener, source string, made bool) *conn {
	ours, _ := net.Pipe()
	c := &conn{l: l, under: &under{Conn: ours, l: l, source: netip.MustParsePrefix(source)}}
	l.enter(c)
	if made {
		l.settle(c)
	}
	return c
}

// ended says whether a connection had to give way.
func (c *conn) ended() bool {
	return c.under.Conn.SetDeadline(time.Time{}) != nil
}

// TestPlaces has connections give way in their order.
func TestPlaces(t *testing.T) {
	l := &listener{cfg: &Config{Connections: 4, Handshakes: 5}, conns: newPlaces(), strangers: newPlaces()}
	const one, many = "192.0.2.1/32", "192.0.2.2/32"
	first, idle, busy := open(l, one, true), open(l, one, true), open(l, one, true)
	first.note(1)
	busy.note(1)
	crowd := []*conn{open(l, many, true)}
	if crowd = append(crowd, open(l, many, true)); !idle.ended() || first.ended() || busy.ended() {
		t.Error("who was silent for longest stays, or another does not")
	}
	for range 2 {
		crowd = append(crowd, open(l, many, true))
	}
	if !crowd[0].ended() || !crowd[1].ended() || crowd[3].ended() || busy.ended() || first.ended() {
		t.Error("the connections of one source take the places of others")
	}
	shy := open(l, one, false)
	for range 10 * fewestStrangers {
		open(l, many, false)
	}
	if shy.ended() || busy.ended() {
		t.Error("the strangers of one source take the places of others")
	}
	if l.settle(shy); shy.ended() || len(l.conns.conns) != 4 || len(l.strangers.conns) != fewestStrangers-1 {
		t.Errorf("%d connections and %d strangers", len(l.conns.conns), len(l.strangers.conns))
	}
	for c := range l.strangers.conns {
		l.leave(c)
	}
	spoken := open(l, one, false)
	spoken.under.spoke = true
	late := open(l, one, false)
	for range fewestStrangers - 1 {
		open(l, one, false)
	}
	if spoken.ended() || !late.ended() || len(l.strangers.from) != 1 {
		t.Error("who has spoken gives way before who has not")
	}
	var r ration
	now := time.Now()
	got := ""
	for _, s := range []string{many, many, many, many, one, one, one} {
		got += map[bool]string{true: "y", false: "n"}[r.take(netip.MustParsePrefix(s), 5, now)]
	}
	if got != "yyynyyn" || !r.take(netip.MustParsePrefix(many), 5, now.Add(time.Second)) {
		t.Errorf("the ration is %s", got)
	}
}
