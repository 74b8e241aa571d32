// Command boottest boots one image in QEMU, shows its console and exits with
// the guest's exit code.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"ampoule/tools/boottest/vm"
)

// Exit codes of the command itself, above those a guest can have.
const (
	exitUsage   = 125
	exitNoCode  = 126
	exitTimeout = 124
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	f := flag.NewFlagSet("boottest", flag.ContinueOnError)
	var c vm.Config
	f.StringVar((*string)(&c.Machine), "machine", "microvm", "microvm or q35")
	f.IntVar(&c.RAM, "m", 64, "RAM in MiB")
	f.StringVar(&c.CPU, "cpu", "max", "QEMU CPU model")
	f.StringVar(&c.Accel, "accel", "tcg", "tcg or kvm")
	f.BoolVar(&c.RNG, "rng", true, "give the guest a virtio-rng device")
	f.StringVar(&c.Append, "append", "", "kernel command line")
	net := f.String("net", "none", "none or user")
	forward := f.String("forward", "", "guest ports to forward from 127.0.0.1, such as udp:7,tcp:7 (implies -net user)")
	limit := f.Duration("timeout", 0, "kill the VM after this long (0: never)")
	verbose := f.Bool("v", false, "show QEMU's command line and the forwarded ports")
	f.Usage = func() {
		fmt.Fprintln(f.Output(), "usage: boottest [flags] IMAGE [-- QEMU-ARGUMENT...]")
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil || f.NArg() == 0 {
		if err == nil {
			f.Usage()
		}
		return exitUsage
	}
	c.Image = f.Arg(0)
	if rest := f.Args()[1:]; len(rest) > 0 {
		if rest[0] == "--" {
			rest = rest[1:]
		}
		c.Args = rest
	}
	c.Tee = func(line string) { fmt.Println(line) }
	if err := network(&c, *net, *forward); err != nil {
		fmt.Fprintln(os.Stderr, "boottest:", err)
		return exitUsage
	}
	return boot(c, *limit, *verbose)
}

func network(c *vm.Config, kind, forward string) error {
	var err error
	if c.Net.Forwards, err = vm.ParseForwards(forward); err != nil {
		return err
	}
	switch {
	case kind == "user" || len(c.Net.Forwards) > 0:
		c.Net.Kind = vm.NetUser
	case kind != "none":
		return fmt.Errorf("-net %s: want none or user", kind)
	}
	return nil
}

func boot(c vm.Config, limit time.Duration, verbose bool) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	v, err := vm.Start(ctx, c)
	if err != nil {
		return ended(ctx, err, limit)
	}
	defer v.Close()
	if verbose {
		fmt.Fprintln(os.Stderr, v.Command())
		for _, f := range c.Net.Forwards {
			fmt.Fprintf(os.Stderr, "%s %d is at %s\n", f.Proto, f.Port, v.Addr(f.Proto, f.Port))
		}
	}
	code, err := v.Wait(context.Background())
	if err != nil || ctx.Err() != nil {
		return ended(ctx, err, limit)
	}
	return code
}

// ended says why there is no exit code of the guest.
func ended(ctx context.Context, err error, limit time.Duration) int {
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		fmt.Fprintf(os.Stderr, "boottest: killed after %v\n", limit)
		return exitTimeout
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "boottest: interrupted")
	default:
		fmt.Fprintln(os.Stderr, err)
	}
	return exitNoCode
}
