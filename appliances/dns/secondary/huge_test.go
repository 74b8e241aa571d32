package secondary

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ampoule/appliances/dns/answer"
	"ampoule/appliances/dns/xfr"
	"ampoule/libos/telemetry"

	"github.com/miekg/dns"
)

// hugePrimary has a zone whose version and content are switched.
type hugePrimary struct {
	t       *testing.T
	version atomic.Int32
	sent    atomic.Int64                 // bytes of transfers
	content map[int32]func(int) []string // of a version: the records of its n-th message, none at the end
}

func (p *hugePrimary) serve(c net.Conn) {
	for {
		q := readQuery(c)
		if q == nil {
			return
		}
		v := p.version.Load()
		send := func(qtype uint16, lines ...string) bool {
			m := message(p.t, qtype, rrs(p.t, lines...)...)
			copy(m, q[:2])
			n, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...))
			p.sent.Add(int64(n))
			return err == nil
		}
		qtype := binary.BigEndian.Uint16(q[12+len(origin):])
		if qtype == typeSOA {
			send(typeSOA, soaLine(int(v)))
			continue
		}
		ok := send(qtype, soaLine(int(v)), ns, a)
		for n := 0; ok; n++ {
			lines := p.content[v](n)
			if len(lines) == 0 {
				break
			}
			ok = send(qtype, lines...)
		}
		if ok {
			send(qtype, soaLine(int(v)))
		}
	}
}

// TestHugeZone: a primary whose zone becomes too large is refused, the log says so,
// and what there was is served on; so is a zone of few records whose ready answers
// would be many times as large, but that one is taken.
func TestHugeZone(t *testing.T) {
	const bound = 1 << 18
	p := &hugePrimary{t: t, content: map[int32]func(int) []string{
		1: func(int) []string { return nil },
		2: func(n int) (lines []string) { // without end
			for i := range 200 {
				lines = append(lines, fmt.Sprintf("n%d-%d.example.org. 60 TXT %s", n, i, strings.Repeat("x", 200)))
			}
			return lines
		},
		3: func(n int) (lines []string) { // aliases to a name with many sets
			for i := 0; n < 5 && i < 200; i++ {
				lines = append(lines, fmt.Sprintf("n%d-%d.example.org. 60 CNAME t.example.org.", n, i))
			}
			for i := 0; n < 5 && i < 100; i++ {
				lines = append(lines, fmt.Sprintf("t.example.org. 60 TYPE%d \\# 100 %s", 1000+100*n+i, strings.Repeat("00", 100)))
			}
			return lines
		},
	}}
	it := testItem(t, Config{ZoneBytes: bound, AllBytes: 1 << 20, Timeout: 5 * time.Second}, p.serve)
	var log bytes.Buffer
	it.s.log = telemetry.New(&log, time.Now, telemetry.Info)
	serial := func() int {
		z, _ := it.s.zones.Zone(origin)
		return int(xfr.ZoneSOA(z).Serial)
	}
	p.version.Store(1)
	if it.update(t.Context()); serial() != 1 {
		t.Fatalf("version %d is served:\n%s", serial(), &log)
	}
	p.version.Store(2)
	p.sent.Store(0)
	if it.update(t.Context()); serial() != 1 {
		t.Errorf("version %d is served", serial())
	}
	if s := log.String(); !strings.Contains(s, "transfer failed zone=example.org.") || !strings.Contains(s, "too large: its records take more than 262144 bytes") {
		t.Errorf("the log says\n%s", s)
	}
	if n := it.s.stats.TooLarge.Load(); n != 1 || p.sent.Load() > 2*bound {
		t.Errorf("%d refused for their size, after %d bytes", n, p.sent.Load())
	}
	p.version.Store(3)
	if it.update(t.Context()); serial() != 3 {
		t.Fatalf("version %d is served:\n%s", serial(), &log)
	}
	if n := it.s.stats.Bytes.Load(); n > 5*bound {
		t.Errorf("a zone of less than %d bytes takes %d", bound, n)
	}
	var q dns.Msg
	q.SetQuestion("n4-199.example.org.", 1499)
	b, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	if m := answerOf(t, it, b); len(m.Answer) != 2 {
		t.Errorf("an answer that is not ready:\n%v", m)
	}
}

// answerOf asks the zones of an item.
func answerOf(t *testing.T, it *item, query []byte) *dns.Msg {
	t.Helper()
	buf := make([]byte, answer.MaxMessage)
	m := new(dns.Msg)
	if err := m.Unpack(buf[:it.s.zones.Answer(buf, query, answer.UDP, answer.Client{})]); err != nil {
		t.Fatal(err)
	}
	return m
}
