package lifecycle

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strconv"

	"ampoule/drivers/xen/xenstore"
	"ampoule/libos/format"
)

// About is what the toolstack is told of the VM.
type About struct {
	Name    string // of the appliance: data/os_name, data/os_distro
	Version string // data/os_uname
	// Tools is the version of the guest tools that XAPI is to believe in:
	// major, minor, micro and build.
	Tools [4]int
	// MemoryTotal and MemoryFree are bytes; 0 is not told.
	MemoryTotal, MemoryFree uint64
	// VIFs are the addresses of each network interface, by the vif's number.
	VIFs map[int][]netip.Addr
	// NoSuspend, if not empty, is why the VM can't be saved.
	NoSuspend string
}

// pair is a key and its value.
type pair struct{ key, value string }

// optional are the keys that not every toolstack has: libxl makes the control/
// keys that it reads (shutdown, feature-poweroff, -reboot, -suspend) and lets
// the VM write no other there, while XAPI leaves all of control/ to the VM and
// reads these too.
var optional = [...]string{"control/feature-halt", "control/feature-shutdown"}

// Announce writes what the toolstack reads: at the start, again when something
// has changed, and after a restore. It writes all that it can, and answers what
// the store refused but a toolstack of this kind would have taken.
func Announce(ctx context.Context, store *xenstore.Client, a About) error {
	var errs []error
	for _, p := range a.pairs() {
		err := store.Write(ctx, p.key, p.value)
		if errors.Is(err, xenstore.ErrAccess) && slices.Contains(optional[:], p.key) {
			continue
		}
		if err != nil {
			errs = append(errs, err)
			if ctx.Err() != nil || errors.Is(err, xenstore.ErrBroken) {
				break
			}
		}
	}
	if a.NoSuspend == "" {
		if err := store.Rm(ctx, "data/cant_suspend_reason"); err != nil && !errors.Is(err, xenstore.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return format.Errorf("lifecycle: announce: %w", err)
	}
	return nil
}

// pairs are the keys in order: data/updated, by which XAPI is told to look,
// comes last.
func (a About) pairs() []pair {
	suspend := "1"
	if a.NoSuspend != "" {
		suspend = "0"
	}
	p := []pair{
		{"control/feature-poweroff", "1"}, {"control/feature-halt", "1"},
		{"control/feature-reboot", "1"}, {"control/feature-shutdown", "1"},
		{"control/feature-suspend", suspend},
		{"attr/PVAddons/MajorVersion", strconv.Itoa(a.Tools[0])},
		{"attr/PVAddons/MinorVersion", strconv.Itoa(a.Tools[1])},
		{"attr/PVAddons/MicroVersion", strconv.Itoa(a.Tools[2])},
		{"attr/PVAddons/BuildVersion", strconv.Itoa(a.Tools[3])},
		{"data/os_name", a.Name}, {"data/os_distro", a.Name}, {"data/os_uname", a.Version},
	}
	if a.MemoryTotal != 0 {
		// In KiB, as Linux's guest tools have it.
		p = append(p, pair{"data/meminfo_total", strconv.FormatUint(a.MemoryTotal>>10, 10)},
			pair{"data/meminfo_free", strconv.FormatUint(a.MemoryFree>>10, 10)})
	}
	for i, addrs := range a.VIFs {
		n4, n6 := 0, 0
		for _, addr := range addrs {
			if addr.Is4() || addr.Is4In6() {
				p = append(p, pair{format.Sprintf("attr/vif/%d/ipv4/%d", i, n4), addr.Unmap().String()})
				n4++
			} else if addr.Is6() {
				p = append(p, pair{format.Sprintf("attr/vif/%d/ipv6/%d", i, n6), addr.WithZone("").String()})
				n6++
			}
		}
	}
	if a.NoSuspend != "" {
		p = append(p, pair{"data/cant_suspend_reason", a.NoSuspend})
	}
	return append(p, pair{"data/updated", "1"})
}
