// Command bench measures the echo and DNS appliances by what does not depend
// on the machine it runs on: guest instructions from start to the first
// answer, for one request over UDP and TCP, lone and saturated, for a TCP
// connection and for a MiB, the smallest RAM that
// serves, and the image's bytes. It prints a table and writes JSON; with -prof
// it tells which functions the instructions of one point are spent in, with -http it
// measures the HTTP appliance instead, with -tls the TLS terminator.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"ampoule/tools/bench/counter"
	"ampoule/tools/bench/peer"
	"ampoule/tools/boottest/vm"
	"ampoule/tools/load"
	"ampoule/tools/netpeer"
	"ampoule/tools/xenrig/dom0"
)

// services tells how each appliance is asked, over UDP and over TCP.
func services(name, ask string) (datagram, stream load.Service, err error) {
	switch name {
	case "echo":
		return load.Echo(64), load.Echo(1024), nil
	case "dns":
		return load.DNS(ask), load.DNS(ask), nil
	case "http", httpsApp, peer.Nginx:
		s := load.HTTP("/1k", site["/1k"])
		return s, s, nil
	}
	return load.Service{}, load.Service{}, fmt.Errorf("appliance %q: bench knows echo, dns and http", name)
}

func main() {
	b := bench{address: netpeer.GuestIPv4}
	apps := flag.String("app", "echo,dns", "appliances to measure; empty: none")
	flag.StringVar(&b.dist, "dist", "dist", "folder of the built images")
	image := flag.String("image", "", "measure this image instead of the built one (with one -app)")
	flag.StringVar((*string)(&b.machine), "machine", string(vm.MicroVM), "microvm or q35")
	flag.StringVar(&b.cpu, "cpu", "max", "QEMU CPU model")
	flag.IntVar(&b.ram, "m", 64, "RAM in MiB, of all but the smallest-RAM search")
	flag.IntVar(&b.requests, "n", 2000, "requests of one run")
	flag.StringVar(&b.ask, "ask", "www.example.org", "name that the DNS appliance is asked for")
	flag.IntVar(&b.runs, "runs", 3, "runs of each figure; the median counts")
	peers := flag.String("peers", "", "servers in small Linux VMs to measure too: "+strings.Join(append(peer.Names(), peer.Nginx), ","))
	flag.StringVar(&b.cache, "cache", "build/peers", "folder for the packages of the peers")
	out := flag.String("json", "dist/bench.json", "where to write the figures")
	web := flag.Bool("http", false, "measure the HTTP appliance instead, and nginx beside it if -peers has it")
	terminator := flag.Bool("tls", false, "measure the TLS terminator instead")
	prof := flag.String("prof", "", "profile one point instead: boot, lone, saturated, tcp-lone, tcp-saturated, tcp-connect, tcp-bulk or, with -http, http-large, https-connect, https-resumed, h2-connect, https-lone, h2-lone, https-large, h2-large; with -tls the number of a row")
	symbols := flag.String("symbols", "", "unstripped ELF with the image's code, for -prof (default: the image)")
	top := flag.Int("top", 40, "functions that -prof shows")
	kinds := flag.String("queries", "", "measure kinds of queries to the DNS appliance instead, each with an image of its own: all, or those with this in their name")
	mkimage := flag.String("mkimage", "build/bin/mkimage", "with -queries and -http: what builds images")
	only := flag.String("func", "", "with -prof: instead of all functions, where this one's instructions are executed")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b.images, b.guests = map[string]string{}, map[string]peer.VM{}
	names := list(*apps)
	for _, a := range names {
		b.images[a] = filepath.Join(b.dist, a+"-virtio", a+".elf")
		if *image != "" {
			b.images[a] = *image
		}
	}
	var err error
	switch {
	case *image != "" && len(names) != 1 && !*web && !*terminator:
		err = errors.New("-image goes with one -app")
	case *kinds != "":
		err = b.with(func() error { return b.queries(ctx, *kinds, *mkimage, *prof, view{*top, *only}) })
	case *web:
		b.images["http"] = *image
		err = b.with(func() error {
			return b.web(ctx, os.Stdout, *mkimage, *prof, !slices.Contains(list(*peers), peer.Nginx), view{*top, *only})
		})
	case *terminator:
		b.images["tls"] = filepath.Join(b.dist, "tls-virtio", "tls.elf")
		if *image != "" {
			b.images["tls"] = *image
		}
		row, _ := strconv.Atoi(*prof)
		err = b.with(func() error { return b.tls(ctx, row, *symbols, view{*top, *only}) })
	case *prof != "" && len(names) != 1:
		err = errors.New("-prof goes with one -app")
	case *prof != "":
		err = b.with(func() error { return b.profile(ctx, names[0], *prof, *symbols, view{*top, *only}) })
	default:
		err = b.with(func() error {
			return b.all(ctx, names, slices.DeleteFunc(list(*peers), func(n string) bool { return n == peer.Nginx }), *out)
		})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is one set of measurements.
type bench struct {
	dist, cpu, ask      string
	machine             vm.Machine
	images              map[string]string
	ram, requests, runs int
	plugin              *counter.Plugin
	cache               string
	guests              map[string]peer.VM // of peers
	service             load.Service       // instead of the appliance's, if it has a name
	address             netip.Addr         // of the guest on the tap
	user                bool               // no namespace here: measured over QEMU's user-mode network
}

// with runs f with the plugin built.
func (b *bench) with(f func() error) error {
	var err error
	if b.plugin, err = counter.Build(); err != nil {
		return err
	}
	return errors.Join(f(), b.plugin.Close())
}

// list is the words between commas, none of nothing.
func list(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' })
}

// all measures names and peers, prints the table and writes the JSON.
func (b *bench) all(ctx context.Context, names, peers []string, out string) error {
	var figures []*Figures
	for _, n := range names {
		f, err := b.measure(ctx, n)
		if err != nil {
			return fmt.Errorf("%s: %w", n, err)
		}
		figures = append(figures, f)
	}
	var failed error
	for _, n := range peers {
		f, err := b.peer(ctx, n)
		switch {
		case errors.Is(err, dom0.ErrPackages):
			// Our own figures are worth having without.
			fmt.Fprintf(os.Stderr, "NOTICE: NO FIGURES OF %s: %v\n", strings.ToUpper(n), err)
		case err != nil:
			failed = errors.Join(failed, fmt.Errorf("%s: %w", n, err))
		default:
			figures = append(figures, f)
		}
	}
	table(os.Stdout, figures)
	j, err := json.MarshalIndent(figures, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	return errors.Join(failed, os.WriteFile(out, append(j, '\n'), 0o644))
}
