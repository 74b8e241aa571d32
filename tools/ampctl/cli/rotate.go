package cli

import (
	"context"
	"fmt"
	"strings"

	"ampoule/tools/ampctl/change"
	"ampoule/tools/ampctl/client"

	"github.com/spf13/cobra"
)

const rotateLong = `Change certificates on one appliance or many: all of them, or none.

All stage the change and validate it; if one refuses, nothing has changed anywhere.
Then all commit. If a commit fails those that were made are rolled back, unless
--keep-going. The report says what became of each appliance:

  committed    the change is in force
  unchanged    it is not
  rolled-back  it was, and the old content is in force again, as a new generation
  stuck        it is in force, and could not be rolled back: the reason is beside it
  unknown      it went away while it committed
  validated    --dry-run: it would be accepted

Each FILE has the chain and its private key as PEM, in any order; - is the standard
input. SLOT is a name of the appliance's configuration; management is the plane's own.
An interrupt (Ctrl-C) is obeyed until the first commit, and not after it; a second one
ends everything at once, and may leave appliances different.`

func (a *app) rotateCommand() *cobra.Command {
	var flags changeFlags
	c := &cobra.Command{Use: "rotate [SLOT=FILE]...", Short: "change certificates on many appliances, on all or on none", Long: rotateLong,
		Example: "  ampctl -c fleet.toml rotate --all dot=bundle.pem\n  ampctl rotate -a 'edge*' dot=dot.pem management=own.pem --dry-run"}
	flags.add(c)
	run := a.rotateFlags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		changes, err := a.changes(args, &flags)
		if err != nil {
			return err
		}
		return run(c, changes)
	}
	return c
}

// rotateFlags adds the flags of a change on many appliances, and returns what makes
// it.
func (a *app) rotateFlags(c *cobra.Command) func(*cobra.Command, []client.Change) error {
	var o change.Options
	c.Flags().BoolVar(&o.Trial, "dry-run", false, "stage and validate, then abort")
	c.Flags().BoolVar(&o.Keep, "keep-going", false, "what is committed stays when another commit fails")
	c.Flags().BoolVar(&o.Seize, "abort-others", false, "abort a transaction that is under way first, whosever it is")
	c.Flags().IntVar(&o.Parallel, "parallel", parallel, "`appliances` asked at a time")
	return func(c *cobra.Command, changes []client.Change) error {
		all, close, err := a.targets()
		if err != nil {
			return err
		}
		defer close()
		var targets []change.Target
		for _, t := range all {
			targets = append(targets, change.Target{Name: t.name, Client: t.Client})
		}
		line := &progress{app: a, what: slotsOf(changes)}
		o.Progress = line.step
		stop := context.AfterFunc(c.Context(), func() {
			fmt.Fprint(a.Err, "\nampctl: interrupted; what is under way is ended first, and again ends it at once\n")
		})
		defer stop()
		reports := change.Run(c.Context(), targets, changes, o)
		line.clear()
		return a.report(reports)
	}
}

// report shows what became of a change.
func (a *app) report(all []change.Report) error {
	var rows [][]string
	for _, r := range all {
		if a.output == "json" {
			a.json(r)
			continue
		}
		why := strings.Join(r.Notes, "; ")
		if r.Problem != nil {
			why = strings.TrimSuffix(r.Problem.Error()+"; "+why, "; ")
		}
		rows = append(rows, []string{r.Appliance, string(r.Outcome), generations(r.Before, r.After), why})
	}
	if a.output != "json" {
		table(a.out, []string{"APPLIANCE", "OUTCOME", "GENERATION", ""}, rows)
	}
	if class := change.Class(all); class != 0 {
		return ended(class)
	}
	return nil
}

func generations(before, after *uint64) string {
	switch {
	case before == nil:
		return "?"
	case after == nil:
		return fmt.Sprintf("%d -> ?", *before)
	case *before == *after:
		return fmt.Sprint(*before)
	}
	return fmt.Sprintf("%d -> %d", *before, *after)
}

// progress is a line on the terminal that is written over and over.
type progress struct {
	*app
	what  string
	width int
}

func (p *progress) step(step string, done, of int) {
	text := fmt.Sprintf("%s: %s %d of %d", p.what, step, done, of)
	p.show(text[:min(len(text), 78)])
}

func (p *progress) show(text string) {
	if p.Terminal {
		fmt.Fprintf(p.Err, "\r%-*s", p.width, clean(text))
		p.width = max(p.width, len(text))
	}
}

// clear takes the line away.
func (p *progress) clear() {
	if p.Terminal && p.width > 0 {
		fmt.Fprintf(p.Err, "\r%*s\r", p.width, "")
	}
}
