// Command soak holds an appliance under mixed load and attacks for a while and
// checks that it stays what it was: it answers all the time, makes no error
// beyond refusing what is too much, and gives back the memory it took.
//
// The load goes through a tap device in a network namespace (gVisor as the
// peer where there can be none): UDP and TCP clients throughout, and in turns
// a SYN flood, a flood of fragments that never become whole, and idle
// connections. Before and after it the guest rests, and its own memory lines
// (kernel command line stats=SECONDS) are compared.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"ampoule/tools/boottest/vm"
	"ampoule/tools/load"
	"ampoule/tools/netpeer"
	"ampoule/tools/workspace"
)

// options of a soak.
type options struct {
	total   time.Duration
	machine vm.Machine
	ram     int
	idle    int // connections
	flood   int // frames a second
	streams int // clients that open one connection after the other, for one request each
}

func main() {
	var o options
	flag.DurationVar(&o.total, "for", 10*time.Minute, "how long, boot to verdict; all appliances at once")
	flag.StringVar((*string)(&o.machine), "machine", string(vm.MicroVM), "microvm or q35")
	flag.IntVar(&o.ram, "m", 32, "RAM in MiB")
	flag.IntVar(&o.idle, "idle", 2000, "idle connections")
	flag.IntVar(&o.flood, "flood", 500, "frames of a flood a second")
	flag.IntVar(&o.streams, "streams", 1, "clients that open one connection after the other")
	apps := flag.String("app", "echo,dns", "appliances")
	dist := flag.String("dist", "dist", "folder of the built images")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if o.total < time.Minute {
		fmt.Fprintln(os.Stderr, "soak: -for must be a minute at least")
		os.Exit(2)
	}
	var wg sync.WaitGroup
	names := strings.Split(*apps, ",")
	errs := make([]error, len(names))
	for i, n := range names {
		wg.Go(func() { errs[i] = boot(ctx, o, n, filepath.Join(*dist, n+"-virtio", n+".elf")) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// service tells how each appliance is asked.
func service(name string) (load.Service, error) {
	switch name {
	case "echo":
		return load.Echo(512), nil
	case "dns":
		return load.DNS("www.example.org"), nil
	case "http":
		root, err := workspace.Root()
		if err != nil {
			return load.Service{}, err
		}
		page, err := os.ReadFile(filepath.Join(root, "configs/http/index.html"))
		return load.HTTP("/", page), err
	}
	return load.Service{}, fmt.Errorf("appliance %q: soak knows echo, dns and http", name)
}

// boot starts one appliance and soaks it.
func boot(ctx context.Context, o options, name, image string) error {
	s, err := service(name)
	if err != nil {
		return err
	}
	seg, err := netpeer.Open(netpeer.Options{Direct: true})
	if err != nil {
		if seg, err = netpeer.Open(netpeer.Options{}); err != nil {
			return err
		}
	}
	defer seg.Close()
	if l, ok := seg.Peer.(*netpeer.Linux); ok {
		if err := l.Do(manyPorts); err != nil {
			return err
		}
	}
	p := plan(o)
	memory := newMemory()
	v, err := vm.Start(ctx, vm.Config{Image: image, Machine: o.machine, RAM: o.ram, RNG: true, Net: seg.Net(),
		Append: fmt.Sprintf("stats=%d", int(p.stats/time.Second)), Tee: memory.line})
	if err != nil {
		return err
	}
	defer v.Close()
	go func() { // so that nothing waits for a guest that has gone
		<-v.Done()
		seg.Close()
	}()
	t := &target{name: name, service: s, dial: seg.DialContext, inject: seg.Inject, memory: memory,
		addr: fmt.Sprintf("%s:%d", netpeer.GuestIPv4, s.Port), addr6: fmt.Sprintf("[%s]:%d", netpeer.GuestIPv6, s.Port), ended: v.Done()}
	fmt.Printf("%s: %v in %d MiB on %s, the peer is %s\n", name, o.total, o.ram, o.machine, seg.Kind())
	err = t.soak(ctx, o, p)
	v.Close()
	log := filepath.Join(filepath.Dir(image), "soak.console")
	if e := os.WriteFile(log, []byte(v.Console()+"\n"), 0o644); e != nil {
		err = errors.Join(err, e)
	}
	if err != nil {
		return fmt.Errorf("%s: %w\ncommand: %s\nthe whole console is in %s; what stands out:\n%s", name, err, v.Command(), log, outstanding(v.Lines()))
	}
	return nil
}

// manyPorts lets the clients of this network namespace open more connections a minute
// than there are ports: without it they would run out of them, as each is the client's for
// a minute after its end (TIME-WAIT), and no more be opened whatever the appliance does.
func manyPorts() error {
	for name, value := range map[string]string{"ip_local_port_range": "1024 65535", "tcp_tw_reuse": "1"} {
		if err := os.WriteFile("/proc/sys/net/ipv4/"+name, []byte(value), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// outstanding is the part of a console that tells why a guest ended: from the
// first sign of trouble on, else its end.
func outstanding(lines []string) string {
	const show = 25
	at := slices.IndexFunc(lines, func(l string) bool {
		return strings.HasPrefix(l, "panic:") || strings.HasPrefix(l, "fatal error:") || strings.HasPrefix(l, "ampoule: ") || strings.Contains(l, " error ")
	})
	if at < 0 {
		at = max(0, len(lines)-show)
	}
	return strings.Join(lines[at:min(len(lines), at+show)], "\n")
}
