package vm

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

func TestConsoleIsBounded(t *testing.T) {
	const limit = 10 << 10
	c := newConsole(limit, nil)
	for i := range 100000 {
		c.write(fmt.Appendf(nil, "line %d\r\n", i))
	}
	c.write([]byte(strings.Repeat("x", 3*maxLine)))
	c.finish()
	text := strings.Join(c.lines(), "\n")
	if len(text) > limit+maxLine+100 {
		t.Errorf("%d bytes kept of a limit of %d", len(text), limit)
	}
	for _, want := range []string{"line 0\n", "lines dropped]", "xxxx"} {
		if !strings.Contains(text, want) {
			t.Errorf("console lacks %q", want)
		}
	}
	if strings.Contains(text, "\r") || strings.Contains(text, "line 50000\n") {
		t.Error("a carriage return or the middle was kept")
	}
}

func TestConsoleWaitAcrossGap(t *testing.T) {
	c := newConsole(200, nil)
	c.write([]byte("first\n"))
	if l, err := c.wait(t.Context(), regexp.MustCompile("first")); l != "first" || err != nil {
		t.Fatal(l, err)
	}
	for i := range 1000 {
		c.write(fmt.Appendf(nil, "n %d\n", i))
	}
	if l, err := c.wait(t.Context(), regexp.MustCompile("n 99.")); l != "n 990" || err != nil {
		t.Fatal(l, err)
	}
	if l, err := c.wait(t.Context(), regexp.MustCompile("n 99.")); l != "n 991" || err != nil {
		t.Fatal(l, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go cancel()
	if _, err := c.wait(ctx, regexp.MustCompile("n 990")); !errors.Is(err, context.Canceled) {
		t.Fatal("a line was found twice, or", err)
	}
}

func TestConsoleSplitWrites(t *testing.T) {
	c := newConsole(1000, nil)
	for _, p := range []string{"a", "b\r", "\nc\n\n", "d"} {
		c.write([]byte(p))
	}
	if got := fmt.Sprintf("%q", c.lines()); got != `["ab" "c" "" "d"]` {
		t.Error(got)
	}
}

func TestParseForwards(t *testing.T) {
	got, err := ParseForwards("udp:7,tcp:53")
	if fmt.Sprint(got, err) != "[udp:7 tcp:53] <nil>" {
		t.Error(got, err)
	}
	for _, bad := range []string{"7", "udp:", "udp:0", "tcp:70000", "sctp:7", "tcp:x"} {
		if _, err := ParseForwards(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestParseUsernet(t *testing.T) {
	got := parseUsernet("Hub -1 (net0):\r\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n" +
		"  TCP[HOST_FORWARD]   3       127.0.0.1 46175       10.0.2.15     7     0     0\r\n" +
		"  UDP[HOST_FORWARD]   9       127.0.0.1 58235       10.0.2.15    53     0     0\r\n" +
		"  TCP[ESTABLISHED]   12       127.0.0.1 46175       10.0.2.15     9     0     0\r\n")
	if fmt.Sprint(got) != "map[tcp:10.0.2.15:7:46175 tcp:7:46175 udp:10.0.2.15:53:58235 udp:53:58235]" {
		t.Error(got)
	}
}
