// Command run shows a newcomer that it works: it boots a built DNS appliance
// in QEMU, asks it with dig over UDP and TCP, prints the answers and the time
// from QEMU's start to the first answer, and leaves nothing running.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"ampoule/tools/boottest/vm"
	"ampoule/tools/load"
)

func main() {
	machine := flag.String("machine", string(vm.MicroVM), "microvm or q35")
	ram := flag.Int("m", 32, "RAM in MiB")
	name := flag.String("name", "www.example.org", "name to ask for")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: run [flags] dns.elf")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c := vm.Config{Image: flag.Arg(0), Machine: vm.Machine(*machine), RAM: *ram, RNG: true,
		Net: vm.Net{Kind: vm.NetUser, Forwards: []vm.Forward{{Proto: "udp", Port: 53}, {Proto: "tcp", Port: 53}}}}
	if err := run(ctx, c, *name); err != nil {
		fmt.Fprintln(os.Stderr, "run:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, c vm.Config, name string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	fmt.Printf("booting %s (%s) in QEMU: %s, %d MiB\n", c.Image, size(c.Image), c.Machine, c.RAM)
	v, err := vm.Start(ctx, c)
	if err != nil {
		return err
	}
	defer v.Close()
	probe, stop := context.WithTimeout(ctx, 30*time.Second)
	defer stop()
	go func() { // no use in waiting for an answer of a guest that has ended
		select {
		case <-v.Done():
			stop()
		case <-probe.Done():
		}
	}()
	var d net.Dialer
	at, err := load.Probe(probe, d.DialContext, v.Addr("udp", 53), load.DNS(name), 5*time.Millisecond)
	if err != nil {
		return fmt.Errorf("%w\ncommand: %s\nconsole:\n%s", err, v.Command(), v.Console())
	}
	for _, l := range v.Lines() {
		fmt.Println("|", l)
	}
	for _, proto := range []string{"udp", "tcp"} {
		if err := dig(ctx, v.Addr(proto, 53), proto, name); err != nil {
			return fmt.Errorf("%w\nconsole:\n%s", err, v.Console())
		}
	}
	fmt.Printf("\nfirst answer %d ms after QEMU's start\n", at.Sub(v.Started()).Milliseconds())
	return nil
}

// dig asks the appliance and shows what it says.
func dig(ctx context.Context, addr, proto, name string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	args := []string{"@" + host, "-p", port, name, "A", "+noall", "+comments", "+answer", "+norecurse", "+tries=1", "+time=5"}
	if proto == "tcp" {
		args = append(args, "+tcp")
	}
	fmt.Printf("\n$ dig %s\n", strings.Join(args, " "))
	out, err := exec.CommandContext(ctx, "dig", args...).CombinedOutput()
	fmt.Print(strings.TrimSpace(string(out)), "\n")
	if err != nil {
		return fmt.Errorf("dig over %s: %w", proto, err)
	}
	if !strings.Contains(string(out), "status: NOERROR") {
		return fmt.Errorf("dig over %s: the answer is not NOERROR", proto)
	}
	return nil
}

func size(name string) string {
	st, err := os.Stat(name)
	if err != nil {
		return "?"
	}
	return fmt.Sprintf("%.2f MB", float64(st.Size())/1e6)
}
