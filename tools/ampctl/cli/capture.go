package cli

import (
	"context"
	"fmt"
	"os"
	"time"

	"ampoule/tools/ampctl/client"

	"github.com/spf13/cobra"
)

const captureLong = `Capture packets for a while and save them as a pcap file, for tshark or Wireshark;
- is the standard output. Packets of the management plane itself are left out. An
interrupt (Ctrl-C) ends it early and keeps what there is. The file is for its owner
alone, and one that is there is not overwritten.`

func (a *app) captureCommand() *cobra.Command {
	var o client.Capture
	var replace bool
	c := &cobra.Command{Use: "capture FILE", Short: "capture packets to a pcap file", Long: captureLong, Args: cobra.ExactArgs(1),
		Example: "  ampctl capture dns.pcap --port 53 --for 30s\n  ampctl capture - | tshark -r -"}
	f := c.Flags()
	f.DurationVar(&o.For, "for", 10*time.Second, "how `long`, from 1s to 10m")
	f.IntVar(&o.Port, "port", 0, "only this `port` of TCP or UDP")
	f.IntVar(&o.Bytes, "bytes", 0, "`size` of the capture, up to 1048576 (default 262144)")
	f.IntVar(&o.Snap, "snap", 0, "`bytes` of each frame (default 256)")
	f.BoolVar(&replace, "replace", false, "end a capture that there is already")
	c.RunE = func(c *cobra.Command, args []string) error {
		if o.For < time.Second || o.For%time.Second != 0 {
			return usage("--for %s: must be whole seconds, at least one", o.For)
		}
		if _, err := os.Lstat(args[0]); err == nil {
			return local(fmt.Errorf("%s is there already; nothing is overwritten", args[0]))
		}
		t, close, err := a.one()
		if err != nil {
			return err
		}
		defer close()
		pcap, lost, err := a.record(c.Context(), t, o, replace)
		if err != nil {
			return a.failed(t, err)
		}
		if lost > 0 {
			fmt.Fprintf(a.Err, "ampctl: %s: there was no room for %d frames; --bytes makes more, --port and --snap need less\n", t.name, lost)
		}
		return a.save(args[0], pcap)
	}
	return c
}

// record makes a capture and fetches it. It leaves none behind.
func (a *app) record(ctx context.Context, t *target, o client.Capture, replace bool) (pcap []byte, lost uint64, err error) {
	if !replace {
		_, _, err := t.Captured(ctx)
		if e, ok := err.(*client.Error); !ok || e.Code != "no-capture" {
			if err == nil {
				err = &client.Error{Class: client.Conflict, Code: "capture-busy", Sentence: "There is a capture already, yours or another operator's; --replace ends it."}
			}
			return nil, 0, err
		}
	}
	after := context.WithoutCancel(ctx) // an interrupt keeps what there is
	if err := t.StartCapture(ctx, o); err != nil {
		if e, ok := err.(*client.Error); ok && e.Sent {
			_ = t.EndCapture(after) // it may have begun
		}
		return nil, 0, err
	}
	line := &progress{app: a}
	for end := time.Now().Add(o.For); time.Now().Before(end); {
		rest := time.Until(end)
		line.show(fmt.Sprintf("%s: capturing, %s left", t.name, rest.Round(time.Second)))
		if !pause(ctx, min(rest, time.Second)) {
			break
		}
	}
	line.clear()
	pcap, lost, err = t.Captured(after)
	if e := t.EndCapture(after); err == nil && e != nil {
		fmt.Fprintf(a.Err, "ampctl: %s: the capture could not be ended: %v\n", t.name, e)
	}
	return pcap, lost, err
}
