package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ampoule/tools/ampctl/client"

	"github.com/spf13/cobra"
)

func (a *app) certsCommand() *cobra.Command {
	return group("certs", "certificates, step by step on one appliance; rotate does it on many",
		a.listCommand(), a.stagedCommand(), a.stageCommand(), a.validateCommand(), a.commitCommand(), a.abortCommand(), a.rollbackCommand())
}

func (a *app) listCommand() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "the generation in force", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			header := []string{"GENERATION", "SLOT", "LEFT", "KEY", "SHA-256", "HOSTS"}
			return a.each(c.Context(), header, func(ctx context.Context, t *target, _ bool) (answer, error) {
				g, err := t.Certificates(ctx)
				return a.generation(g), err
			})
		}}
}

// generation shows one.
func (a *app) generation(g *client.Generation) answer {
	out := answer{json: compact(g.Raw)}
	for _, x := range g.Certificates {
		out.rows = append(out.rows, []string{fmt.Sprint(g.Number), x.Slot, left(a.Now(), x.ChainNotAfter), x.Key, short(x.SHA256), strings.Join(x.Hosts, " ")})
	}
	return out
}

// short is the beginning of a SHA-256.
func short(s string) string { return s[:min(16, len(s))] }

func (a *app) stagedCommand() *cobra.Command {
	return &cobra.Command{Use: "staged", Short: "what is staged, by whom, until when", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.each(c.Context(), nil, func(ctx context.Context, t *target, _ bool) (answer, error) {
				s, err := t.Staged(ctx)
				return transaction(s), err
			})
		}}
}

// transaction shows what is staged.
func transaction(s *client.Staged) answer {
	text := "nothing is staged\n"
	if s.Who != "" {
		text = fmt.Sprintf("staged by %s until %s, in the place of generation %d:\n", s.Who, at(s.Until), s.Generation)
	}
	for _, e := range s.Staged {
		text += "  " + client.Change{Entry: e}.String() + "\n"
	}
	return answer{text: []byte(text), json: compact(s.Raw)}
}

func (a *app) stageCommand() *cobra.Command {
	var flags changeFlags
	c := &cobra.Command{Use: "stage [SLOT=FILE]...", Short: "stage certificates, each a PEM file with chain and key",
		Long: "Each file has the chain and its private key, in any order; - is the standard input.\nWhat is staged is forgotten after ten minutes."}
	flags.add(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		changes, err := a.changes(args, &flags)
		if err != nil {
			return err
		}
		return a.onOne(c, func(ctx context.Context, t *target) (answer, error) {
			var s *client.Staged
			for _, change := range changes {
				if s, err = t.Stage(ctx, change); err != nil {
					return answer{}, err
				}
			}
			out := transaction(s)
			out.text = fmt.Appendf(out.text, "to put it in force: ampctl certs commit %d\n", s.Generation)
			return out, nil
		})
	}
	return c
}

// onOne asks the only appliance that the command line picks.
func (a *app) onOne(c *cobra.Command, ask func(context.Context, *target) (answer, error)) error {
	t, close, err := a.one()
	if err != nil {
		return err
	}
	defer close()
	out, err := ask(c.Context(), t)
	if err != nil {
		return a.failed(t, err)
	}
	if a.output == "json" {
		a.json(map[string]any{"appliance": t.name, "result": out.json})
		return nil
	}
	a.out.Write([]byte(clean(string(out.text))))
	return nil
}

func (a *app) validateCommand() *cobra.Command {
	return &cobra.Command{Use: "validate", Short: "what would a commit be refused for?", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.onOne(c, func(ctx context.Context, t *target) (answer, error) {
				s, err := t.Validate(ctx)
				if err != nil {
					return answer{}, err
				}
				out := transaction(s)
				out.text = append(out.text, "it can be committed\n"...)
				return out, nil
			})
		}}
}

func (a *app) commitCommand() *cobra.Command {
	return &cobra.Command{Use: "commit GENERATION", Short: "put what is staged in the place of that generation", Args: cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, args []string) error {
			return a.replace(c, args[0], (*client.Client).Commit)
		}}
}

// replace puts something in the place of a generation.
func (a *app) replace(c *cobra.Command, generation string, f func(*client.Client, context.Context, uint64) (*client.Generation, error)) error {
	base, err := strconv.ParseUint(generation, 10, 64)
	if err != nil {
		return usage("a generation is a number, as certs list shows it")
	}
	return a.onOne(c, func(ctx context.Context, t *target) (answer, error) {
		g, err := f(t.Client, ctx, base)
		if err != nil {
			return answer{}, err
		}
		return replaced(g), nil
	})
}

// replaced shows what a commit or rollback has made.
func replaced(g *client.Generation) answer {
	text := fmt.Sprintf("generation %d is in force", g.Number)
	if !g.Persisted {
		text += "; it is not persisted: a restart forgets it"
	}
	return answer{text: []byte(text + "\n"), json: compact(g.Raw)}
}

func (a *app) abortCommand() *cobra.Command {
	return &cobra.Command{Use: "abort", Short: "forget what is staged, whoever did it", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.each(c.Context(), nil, func(ctx context.Context, t *target, _ bool) (answer, error) {
				return answer{text: []byte("aborted\n"), json: "aborted"}, t.Abort(ctx)
			})
		}}
}

func (a *app) rollbackCommand() *cobra.Command {
	var current bool
	c := &cobra.Command{Use: "rollback GENERATION", Short: "put the generation before in the place of that one, as a new one",
		Long: "Put the content of the generation before in force again, in the place of\nGENERATION. With --current it is whatever is in force, on one appliance or many.",
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: cobra.NoFileCompletions}
	c.Flags().BoolVar(&current, "current", false, "in the place of whatever is in force; then with --all or several -a too")
	c.RunE = func(c *cobra.Command, args []string) error {
		switch {
		case current == (len(args) == 1):
			return usage("rollback takes the GENERATION in force, as certs list shows it, or --current")
		case !current:
			return a.replace(c, args[0], (*client.Client).Rollback)
		}
		return a.each(c.Context(), nil, func(ctx context.Context, t *target, _ bool) (answer, error) {
			g, err := t.Certificates(ctx)
			if err == nil {
				g, err = t.Rollback(ctx, g.Number)
			}
			if err != nil {
				return answer{}, err
			}
			return replaced(g), nil
		})
	}
	return c
}

// slotsOf are the slots of a change, for messages.
func slotsOf(changes []client.Change) string {
	var all []string
	for _, c := range changes {
		all = append(all, c.String())
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}
