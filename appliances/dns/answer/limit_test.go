package answer

import (
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"time"

	"ampoule/libos/config/zone/answers"
)

// testClock is a time that a test moves.
type testClock struct{ t time.Time }

func (c *testClock) now() time.Time { return c.t }

// ticks is the time as the limiter wants it.
func (c *testClock) ticks() uint32 {
	k := clock{now: c.now, start: time.Unix(1_900_000_000, 0)}
	return k.moment().ticks
}

// TestMoment checks the units of time, across seconds and steps of the wall clock.
func TestMoment(t *testing.T) {
	wall := time.Unix(1_900_000_000, 900_000_000)
	c := testClock{wall}
	k := newClock(c.now)
	m := k.moment()
	for _, try := range []struct {
		after          time.Duration
		ticks, seconds uint32
	}{
		{0, 0, 1_900_000_000}, {99 * time.Millisecond, 1622, 1_900_000_000}, {100 * time.Millisecond, 1638, 1_900_000_001},
		{time.Second, tick, 1_900_000_001}, {1100 * time.Millisecond, 18022, 1_900_000_002},
		{100 * time.Hour, 360_000 * tick % (1 << 32), 1_900_360_000},
	} {
		c.t = wall.Add(try.after)
		k.read(&m)
		if fresh := k.moment(); m.ticks != try.ticks || m.seconds != try.seconds || fresh != m {
			t.Errorf("after %v: %+v, fresh %+v, want %d ticks, %d s", try.after, m, fresh, try.ticks, try.seconds)
		}
	}
	machine := newClock(nil)
	before, got, after := time.Now().Unix(), int64(machine.moment().seconds), time.Now().Unix()
	if got < before-1 || got > after {
		t.Errorf("the machine's clock says %d between %d and %d", got, before, after)
	}
}

func limited(t testing.TB, l Limit, c *testClock) *limiter {
	t.Helper()
	m, err := newLimiter(l, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.t = time.Unix(1_900_000_000, 0)
	return m
}

// passed asks n times within a second and counts what becomes of the answers.
func passed(m *limiter, c *testClock, from string, kind answers.Kind, n int) (counts [3]int) {
	client := NewClient(netip.MustParseAddr(from))
	for range n {
		c.t = c.t.Add(time.Second / time.Duration(n))
		counts[m.judge(&client, kind, c.ticks())]++
	}
	return counts
}

func TestLimitRate(t *testing.T) {
	var c testClock
	m := limited(t, Limit{Rate: 100, Slip: 2}, &c)
	if got := passed(m, &c, "192.0.2.1", 1, 90); got[limitPass] != 90 {
		t.Errorf("below the rate: %v", got)
	}
	passed(m, &c, "192.0.2.1", 1, 1000) // uses up the burst
	got := passed(m, &c, "192.0.2.200", 1, 1000)
	if got[limitPass] < 95 || got[limitPass] > 105 {
		t.Errorf("above the rate: %d pass, want 100", got[limitPass])
	}
	if d := got[limitSlip] - got[limitDrop]; d < -1 || d > 1 {
		t.Errorf("slip 2: %d slip and %d dropped", got[limitSlip], got[limitDrop])
	}
	for what, from := range map[string]string{"another network": "192.0.3.1", "IPv6": "2001:db8::1"} {
		if got := passed(m, &c, from, 1, 90); got[limitPass] != 90 {
			t.Errorf("%s: %v", what, got)
		}
	}
	if got := passed(m, &c, "192.0.2.1", 2, 90); got[limitPass] != 90 {
		t.Errorf("another kind: %v", got)
	}
	c.t = c.t.Add(50 * time.Hour)
	if got := passed(m, &c, "192.0.2.1", 1, 90); got[limitPass] != 90 {
		t.Errorf("after two days: %v", got)
	}
	if got := passed(m, &c, "2001:db8:0:ff::1", 3, 3000); got[limitPass] > 205 {
		t.Errorf("IPv6: %v", got)
	}
	if got := passed(m, &c, "2001:db8:0:1::1", 3, 3000); got[limitPass] > 105 {
		t.Errorf("the same /56: %v", got)
	}
}

func TestLimitSlip(t *testing.T) {
	for slip, want := range map[int][2]int{0: {0, 100}, 1: {100, 0}, 4: {25, 75}} {
		var c testClock
		m := limited(t, Limit{Rate: 1, Slip: slip, Exempt: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}}, &c)
		from := NewClient(netip.MustParseAddr("192.0.2.1"))
		for range 2 {
			m.judge(&from, 1, c.ticks()) // within the burst
		}
		counts := [3]int{}
		for range 100 {
			counts[m.judge(&from, 1, c.ticks())]++
		}
		if counts[limitSlip] != want[0] || counts[limitDrop] != want[1] {
			t.Errorf("slip %d: %v", slip, counts)
		}
		free := NewClient(netip.MustParseAddr("198.51.100.7"))
		for range 100 {
			if m.judge(&free, 1, c.ticks()) != limitPass {
				t.Fatal("an exempt client is limited")
			}
		}
	}
}

// TestLimitFlood checks that many networks at once do not limit one that keeps to
// the rate, and that one that does not is still limited.
func TestLimitFlood(t *testing.T) {
	var c testClock
	m := limited(t, Limit{Rate: 50, Buckets: 1024}, &c)
	good, bad := NewClient(netip.MustParseAddr("192.0.2.1")), NewClient(netip.MustParseAddr("192.0.3.1"))
	badPassed := 0
	for i := range 100_000 {
		c.t = c.t.Add(100 * time.Microsecond)
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], 0x0a000000+uint32(i)<<8)
		spoofed := NewClient(netip.AddrFrom4(a))
		m.judge(&spoofed, 1, c.ticks())
		if i%250 == 0 && m.judge(&good, 1, c.ticks()) != limitPass {
			t.Fatal("a client below the rate is limited")
		}
		if m.judge(&bad, 1, c.ticks()) == limitPass {
			badPassed++
		}
	}
	if badPassed > 3000 { // 50 a second for 10 s, and some lost buckets
		t.Errorf("%d of 100,000 pass", badPassed)
	}
}

func TestLimitRefuses(t *testing.T) {
	for _, l := range []Limit{{Rate: -1}, {Rate: tick + 1}, {Rate: 1, Slip: -1}, {Rate: 1, IPv4Prefix: 33},
		{Rate: 1, IPv6Prefix: 65}, {Rate: 1, Buckets: 1000}, {Rate: 1, Buckets: 2}} {
		if _, err := newLimiter(l, rand.Reader); err == nil {
			t.Errorf("%+v is taken", l)
		}
	}
}

// TestLimitedAnswers checks what a limited client gets, from ready answers and
// from those made for it: nothing, or the question with TC; all with a cookie.
func TestLimitedAnswers(t *testing.T) {
	c := testClock{time.Unix(1_900_000_000, 0)}
	s := readyServer(t, Options{Cookies: true, Limit: Limit{Rate: 5, Slip: 3}, Now: c.now})
	client := NewClient(netip.MustParseAddr("192.0.2.1"))
	ask := func(quick bool, msg, buf []byte) int {
		if quick {
			n := copy(buf, msg)
			if n = s.Quick(scratch(s), buf[:1400], n, &client); n < 0 {
				t.Fatal("no ready answer")
			}
			return n
		}
		return s.Answer(buf, msg, UDP, client)
	}
	for _, text := range []string{"www.example.org. A edns=1232", "nothing.example.org. A edns=1232", "x.sub.example.org. A"} {
		f := strings.Fields(text)
		q, err := newQuestion(f[0], f[1], f[2:])
		if err != nil {
			t.Fatal(err)
		}
		for _, quick := range []bool{true, false} {
			buf := make([]byte, MaxMessage)
			c.t = c.t.Add(time.Minute)
			sent, slipped := 0, 0
			for range 100 {
				n := ask(quick, q.msg, buf)
				if n == 0 {
					continue
				}
				sent++
				if buf[2]&2 != 0 {
					slipped++
					if buf[7] != 0 || buf[9] != 0 || n > len(q.msg) {
						t.Fatalf("%s: %x", text, buf[:n])
					}
				}
				checkMessage(t, q.msg, buf[:n], DefaultUDP)
			}
			if sent < 30 || sent > 45 || slipped < 28 {
				t.Errorf("%s, quick %v: %d of 100 sent, %d with TC", text, quick, sent, slipped)
			}
			cookie := "option=10:" + hexCookie(s, client)
			good, err := newQuestion("www.example.org.", "A", []string{"edns=1232", cookie})
			if err != nil {
				t.Fatal(err)
			}
			for range 100 {
				if n := ask(quick, good.msg, buf); n == 0 || buf[2]&2 != 0 {
					t.Fatal("a client with a good cookie is limited")
				}
			}
		}
	}
}
