package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"
	"time"

	"ampoule/tools/xenrig/dom0"
)

// Guest is what xl needs to create a domain. The zero value of a field is its
// default; only Image and Memory have none.
type Guest struct {
	Image   string // name of an image in dom0: of Options.Images, or pushed to ImagePath
	Memory  int    // MiB
	Cmdline string
	VIFs    []VIF
	// What xl does when the domain ends: "destroy" (default), "preserve",
	// "restart". A triple fault counts as reboot.
	OnPoweroff, OnReboot, OnCrash string
	// ShadowMemory is the pool for nested page tables in MiB. xl restore needs
	// 8 for a guest of 32 MiB or less; 0 leaves it to xl.
	ShadowMemory int
	Paused       bool     // created, but does not run
	Config       []string // further lines of the configuration
}

// VIF is a network interface of a guest.
type VIF struct {
	MAC    string // default: DefaultMAC for the first, what xl makes up for others
	Bridge string // default: dom0.Bridge
}

// DefaultMAC is that of a guest's first VIF.
const DefaultMAC = "00:16:3e:00:00:02"

// xlTimeout bounds one xl command; a shutdown or save that the guest ignores
// fails after a minute by itself.
const xlTimeout = 90 * time.Second

// ImagePath is where an image of that name lies in dom0.
func ImagePath(name string) string { return path.Join("/guest", name) }

// LogPath is the file in dom0 that holds the console of the guest of that name.
func LogPath(name string) string { return "/var/log/xen/guest-" + name + ".log" }

// config is the text that xl create reads (xl.cfg(5)).
func (g Guest) config(name string) string {
	var b strings.Builder
	set := func(key, value string) { fmt.Fprintf(&b, "%s=%q\n", key, value) }
	or := func(s, def string) string {
		if s == "" {
			return def
		}
		return s
	}
	set("name", name)
	set("type", "pvh")
	set("kernel", ImagePath(g.Image))
	fmt.Fprintf(&b, "memory=%d\nvcpus=1\n", g.Memory)
	if g.Cmdline != "" {
		set("cmdline", g.Cmdline)
	}
	set("on_poweroff", or(g.OnPoweroff, "destroy"))
	set("on_reboot", or(g.OnReboot, "destroy"))
	set("on_crash", or(g.OnCrash, "destroy"))
	if g.ShadowMemory > 0 {
		fmt.Fprintf(&b, "shadow_memory=%d\n", g.ShadowMemory)
	}
	var vifs []string
	for i, v := range g.VIFs {
		if i == 0 && v.MAC == "" {
			v.MAC = DefaultMAC
		}
		vifs = append(vifs, fmt.Sprintf("%q", v.spec()))
	}
	fmt.Fprintf(&b, "vif=[%s]\n", strings.Join(vifs, ","))
	for _, l := range g.Config {
		fmt.Fprintln(&b, l)
	}
	return b.String()
}

// spec is the VIF as xl's configuration has it.
func (v VIF) spec() string { return strings.Join(v.Args(), ",") }

// Args is the VIF as words for xl network-attach.
func (v VIF) Args() []string {
	bridge := v.Bridge
	if bridge == "" {
		bridge = dom0.Bridge
	}
	a := []string{"bridge=" + bridge, "script=" + dom0.VIFScript}
	if v.MAC != "" {
		a = append(a, "mac="+v.MAC)
	}
	return a
}

// validName keeps names out of the way of shells and paths.
var validName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_-]*$`)

// Create makes the domain name, with a fresh log. It blocks until xl create has
// returned, which is when the guest runs; the configuration stays in dom0 as
// ImagePath(name + ".cfg").
func (r *Rig) Create(ctx context.Context, name string, g Guest) error {
	if !validName.MatchString(name) || g.Image == "" || g.Memory <= 0 {
		return fmt.Errorf("rig: guest %q: want a name of letters and digits, an image and memory", name)
	}
	cfg := ImagePath(name + ".cfg")
	if err := r.Put(ctx, cfg, strings.NewReader(g.config(name))); err != nil {
		return err
	}
	if _, err := r.Exec(ctx, xlTimeout, "rm", "-f", LogPath(name), LogPath(name+incoming)); err != nil {
		return err
	}
	args := []string{"create", "-q"}
	if g.Paused {
		args = append(args, "-p")
	}
	_, err := r.XL(ctx, append(args, cfg)...)
	if err != nil {
		return r.Explain(fmt.Errorf("guest %s: %w", name, err))
	}
	return nil
}

// XL runs xl in dom0 and returns what it prints. It blocks until xl ends, 90
// seconds at most.
func (r *Rig) XL(ctx context.Context, args ...string) (string, error) {
	return r.Exec(ctx, xlTimeout, append([]string{"xl"}, args...)...)
}

// GuestLog is what the guest name has written to its console, over all domains
// of that name since Create: the last OutputLimit bytes, and as much of what came
// after a Migrate.
func (r *Rig) GuestLog(ctx context.Context, name string) (string, error) {
	b, _, err := r.Get(ctx, LogPath(name), -OutputLimit, OutputLimit)
	if err != nil {
		return "", err
	}
	if more, _, err := r.Get(ctx, LogPath(name+incoming), -OutputLimit, OutputLimit); err == nil {
		b = append(b, more...)
	}
	return string(bytes.ReplaceAll(b, []byte{'\r'}, nil)), nil
}

// incoming is what xl appends to the name of a domain that migrates, until it
// has arrived; its log keeps that name.
const incoming = "--incoming"

// Migrate moves a running guest live from this host to itself: all that a
// migration is for the guest, but for another host's clock and processor. It
// blocks until the guest runs again and returns what xl says.
func (r *Rig) Migrate(ctx context.Context, name string) (string, error) {
	return r.XL(ctx, "migrate", "-s", "", name, "xl migrate-receive")
}

// WaitLog blocks until a line of the guest's console matches and returns it.
// The error holds the end of that console and of Xen's.
func (r *Rig) WaitLog(ctx context.Context, name string, re *regexp.Regexp) (string, error) {
	for {
		text, err := r.GuestLog(ctx, name)
		for line := range strings.Lines(text) {
			if line = strings.TrimRight(line, "\n"); re.MatchString(line) {
				return line, nil
			}
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			if err != nil {
				return "", r.Explain(fmt.Errorf("waiting for a line %q of %s: %w", re, name, err))
			}
			lines := strings.Split(strings.TrimSpace(text), "\n")
			return "", r.Explain(fmt.Errorf("waiting for a line %q of %s: %w; its console ends with:\n%s", re, name, ctx.Err(),
				strings.Join(lines[max(0, len(lines)-30):], "\n")))
		}
	}
}

// XenConsoleLine blocks until a line of Xen's console matches, of those that no
// earlier call returned or passed over. Calls from several goroutines disturb
// each other.
func (r *Rig) XenConsoleLine(ctx context.Context, re *regexp.Regexp) (string, error) {
	return r.vm.WaitLine(ctx, re)
}

// State is a domain as xl list shows it.
type State struct {
	ID     int
	Memory int    // MiB
	Flags  string // one letter each, or "-": running, blocked, paused, shut down, crashed, dying
}

// ErrGone says that there is no domain of that name.
var ErrGone = errors.New("rig: no such domain")

// State looks at the domain name; ErrGone when it has ended and was destroyed.
func (r *Rig) State(ctx context.Context, name string) (State, error) {
	out, err := r.XL(ctx, "list")
	if err != nil {
		return State{}, err
	}
	return parseList(out, name)
}

// parseList reads lines of Name, ID, Mem, VCPUs, State and Time(s).
func parseList(out, name string) (State, error) {
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) != 6 || f[0] != name {
			continue
		}
		var s State
		if _, err := fmt.Sscan(f[1]+" "+f[2], &s.ID, &s.Memory); err != nil {
			return s, fmt.Errorf("rig: xl list says %q", line)
		}
		s.Flags = f[4]
		return s, nil
	}
	return State{}, fmt.Errorf("%w: %s", ErrGone, name)
}

// WaitGone blocks until there is no domain of that name.
func (r *Rig) WaitGone(ctx context.Context, name string) error {
	for {
		s, err := r.State(ctx, name)
		switch {
		case errors.Is(err, ErrGone):
			return nil
		case ctx.Err() != nil:
			return r.Explain(fmt.Errorf("waiting for the end of %s, which is %q: %w", name, s.Flags, ctx.Err()))
		case err != nil:
			return err
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}
