// Package rig boots Xen inside QEMU's emulator, with no help of this machine's
// processor, for tests of guests on the real hypervisor: Debian's Xen with a
// small control domain (dom0) that has xl, a bridge, and an agent that obeys.
// The emulated processor is an AMD one with SVM and nested paging; guests are of
// type PVH.
//
// A Rig belongs to whoever called Start, who must Close it; package vm sees to
// it that QEMU does not outlive the caller. Nothing here depends on package
// testing. A machine that cannot get Debian's packages gets dom0.ErrPackages.
package rig

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"ampoule/tools/boottest/vm"
	"ampoule/tools/workspace"
	"ampoule/tools/xenrig/dom0"
	"ampoule/tools/xenrig/wire"
)

// Options say what to boot. The zero value of a field is its default.
type Options struct {
	Cache      string            // folder for packages; default build/xenrig of the workspace
	Images     map[string]string // name to path here: pushed into dom0, for Guest.Image
	Memory     int               // MiB of the whole machine; default 1024
	Dom0Memory int               // MiB of dom0, whose files are in memory too; default 512
	CPU        string            // QEMU's CPU model; default CPU
	Xen        string            // further words on Xen's command line
	Forwards   []vm.Forward      // ports of guests to reach from 127.0.0.1
	Dom0       dom0.Options      // further programs for dom0
	Say        func(string)      // told what takes long
	Tee        func(string)      // told each line of Xen's console; must not block for long
}

// CPU is the default model: nested paging is needed, as Debian's Xen has no
// shadow paging; without rdrand every xl create waits two seconds for entropy.
const CPU = "qemu64,+svm,+npt,+rdrand"

// Addresses in the guests' network, the same as with vm: dom0 is the peer that
// every guest has. Guests beyond the first take what addresses they like.
const (
	Dom0IPv4  = dom0.IPv4
	Dom0IPv6  = dom0.IPv6
	GuestIPv4 = vm.GuestIPv4
	GuestIPv6 = vm.GuestIPv6
)

const (
	bootTimeout  = 3 * time.Minute
	agentTimeout = 30 * time.Second
	// OutputLimit bounds what is kept of a command's output and of a log, in
	// bytes.
	OutputLimit = 1 << 20
)

// Rig is a running Xen. Its methods may be called from any goroutine.
type Rig struct {
	vm    *vm.VM
	agent string // address of the agent, seen from here
	boot  time.Duration
}

func (o Options) withDefaults() (Options, error) {
	if o.Cache == "" {
		root, err := workspace.Root()
		if err != nil {
			return o, err
		}
		o.Cache = filepath.Join(root, "build", "xenrig")
	}
	if o.Memory == 0 {
		o.Memory = 1024
	}
	if o.Dom0Memory == 0 {
		o.Dom0Memory = 512
	}
	if o.CPU == "" {
		o.CPU = CPU
	}
	if o.Say == nil {
		o.Say = func(string) {}
	}
	o.Forwards = slices.Clone(o.Forwards)
	for i, f := range o.Forwards {
		if f.Guest == "" {
			o.Forwards[i].Guest = GuestIPv4
		}
	}
	return o, nil
}

// Start boots Xen and blocks until dom0's agent obeys and the images are there:
// some 20 seconds, half a minute more when the packages have to be fetched. The
// rig is killed when ctx ends.
func Start(ctx context.Context, o Options) (*Rig, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	kit, err := dom0.Prepare(ctx, o.Cache, o.Dom0, o.Say)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	r := &Rig{}
	if r.vm, err = launch(ctx, kit, o); err != nil {
		return nil, err
	}
	if err := r.bringUp(ctx, o); err != nil {
		r.Close()
		return nil, err
	}
	r.boot = time.Since(start)
	return r, nil
}

// launch starts QEMU. The initramfs is in memory when QEMU runs, so that its
// file goes at once.
func launch(ctx context.Context, kit *dom0.Kit, o Options) (*vm.VM, error) {
	f, err := os.CreateTemp(o.Cache, "initramfs-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	err = errors.Join(kit.Initramfs(ctx, f, o.Dom0), f.Close())
	if err != nil {
		return nil, err
	}
	initramfs, err := filepath.Abs(f.Name())
	if err != nil {
		return nil, err
	}
	return vm.Start(ctx, vm.Config{
		Image: kit.Xen, Machine: vm.Q35, RAM: o.Memory, CPU: o.CPU, Tee: o.Tee,
		Append: strings.TrimSpace(fmt.Sprintf("console=com1 com1=115200,8n1 loglvl=info guest_loglvl=all "+
			"dom0_mem=%dM,max:%dM dom0_max_vcpus=1 noreboot %s", o.Dom0Memory, o.Dom0Memory, o.Xen)),
		// One processor for dom0 and all guests, as vm has it. With two, QEMU 7.2's
		// emulation of SVM fails after some 50,000 network interrupts: it goes on
		// in Xen's own code behind VMRUN with the guest's paging on, which Xen
		// reports as a triple fault of the guest with Xen's registers.
		Args: []string{"-initrd", kit.Kernel + " console=hvc0 quiet," + initramfs},
		Net: vm.Net{Kind: vm.NetUser, Model: "e1000", User: network(o.Forwards),
			Forwards: append([]vm.Forward{agentForward}, o.Forwards...)},
	})
}

// agentForward leads to the agent.
var agentForward = vm.Forward{Proto: "tcp", Port: wire.Port, Guest: dom0.IPv4}

// network cuts QEMU's network off from everything but the forwards. With UDP
// among them it cannot be: QEMU would drop the guest's replies. It also answers
// pings in the name of others, so that no ping proves anything. IPv6, for which
// there are no forwards, is left to dom0 and the guests.
func network(forwards []vm.Forward) string {
	for _, f := range forwards {
		if f.Proto == "udp" {
			return "ipv6=off,restrict=off"
		}
	}
	return "ipv6=off,restrict=on"
}

var booted = regexp.MustCompile(dom0.Ready + "|" + dom0.Failed + "|Panic on CPU|Kernel panic")

func (r *Rig) bringUp(ctx context.Context, o Options) error {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	line, err := r.vm.WaitLine(ctx, booted)
	if err != nil {
		return fmt.Errorf("rig: boot: %w", err)
	}
	if !strings.Contains(line, dom0.Ready) {
		// What explains a panic comes after its first line.
		select {
		case <-time.After(2 * time.Second):
		case <-r.vm.Done():
		}
		return r.Explain(fmt.Errorf("boot: %s", strings.TrimSpace(line)))
	}
	r.agent = r.vm.Forwarded(agentForward)
	if err := r.waitAgent(ctx); err != nil {
		return err
	}
	for name, p := range o.Images {
		if err := r.Push(ctx, p, ImagePath(name)); err != nil {
			return err
		}
	}
	return nil
}

// waitAgent blocks until the agent obeys: it listens a moment after dom0 is
// ready, and QEMU accepts connections before that.
func (r *Rig) waitAgent(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, agentTimeout)
	defer cancel()
	for {
		_, err := r.Run(ctx, 2*time.Second, "true")
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return r.Explain(fmt.Errorf("the agent does not answer: %w", err))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Close kills QEMU and waits until it is gone. It may be called more than once.
func (r *Rig) Close() error { return r.vm.Close() }

// Done is closed when QEMU has ended.
func (r *Rig) Done() <-chan struct{} { return r.vm.Done() }

// BootTime is how long Start took once the packages were there.
func (r *Rig) BootTime() time.Duration { return r.boot }

// VM is the machine that Xen runs on.
func (r *Rig) VM() *vm.VM { return r.vm }

// XenConsole is Xen's serial console so far: its own messages, those of dom0,
// and what guests write to port 0xe9, as "(d1) text".
func (r *Rig) XenConsole() string { return r.vm.Console() }

// Addr is where a forwarded port of the guest at an IPv4 address ("":
// GuestIPv4) is reached: "127.0.0.1:40123". It is empty without such a forward.
func (r *Rig) Addr(proto string, port int, guest string) string {
	if guest == "" {
		guest = GuestIPv4
	}
	return r.vm.Forwarded(vm.Forward{Proto: proto, Port: port, Guest: guest})
}

// Error is a failure with the end of Xen's console.
type Error struct {
	Err     error
	Console string
}

func (e *Error) Unwrap() error { return e.Err }

func (e *Error) Error() string {
	return "rig: " + e.Err.Error() + "\nXen's console ends with:\n" + e.Console
}

// chatter is what Xen says about each save and restore of a guest.
var chatter = regexp.MustCompile(`^\(XEN\) HVM ?d?[0-9]+(v[0-9]+)? (save|restore):`)

// Explain adds the end of Xen's console to an error, unless it is there.
func (r *Rig) Explain(err error) error {
	if already := (*Error)(nil); errors.As(err, &already) {
		return err
	}
	const lines = 30
	l := slices.DeleteFunc(r.vm.Lines(), chatter.MatchString)
	return &Error{err, strings.Join(l[max(0, len(l)-lines):], "\n")}
}
