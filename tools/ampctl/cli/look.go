package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"ampoule/tools/ampctl/client"
	"ampoule/tools/ampctl/keys"

	"github.com/spf13/cobra"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{Use: "status", Short: "what runs, since when, and how it is", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			header := []string{"HOSTNAME", "KIND", "READY", "GENERATION", "PERSISTED", "UP", "BUILD", "YOU"}
			return a.each(c.Context(), header, func(ctx context.Context, t *target, many bool) (answer, error) {
				s, err := t.Status(ctx)
				if err != nil {
					return answer{}, err
				}
				if many {
					return answer{rows: [][]string{statusRow(s)}, json: compact(s.Raw)}, nil
				}
				return answer{text: statusText(s), json: compact(s.Raw)}, nil
			})
		}}
}

func statusRow(s *client.Status) []string {
	ready := "yes"
	if !s.Ready {
		ready = "no: " + s.Missing
	}
	return []string{s.Hostname, s.Appliance, ready, fmt.Sprint(s.Generation), yes(s.Persisted), up(s), s.Build, s.You + " (" + s.Role + ")"}
}

func up(s *client.Status) string { return (time.Duration(s.UptimeSeconds) * time.Second).String() }

func yes(v bool) string {
	if v {
		return "yes"
	}
	return "no"
}

// statusText is a status in full.
func statusText(s *client.Status) []byte {
	persisted := yes(s.Persisted)
	if s.Notice != "" {
		persisted += " (" + s.Notice + ")"
	}
	var b bytes.Buffer
	for _, line := range [][2]string{
		{"hostname", s.Hostname}, {"appliance", s.Appliance + " on " + s.Platform}, {"ready", statusRow(s)[2]},
		{"generation", fmt.Sprintf("%d since %s", s.Generation, at(s.GenerationSince))}, {"persisted", persisted},
		{"up", up(s)}, {"its clock", at(s.Now)},
		{"memory", fmt.Sprintf("%d KiB heap, %d KiB of the runtime, %d KiB in all", s.Memory.Heap>>10, s.Memory.System>>10, s.Memory.RAM>>10)},
		{"build", s.Build}, {"configuration", s.Configuration}, {"go", s.Go}, {"you", s.You + ", role " + s.Role},
	} {
		fmt.Fprintf(&b, "%-14s %s\n", line[0], line[1])
	}
	return b.Bytes()
}

func (a *app) healthCommand() *cobra.Command {
	var wait time.Duration
	c := &cobra.Command{Use: "health", Short: "whether it answers and is ready; exit code 8 if it is not", Args: cobra.NoArgs}
	c.Flags().DurationVar(&wait, "wait", 0, "keep asking for that `time` until it is ready, or there at all")
	c.RunE = func(c *cobra.Command, _ []string) error {
		return a.each(c.Context(), nil, func(ctx context.Context, t *target, _ bool) (answer, error) {
			end := time.Now().Add(wait)
			for {
				err := t.Health(ctx)
				if err == nil {
					err = t.Ready(ctx)
				}
				if err == nil {
					return answer{text: []byte("ready\n"), json: "ready"}, nil
				}
				if left := time.Until(end); left <= 0 || !passing(err) || !pause(ctx, min(left, time.Second)) {
					return answer{}, err
				}
			}
		})
	}
	return c
}

// passing says whether a failure may pass while a VM starts.
func passing(err error) bool {
	e, ok := err.(*client.Error)
	return ok && (e.Class == client.Unreachable || e.Class == client.Failed)
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func (a *app) metricsCommand() *cobra.Command {
	return &cobra.Command{Use: "metrics [PREFIX]...", Short: "metrics for Prometheus, those whose names begin so",
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, prefixes []string) error {
			return a.each(c.Context(), nil, func(ctx context.Context, t *target, _ bool) (answer, error) {
				b, err := t.Metrics(ctx)
				if err != nil {
					return answer{}, err
				}
				b = families(b, prefixes)
				return answer{text: b, json: string(b)}, nil
			})
		}}
}

// families are the lines of metrics whose names begin with one of prefixes; all if
// there is none.
func families(text []byte, prefixes []string) []byte {
	if len(prefixes) == 0 {
		return text
	}
	var out []byte
	for line := range bytes.Lines(text) {
		name := strings.TrimPrefix(strings.TrimPrefix(string(line), "# HELP "), "# TYPE ")
		for _, p := range prefixes {
			if strings.HasPrefix(name, p) {
				out = append(out, line...)
				break
			}
		}
	}
	return out
}

func (a *app) crashCommand() *cobra.Command {
	return &cobra.Command{Use: "crash", Short: "what the last run that crashed said, where appliances keep it", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.each(c.Context(), nil, func(ctx context.Context, t *target, _ bool) (answer, error) {
				raw, err := t.Crash(ctx)
				if err != nil {
					return answer{}, err
				}
				return answer{text: record(raw), json: compact(raw)}, nil
			})
		}}
}

// record is a flat object of JSON as lines: names and values, in the order of names;
// a value of several lines, such as a trace, is below its name.
func record(raw json.RawMessage) []byte {
	var all map[string]any
	if json.Unmarshal(raw, &all) != nil {
		return raw
	}
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(all)) {
		switch v := all[name].(type) {
		case string:
			if strings.Contains(v, "\n") {
				fmt.Fprintf(&b, "%s:\n%s\n", name, strings.TrimRight(v, "\n"))
				continue
			}
			fmt.Fprintf(&b, "%-14s %s\n", name, v)
		case float64:
			fmt.Fprintf(&b, "%-14s %.0f\n", name, v)
		default:
			fmt.Fprintf(&b, "%-14s %v\n", name, v)
		}
	}
	return b.Bytes()
}

func (a *app) profileCommand() *cobra.Command {
	return &cobra.Command{Use: "profile heap|goroutine FILE", Short: "save a profile, for go tool pprof; - is the standard output",
		Args: cobra.ExactArgs(2),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return []string{"heap", "goroutine"}, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveDefault
		},
		RunE: func(c *cobra.Command, args []string) error {
			t, close, err := a.one()
			if err != nil {
				return err
			}
			defer close()
			b, err := t.Profile(c.Context(), args[0])
			if err != nil {
				return a.failed(t, err)
			}
			return a.save(args[1], b)
		}}
}

// failed tells why the only appliance failed.
func (a *app) failed(t *target, err error) error { return ended(a.tell(t.name, err)) }

// save writes a file that is not there yet, for its owner alone: captures and
// profiles are nobody else's business.
func (a *app) save(name string, b []byte) error {
	if name == "-" {
		_, err := a.out.Write(b)
		return err
	}
	if err := keys.WriteNew(name, b, keys.Secret); err != nil {
		return local(err)
	}
	return nil
}

// source reads a file of which there is no more than most bytes; - is the standard
// input.
func (a *app) source(name string, most int) ([]byte, error) {
	in := a.In
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, local(err)
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, int64(most)+1))
	if err == nil && len(b) > most {
		err = fmt.Errorf("%s has more than %d bytes", name, most)
	}
	if err != nil {
		return nil, local(err)
	}
	return b, nil
}
