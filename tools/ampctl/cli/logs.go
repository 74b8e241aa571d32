package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"ampoule/tools/ampctl/client"

	"github.com/spf13/cobra"
)

func (a *app) logsCommand() *cobra.Command {
	var lines int
	var follow bool
	var every time.Duration
	c := &cobra.Command{Use: "logs", Short: "the last lines of the log, and those that come", Args: cobra.NoArgs}
	c.Flags().IntVarP(&lines, "lines", "n", 100, "`how many`, up to 10000; the appliance keeps some KiB")
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on, until interrupted")
	c.Flags().DurationVar(&every, "every", time.Second, "`time` between two looks with --follow")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if follow {
			return a.follow(c.Context(), lines, max(every, 10*time.Millisecond))
		}
		return a.each(c.Context(), nil, func(ctx context.Context, t *target, _ bool) (answer, error) {
			b, err := t.Log(ctx, lines)
			return answer{text: b, json: split(b)}, err
		})
	}
	return c
}

// split are the lines of a log.
func split(b []byte) []string {
	text := strings.TrimSuffix(string(b), "\n")
	if text == "" {
		return []string{}
	}
	return strings.Split(text, "\n")
}

// window is how many lines are looked at again for those that are new: more than an
// appliance keeps.
const window = 10000

// follow shows the logs of all appliances as they grow, until ctx ends. An appliance
// that goes away is asked on: it may be starting anew.
func (a *app) follow(ctx context.Context, lines int, every time.Duration) error {
	all, close, err := a.targets()
	if err != nil {
		return err
	}
	defer close()
	f := &follower{app: a, many: len(all) > 1}
	var wait sync.WaitGroup
	for _, t := range all {
		wait.Go(func() { f.one(ctx, t, lines, every) })
	}
	wait.Wait()
	if f.class != 0 {
		return ended(f.class)
	}
	return nil
}

// follower writes lines of several logs.
type follower struct {
	*app
	many  bool
	mu    sync.Mutex // guards the output, and class
	class client.Class
}

// one follows one log. It ends with ctx, or when going on is of no use.
func (f *follower) one(ctx context.Context, t *target, lines int, every time.Duration) {
	var before []string
	lost := false
	for first := true; ; {
		b, err := t.Log(ctx, window)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			now := split(b)
			fresh, gap := grown(before, now)
			if first {
				fresh, gap, first = now[max(0, len(now)-lines):], false, false
			}
			if gap {
				f.say(t, "lines may be missing: it started anew, or wrote more than it keeps")
			}
			f.write(t, fresh)
			before, lost = now, false
		case !passing(err):
			f.fail(t, err)
			return
		case first: // what cannot be asked once is not waited for
			f.fail(t, err)
			return
		case !lost:
			f.say(t, err.Error()+"; asking on")
			lost = true
		}
		if !pause(ctx, every) {
			return
		}
	}
}

// grown returns the lines that are in now and not in before, where both are the ends
// of one log at two times; gap: they have nothing in common, so lines are missing.
func grown(before, now []string) (fresh []string, gap bool) {
	for n := range len(now) {
		old := now[:len(now)-n]
		if k := min(len(old), len(before)); k > 0 && slices.Equal(old[len(old)-k:], before[len(before)-k:]) {
			return now[len(now)-n:], false
		}
	}
	return now, len(before) > 0
}

func (f *follower) write(t *target, lines []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, line := range lines {
		switch {
		case f.output == "json":
			f.json(map[string]any{"appliance": t.name, "line": line})
		case f.many:
			fmt.Fprintf(f.out, "%s: %s\n", t.name, clean(line))
		default:
			fmt.Fprintln(f.out, clean(line))
		}
	}
}

func (f *follower) say(t *target, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fmt.Fprintf(f.Err, "ampctl: %s: %s\n", t.name, clean(text))
}

func (f *follower) fail(t *target, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.class = max(f.class, f.tell(t.name, err))
}

func (a *app) levelCommand() *cobra.Command {
	return &cobra.Command{Use: "log-level [debug|info|warn|error]", Short: "show or change the lowest level on the console", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return []string{"debug", "info", "warn", "error"}, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			return a.each(c.Context(), []string{"LEVEL"}, func(ctx context.Context, t *target, _ bool) (answer, error) {
				level, err := "", error(nil)
				if len(args) == 0 {
					level, err = t.Level(ctx)
				} else {
					level, err = t.SetLevel(ctx, args[0])
				}
				return answer{rows: [][]string{{level}}, json: level}, err
			})
		}}
}
