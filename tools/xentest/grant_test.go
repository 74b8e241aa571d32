package xen

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"ampoule/boot/layout"
	"ampoule/tools/guesttest/expect"
	"ampoule/tools/guesttest/space"
	"ampoule/tools/xenrig/rig"
)

// evil is what the host's frames are full of while the guest attacks; it occurs
// nowhere in the image.
var evil = bytes.Repeat([]byte{0xe7, 0x11, 0xf0, 0x0d, 0x5e, 0xa1, 0xed, 0x99}, 150)

const grantMemory = 16 // MiB

// grantAttack has a guest that was taken over name every grant reference to its
// backend (boot/guests/grants): those that boot made are read and written, no
// other one is. The guest says what its backend answered; dom0 looks at the
// guest's memory before and after, and Xen at what is mapped.
func grantAttack(h *host) {
	image := h.program("ampoule/boot/guests/grants")
	h.start(rig.Guest{Image: image, Memory: grantMemory, VIFs: []rig.VIF{{}}})
	defer h.XL(context.WithoutCancel(h.t.Context()), "destroy", guestName)
	at, err := expect.ParsePlaces(h.await("^" + expect.PlacesPrefix))
	h.must("places", err)
	h.await(`^ready [0-9]+ I/O pages$`)
	state, err := h.State(h.t.Context(), guestName)
	h.must("state", err)

	before := h.memory(state.ID, at)
	stop := h.broadcast([]byte(strings.Repeat("GOODFRAME ", 10)))
	h.await(`^control: a frame has come$`)
	stop()
	h.t.Run("transmit", func(t *testing.T) {
		h := &host{h.Rig, t}
		h.counts(`^transmit 60: ([0-9]+) references read, ([0-9]+) refused$`)
		h.counts(`^transmit 1000: ([0-9]+) references read, ([0-9]+) refused$`)
	})
	h.await("^send$")
	stop = h.broadcast(evil)
	h.t.Run("receive", func(t *testing.T) {
		(&host{h.Rig, t}).counts(`^receive: ([0-9]+) references written, ([0-9]+) refused$`)
	})
	stop()
	h.t.Run("mapped", func(t *testing.T) {
		if n := (&host{h.Rig, t}).mapped(state.ID, "rings", before); n < 2 {
			t.Errorf("only %d pages are mapped, not even the rings", n)
		}
	})
	h.t.Run("ranges", func(t *testing.T) { t.Log((&host{h.Rig, t}).await("^ranges: none was sent$")) })
	h.t.Run("forged-rings", func(t *testing.T) {
		t.Log((&host{h.Rig, t}).await("^rings forged: "))
		if n := (&host{h.Rig, t}).mapped(state.ID, "forged", before); n != 0 {
			t.Errorf("%d pages are mapped for rings that are not granted", n)
		}
	})
	for _, c := range [][2]string{
		{"forged-shared", "^shared info and store forged$"}, {"intact", "^intact: 256 canary pages, text$"},
	} {
		h.t.Run(c[0], func(t *testing.T) { t.Log((&host{h.Rig, t}).await(c[1])) })
	}
	h.await("^done$")
	h.t.Run("noticed", func(t *testing.T) { (&host{h.Rig, t}).noticed(state.ID) })
	after := h.memory(state.ID, at)
	h.t.Run("grant-table", func(t *testing.T) {
		before.grants(t)
		after.grants(t)
	})
	h.t.Run("memory", func(t *testing.T) {
		after.sealed(t)
		after.holds(t, evil[:64])
		space.Unchanged(t, &before.Space, &after.Space)
	})
}

// await waits for a line of the guest's console, of which WRONG is the end.
func (h *host) await(want string) string {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	line, err := h.WaitLog(ctx, guestName, regexp.MustCompile(want+"|^panic: |^ampoule: "))
	h.must(want, err)
	if !regexp.MustCompile(want).MatchString(line) {
		h.t.Fatalf("the guest says: %s", line)
	}
	return line
}

// counts awaits a line with two numbers: how many references the backend could
// use, and how many not. Neither may be few.
func (h *host) counts(want string) {
	h.t.Helper()
	line := h.await(want)
	h.t.Log(line)
	for _, s := range regexp.MustCompile(want).FindStringSubmatch(line)[1:] {
		if n, _ := strconv.Atoi(s); n < 20 {
			h.t.Errorf("%d are too few to show anything", n)
		}
	}
}

// broadcast sends datagrams to all guests until stop is called.
func (h *host) broadcast(text []byte) (stop func()) {
	ctx, cancel := context.WithCancel(h.t.Context())
	c, err := h.DialContext(ctx, "udp", "10.0.2.255:9")
	h.must("broadcast", err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			c.Write(text) // one that is lost is followed by another
			time.Sleep(5 * time.Millisecond)
		}
	}()
	return func() {
		cancel()
		<-done
		c.Close()
	}
}

// noticed wants the backend to have tried what was forged: then it was refused
// for its own sake, and not because it never came to that.
func (h *host) noticed(domain int) {
	h.t.Helper()
	out, err := h.Run(h.t.Context(), time.Minute, fmt.Sprintf(
		"dmesg | grep vif%d; xenstore-read /local/domain/0/error/backend/vif/%[1]d/0/error", domain))
	h.must("dom0's log", err)
	for _, want := range []string{"Cross page boundary, txreq.offset: 4000, size: 200", "disabling device", "mapping shared-frames 400/401"} {
		if !strings.Contains(out, want) {
			h.t.Errorf("nothing about %q:\n%s", want, out)
		}
	}
}

// pinned is a line of Xen's debug key g: an entry of a domain's grant table that
// is in use, with the frame in two forms, and the guest's.
var pinned = regexp.MustCompile(`\[0x([0-9a-f]+)\]\s+[0-9]+ 0x[0-9a-f]+ 0x[0-9a-f]+\s+[0-9]+ 0x([0-9a-f]+) 0x[0-9a-f]+`)

// mapped asks Xen which of the domain's grants are in use, once the guest waits for that at
// a step: none of what is not shared. It counts them, but for those of console and store,
// and lets the guest go on.
func (h *host) mapped(domain int, step string, m *memory) (n int) {
	h.t.Helper()
	h.await("^look: " + step + "$")
	from := len(h.XenConsole())
	h.xl("debug-keys", "g")
	ctx, cancel := context.WithTimeout(h.t.Context(), 20*time.Second)
	defer cancel()
	for !strings.Contains(h.XenConsole()[from:], "gnttab_usage_print_all ] done") {
		if err := ctx.Err(); err != nil {
			h.must("debug key g", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	head := fmt.Sprintf("d%d ", domain)
	ours := false
	for line := range strings.Lines(h.XenConsole()[from:]) {
		if strings.Contains(line, "grant-table for remote") || strings.Contains(line, "grant table") {
			ours = strings.Contains(line, head)
		}
		f := pinned.FindStringSubmatch(line)
		if f == nil || !ours {
			continue
		}
		frame, err := strconv.ParseUint(f[2], 16, 64)
		if ref, e := strconv.ParseUint(f[1], 16, 32); e != nil || ref > 1 {
			n++
		}
		if err != nil || !m.shared()[frame<<12] {
			h.t.Errorf("the backend has frame %#x: %s", frame, strings.TrimSpace(line))
		}
	}
	h.t.Logf("%s: %d grants in use", step, n)
	_, err := h.Run(h.t.Context(), 30*time.Second, fmt.Sprintf("xenstore-write /local/domain/%d/data/looked %s", domain, step))
	h.must("tell the guest", err)
	return n
}

// grants reads the grant table: what is granted must be shared, and everything
// that is shared but the shared info page is granted.
func (m *memory) grants(t *testing.T) {
	t.Helper()
	const (
		entries    = layout.Page / 8
		typeMask   = 3
		sharedInfo = 1
	)
	allowed := m.shared()
	n := 0
	for ref := range uint64(entries) {
		e := m.Load(t, m.at["descriptors"]+8*ref)
		if e&typeMask == 0 {
			continue
		}
		n++
		if frame := e >> 32 << 12; !allowed[frame] || e>>16&0xffff != 0 {
			t.Errorf("reference %d grants frame %#x to domain %d", ref, frame>>12, e>>16&0xffff)
		}
	}
	if n != len(allowed)-sharedInfo {
		t.Errorf("%d references are granted, and %d pages shared", n, len(allowed)-sharedInfo)
	}
	t.Logf("%d references granted", n)
}
