package xen

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"ampoule/tools/xenrig/dom0"
	"ampoule/tools/xenrig/rig"
)

// detach takes the interface away and gives it back.
func detach(h *host) {
	h.xl("network-detach", "echo", "0")
	if err := h.echo(2); err == nil {
		h.t.Error("it answers without a network")
	}
	h.xl("network-attach", "echo", "bridge=xenbr0", "script="+dom0.VIFScript, "mac=00:16:3e:00:00:02")
	h.must("after network-attach", h.echo(20))
}

// attach attaches a vif to the guest "late".
func (h *host) attach(mac string) {
	h.t.Helper()
	h.xl(append([]string{"network-attach", "late"}, rig.VIF{MAC: mac}.Args()...)...)
}

// logged waits for a line of the guest "late".
func (h *host) logged(line string) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), 60*time.Second)
	defer cancel()
	_, err := h.WaitLog(ctx, "late", regexp.MustCompile(line))
	h.must(line, err)
}

// addressAt checks at which vif the toolstack is told of the address.
func (h *host) addressAt(vif, not int) {
	h.t.Helper()
	s, err := h.State(h.t.Context(), "late")
	h.must("state", err)
	key := func(i int) string {
		out, _ := h.Exec(h.t.Context(), 20*time.Second, "xenstore-read", fmt.Sprintf("/local/domain/%d/attr/vif/%d/ipv4/0", s.ID, i))
		return strings.TrimSpace(out)
	}
	for end := time.Now().Add(20 * time.Second); key(vif) != rig.GuestIPv4 || key(not) == rig.GuestIPv4; time.Sleep(500 * time.Millisecond) {
		if time.Now().After(end) {
			h.t.Errorf("address at vif %d: %q, at %d: %q", vif, key(vif), not, key(not))
			return
		}
	}
}

// lateVIF is a guest that is made without a vif, gets one, then another in
// place of the first, then none, and then one with another address.
func lateVIF(h *host) {
	h.must("create", h.Create(h.t.Context(), "late", rig.Guest{Image: "echo.elf", Memory: 32}))
	h.logged("waiting for a network interface")
	h.attach("00:16:3e:00:00:21")
	h.must("with a vif that was attached", h.echo(40))
	h.addressAt(0, 1)
	h.attach("00:16:3e:00:00:22")
	h.logged("vif is not used")
	h.must("with a second vif", h.echo(5))
	h.xl("network-detach", "late", "0")
	h.must("with the second vif alone", h.echo(40))
	h.logged("goes on with another vif")
	h.addressAt(1, 0)
	h.xl("network-detach", "late", "1")
	if err := h.echo(1); err == nil {
		h.t.Error("it answers without a network")
	}
	h.attach("00:16:3e:00:00:23")
	h.must("with a vif of another address", h.echo(40))
	h.attach("00:16:3e:00:00:24")
	began := time.Now()
	h.xl("network-detach", "late", "1")
	if d := time.Since(began); d > 8*time.Second {
		h.t.Errorf("a vif that is not used was removed after %v: nobody answered the toolstack", d)
	}
	h.must("after the removal of a vif that is not used", h.echo(5))
	h.xl("shutdown", "late")
	ctx, cancel := context.WithTimeout(h.t.Context(), 30*time.Second)
	defer cancel()
	h.must("the domain does not end", h.WaitGone(ctx, "late"))
}

var (
	backAfter = regexp.MustCompile(`network is back after=(\S+)`)
	bootTime  = regexp.MustCompile(`info serving .*boot=(\S+)`)
)

// backSoon checks how long the guest was without a network after it was resumed.
// On hardware that is to be a second at most; here dom0 is emulated and has its
// hands full, so the yardstick is the guest's own boot, which waits for it too.
func (h *host) backSoon(name string) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), 30*time.Second)
	defer cancel()
	_, err := h.WaitLog(ctx, name, backAfter)
	h.must("the log says nothing of the network", err)
	log, err := h.GuestLog(ctx, name)
	h.must("console", err)
	last := func(re *regexp.Regexp) time.Duration {
		all := re.FindAllStringSubmatch(log, -1)
		if len(all) == 0 {
			h.t.Fatalf("the log has no %v:\n%s", re, log)
		}
		d, err := time.ParseDuration(all[len(all)-1][1])
		h.must("time", err)
		return d
	}
	d, boot := last(backAfter), last(bootTime)
	h.t.Attr("resume-to-network", fmt.Sprintf("%v (boot: %v)", d, boot))
	if d > max(boot, time.Second) {
		h.t.Errorf("the network was back %v after the guest went on, and boot took %v", d, boot)
	}
}
