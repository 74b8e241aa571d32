package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"ampoule/tools/bench/peer"
	"ampoule/tools/boottest/vm"
	"ampoule/tools/workspace"
)

// peerRAM is what a peer gets, in MiB: enough for any of them.
const peerRAM = 160

// zoneOfPeers is the zone that peers serve: the DNS appliance's own.
const zoneOfPeers = "configs/dns/example.org.zone"

// linux makes of c the machine of a peer.
func linux(c vm.Config, g peer.VM) vm.Config {
	c.Image, c.Append, c.RAM = g.Kernel, g.Append, peerRAM
	c.Args = append(c.Args, "-initrd", g.Initrd)
	if c.Machine == vm.MicroVM {
		// Debian's kernel finds no devices on its command line, but in ACPI's tables.
		c.Args = append(c.Args, "-M", "acpi=on")
	}
	return c
}

// peer measures what one request costs a name server in a small Linux VM, and its
// start. The smallest RAM and the CPU share when idle say more about Linux than
// about the server.
func (b *bench) peer(ctx context.Context, name string) (*Figures, error) {
	root, err := workspace.Root()
	if err != nil {
		return nil, err
	}
	g, err := peer.Make(ctx, b.cache, name, filepath.Join(root, zoneOfPeers), func(s string) { fmt.Fprintln(os.Stderr, s) })
	if err != nil {
		return nil, err
	}
	b.guests[name] = g
	f := &Figures{App: name, Machine: b.machine, CPU: b.cpu, Network: "tap"}
	for _, file := range []string{g.Kernel, g.Initrd} {
		st, err := os.Stat(file)
		if err != nil {
			return nil, err
		}
		f.ImageBytes += st.Size()
	}
	once := *b
	once.runs = 1 // a boot of Linux takes its time, and differs by a percent
	if f.Boot, err = once.boot(ctx, name); err != nil {
		return nil, fmt.Errorf("boot: %w", err)
	}
	if f.Lone, err = b.requestCost(ctx, name, lone); err != nil {
		return nil, fmt.Errorf("lone: %w", err)
	}
	if f.Saturated, err = b.requestCost(ctx, name, saturated); err != nil {
		return nil, fmt.Errorf("saturated: %w", err)
	}
	if b.user {
		f.Network = "user"
	}
	return f, nil
}
