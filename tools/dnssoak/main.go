// Command dnssoak puts the DNS appliance under load for a minute and says what it
// made of it: dnsperf at full rate, or with -flood queries from addresses that are
// not the sender's while clients that behave ask too. It fails when the guest lost
// a datagram, an answer was wrong, a client got none, or memory grew.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"ampoule/tools/boottest/vm"
	"ampoule/tools/dnssoak/siege"
)

func main() {
	var o siege.Options
	flag.StringVar(&o.Image, "image", "dist/dns-virtio/dns.elf", "the appliance, with the zones of configs/")
	flag.StringVar((*string)(&o.Machine), "machine", string(vm.MicroVM), "microvm or q35")
	flag.IntVar(&o.RAM, "m", 16, "RAM in MiB")
	flag.DurationVar(&o.For, "for", time.Minute, "how long the load is on")
	flag.IntVar(&o.Flood, "flood", 0, "frames a second of a flood, for an image with rate limiting and cookies; 0: dnsperf at full rate")
	flag.IntVar(&o.Rate, "rate", 10, "the image's dns.rrl.rate")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if o.For < 2*time.Second {
		fmt.Fprintln(os.Stderr, "dnssoak: -for must be two seconds at least")
		os.Exit(2)
	}
	r, err := siege.Run(ctx, o)
	if err == nil {
		fmt.Print(r)
		err = r.Check()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "dnssoak:", err)
		os.Exit(1)
	}
}
