// Command xenrig boots one image as a guest of real Xen, for whoever has no Xen
// host: Xen itself runs inside QEMU's emulator. It shows the guest's console and
// where its ports are reached, and ends with the guest.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"

	"ampoule/tools/boottest/vm"
	"ampoule/tools/load"
	"ampoule/tools/xenrig/rig"
)

// settings are the command line.
type settings struct {
	guest   rig.Guest
	image   string
	forward string
	dns     string
	network bool
	verbose bool
	once    bool
}

func main() {
	var s settings
	flag.StringVar(&s.image, "image", "", "the guest: a PVH ELF")
	flag.IntVar(&s.guest.Memory, "memory", 32, "its memory in MiB")
	flag.StringVar(&s.guest.Cmdline, "cmdline", "", "its command line")
	flag.BoolVar(&s.network, "net", true, "give it a network interface")
	flag.StringVar(&s.forward, "forward", "", "its ports to forward from 127.0.0.1, such as udp:53,tcp:53")
	flag.StringVar(&s.dns, "dns", "", "ask it for this name and tell when the first answer came")
	flag.BoolVar(&s.once, "once", false, "with -dns: shut the guest down after the answers")
	flag.BoolVar(&s.verbose, "v", false, "show Xen's and dom0's console too")
	flag.Parse()
	if s.image == "" || flag.NArg() > 0 {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: xenrig -image FILE [flags]")
		flag.PrintDefaults()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, "xenrig:", err)
		os.Exit(1)
	}
}

const name = "guest"

func run(ctx context.Context, s settings) error {
	o, err := options(s)
	if err != nil {
		return err
	}
	fmt.Println("booting Xen in QEMU")
	r, err := rig.Start(ctx, o)
	if err != nil {
		return err
	}
	defer r.Close()
	fmt.Printf("Xen and dom0 are up after %.1f s; creating the guest, %d MiB\n", r.BootTime().Seconds(), s.guest.Memory)
	s.guest.Image = "image"
	if s.network {
		s.guest.VIFs = []rig.VIF{{}}
	}
	start := time.Now()
	if err := r.Create(ctx, name, s.guest); err != nil {
		return err
	}
	for _, f := range o.Forwards {
		fmt.Printf("%s is at %s\n", f, r.Addr(f.Proto, f.Port, f.Guest))
	}
	show, end := context.WithCancel(ctx)
	defer end()
	go r.Stream(show, 0, printer("| "), "tail", "-n", "+1", "-F", rig.LogPath(name))
	if s.dns != "" {
		if err := ask(ctx, r, s.dns, start); err != nil {
			return err
		}
		if s.once {
			if _, err := r.XL(ctx, "shutdown", "-w", name); err != nil {
				return err
			}
		}
	}
	if err := r.WaitGone(ctx, name); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	if ctx.Err() == nil {
		time.Sleep(500 * time.Millisecond) // for the end of its console
		fmt.Println("the guest has ended")
	}
	return nil
}

func options(s settings) (rig.Options, error) {
	o := rig.Options{Images: map[string]string{"image": s.image}, Say: func(m string) { fmt.Println(m) }}
	if s.verbose {
		o.Tee = func(l string) { fmt.Println("xen|", l) }
	}
	var err error
	if o.Forwards, err = vm.ParseForwards(s.forward); err != nil {
		return o, err
	}
	if s.dns != "" && s.forward == "" {
		o.Forwards = []vm.Forward{{Proto: "udp", Port: 53}, {Proto: "tcp", Port: 53}}
	}
	return o, nil
}

// ask shows that the guest answers DNS queries over UDP and TCP, and what.
func ask(ctx context.Context, r *rig.Rig, domain string, start time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	go func() { // no use in waiting for an answer of a guest that has ended
		if r.WaitGone(ctx, name) == nil {
			cancel()
		}
	}()
	var d net.Dialer
	at, err := load.Probe(ctx, d.DialContext, r.Addr("udp", 53, ""), load.DNS(domain), 20*time.Millisecond)
	if err != nil {
		return r.Explain(err)
	}
	fmt.Printf("first answer %d ms after xl create began\n", at.Sub(start).Milliseconds())
	for _, proto := range []string{"udp", "tcp"} {
		query := new(dns.Msg).SetQuestion(dns.Fqdn(domain), dns.TypeA)
		client := dns.Client{Net: proto, Timeout: 5 * time.Second}
		answer, took, err := client.ExchangeContext(ctx, query, r.Addr(proto, 53, ""))
		if err != nil {
			return r.Explain(fmt.Errorf("%s over %s: %w", domain, proto, err))
		}
		fmt.Printf("over %s, %s, in %d ms:\n", proto, dns.RcodeToString[answer.Rcode], took.Milliseconds())
		for _, rr := range answer.Answer {
			fmt.Println("  ", rr)
		}
		if answer.Rcode != dns.RcodeSuccess || len(answer.Answer) == 0 {
			return fmt.Errorf("%s over %s: no good answer", domain, proto)
		}
	}
	return nil
}

// printer prints whole lines behind a mark.
func printer(mark string) func([]byte) {
	var partial string
	return func(b []byte) {
		partial += strings.ReplaceAll(string(b), "\r", "")
		for {
			line, rest, ok := strings.Cut(partial, "\n")
			if !ok {
				return
			}
			fmt.Println(mark + line)
			partial = rest
		}
	}
}
