package telemetry

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestLogger(t *testing.T) {
	var b bytes.Buffer
	now := func() time.Time { return time.Date(2026, 3, 4, 5, 6, 7, 89e6, time.UTC) }
	l := New(&b, now, Info)
	const stamp = "2026-03-04T05:06:07.089Z "
	for _, c := range []struct {
		log  func()
		want string
	}{
		{func() { l.Info("serving", "port", 53, "ok", true) }, "info serving port=53 ok=true"},
		{func() { l.Debug("not written") }, ""},
		{func() { l.Warn("two words", "v", "a b", "e", errors.New("no")) }, `warn two words v="a b" e=no`},
		{func() { l.Error("forged\n2026 error x", "v", "\n2026") }, `error "forged\n2026 error x" v="\n2026"`},
		{func() { l.Info("odd", "key") }, "info odd !badkey=key"},
		{func() { l.Info("empty", "v", "", "eq", "a=b") }, `info empty v="" eq="a=b"`},
		{func() { l.With("host", "ns1").Info("up", "d", 3*time.Millisecond) }, "info up host=ns1 d=3ms"},
	} {
		b.Reset()
		c.log()
		want := ""
		if c.want != "" {
			want = stamp + c.want + "\n"
		}
		if got := b.String(); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
	b.Reset()
	l.SetLevel(Debug)
	l.Debug(strings.Repeat("x", 5000))
	if got := b.Len(); got != maxLine+1 {
		t.Errorf("a long line has %d bytes, want %d", got, maxLine+1)
	}
	var none *Logger
	none.Info("nothing")
	none.With("a", 1).SetLevel(Debug)
	new(Logger).Error("nothing")
}
