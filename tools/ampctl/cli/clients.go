package cli

import (
	"context"
	"slices"

	"ampoule/libos/mgmt/certs"

	"github.com/spf13/cobra"
)

// clientsCommand has what is about the clients of appliances. Changes are made as
// rotate makes them.
func (a *app) clientsCommand() *cobra.Command {
	return group("clients", "authorities that clients are checked with, and management clients that are revoked",
		a.clientsListCommand(), a.revokeCommand(), a.restoreCommand(), a.trustCommand(), a.distrustCommand())
}

func (a *app) clientsListCommand() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "authorities of clients, and who is revoked", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.each(c.Context(), []string{"WHAT", "SLOT", "LEFT", "SHA-256", "SUBJECT"}, func(ctx context.Context, t *target, _ bool) (answer, error) {
				g, err := t.Certificates(ctx)
				if err != nil {
					return answer{}, err
				}
				var rows [][]string
				for _, b := range g.Authorities {
					for _, x := range b.Certificates {
						rows = append(rows, []string{"authority", b.Slot, left(a.Now(), x.NotAfter), x.SHA256, x.Subject})
					}
				}
				for _, sum := range g.Revoked {
					rows = append(rows, []string{"revoked", "", "", sum, ""})
				}
				return answer{rows: rows, json: map[string]any{"generation": g.Number,
					"authorities": slices.Concat(g.Authorities), "revoked": g.Revoked}}, nil
			})
		}}
}

// changing makes a command that makes one change for each of its arguments.
func (a *app) changing(use, short string, args cobra.PositionalArgs, read func(args []string) (changeFlags, error)) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: args}
	run := a.rotateFlags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		flags, err := read(args)
		if err != nil {
			return err
		}
		changes, err := a.changes(nil, &flags)
		if err != nil {
			return err
		}
		return run(c, changes)
	}
	return c
}

func (a *app) revokeCommand() *cobra.Command {
	return a.changing("revoke FILE|SHA256...", "a management client, by its certificate, is not welcome any more", cobra.MinimumNArgs(1),
		func(args []string) (changeFlags, error) { return changeFlags{revoke: args}, nil })
}

func (a *app) restoreCommand() *cobra.Command {
	return a.changing("restore FILE|SHA256...", "it is again", cobra.MinimumNArgs(1),
		func(args []string) (changeFlags, error) { return changeFlags{restore: args}, nil })
}

func (a *app) trustCommand() *cobra.Command {
	slot := certs.Management
	c := a.changing("trust FILE", "replace the authorities that clients of a slot are checked with", cobra.ExactArgs(1),
		func(args []string) (changeFlags, error) {
			return changeFlags{authorities: []string{slot + "=" + args[0]}}, nil
		})
	c.Flags().StringVar(&slot, "slot", slot, "the `slot`; management is the plane's own")
	return c
}

func (a *app) distrustCommand() *cobra.Command {
	return a.changing("distrust SLOT...", "the authorities of a slot go", cobra.MinimumNArgs(1),
		func(args []string) (changeFlags, error) { return changeFlags{removeAuthorities: args}, nil })
}
