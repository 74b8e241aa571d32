package change

import (
	"context"
	"slices"
	"time"

	"ampoule/libos/mgmt/certs"
	"ampoule/tools/ampctl/client"
)

// noTime has package certs leave dates alone.
var noTime time.Time

// one is the change on one appliance.
type one struct {
	Target
	changes []client.Change
	options Options
	report  Report

	you   string // who the appliance says we are
	base  uint64 // generation that is to be replaced
	begun bool   // something may be staged
}

func (a *one) fail(err error) {
	if err != nil && a.report.Problem == nil {
		a.report.Problem = asError(err)
	}
}

func (a *one) note(text string) { a.report.Notes = append(a.report.Notes, text) }

// prepare stages the change and has it validated.
func (a *one) prepare(ctx context.Context) error {
	status, err := a.Client.Status(ctx)
	if err != nil {
		return err
	}
	a.you = status.You
	if err := a.reachable(); err != nil {
		return err
	}
	if err := a.vacant(ctx); err != nil {
		return err
	}
	g, err := a.Client.Certificates(ctx)
	if err != nil {
		return err
	}
	a.base, a.report.Before, a.report.After = g.Number, &g.Number, &g.Number
	for _, c := range a.changes {
		a.begun = true
		if _, err := a.Client.Stage(ctx, c); err != nil {
			return err
		}
	}
	s, err := a.Client.Validate(ctx)
	if err != nil {
		return err
	}
	if !a.exactly(s.Staged) {
		return problem(client.Conflict, "transaction-busy", "Something else was staged meanwhile, in your name.")
	}
	if a.options.Trial {
		a.report.Outcome = Validated
	}
	return nil
}

// reachable refuses a certificate of the plane's own that this client would not
// accept: it could neither see what became of the commit nor take it back.
func (a *one) reachable() error {
	for _, c := range a.changes {
		if c.Name != certs.Management {
			continue
		}
		if chain := leaf(c); chain != nil {
			if err := a.Client.Trusts(chain); err != nil {
				e := *asError(err)
				e.Code, e.Slot = "would-lock-you-out", c.Name
				e.Sentence = "You could not connect after the commit. Put the CA into your CA file, or the SHA-256 into the fleet file, first. " + e.Sentence
				return &e
			}
		}
	}
	return nil
}

// vacant sees that no transaction is under way.
func (a *one) vacant(ctx context.Context) error {
	s, err := a.Client.Staged(ctx)
	if err != nil || s.Who == "" {
		return err
	}
	if !a.options.Seize {
		return problem(client.Conflict, "transaction-busy", "A transaction of %s is under way until %s; certs staged shows it, certs abort ends it.",
			s.Who, s.Until.UTC().Format(time.RFC3339))
	}
	a.note("a transaction of " + s.Who + " was aborted")
	return a.Client.Abort(ctx)
}

// exactly says whether what is staged are our changes.
func (a *one) exactly(staged []client.Entry) bool {
	if len(staged) != len(a.changes) {
		return false
	}
	for _, c := range a.changes {
		if !slices.Contains(staged, c.Entry) {
			return false
		}
	}
	return true
}

// abort has the appliance forget what was staged here.
func (a *one) abort(ctx context.Context) {
	if !a.begun {
		return
	}
	s, err := a.Client.Staged(ctx)
	if err == nil && s.Who == a.you && s.Who != "" {
		err = a.Client.Abort(ctx)
	}
	if err != nil {
		a.note("what is staged could not be aborted, and ends by itself ten minutes later: " + asError(err).Sentence)
	}
}

// commit commits. The error says why the change is not in force, or not known to be.
func (a *one) commit(ctx context.Context) error {
	g, err := a.Client.Commit(ctx, a.base)
	if err == nil {
		a.made(g)
		return nil
	}
	e := asError(err)
	if !e.Sent {
		a.abort(ctx)
		return e
	}
	g, settled := a.lookUp(ctx)
	switch {
	case g == nil || g.Number == a.base && !settled:
		a.report.Outcome, a.report.After = Unknown, nil
		a.note("whether it has committed is not known; certs list shows it when it is back")
		return e
	case g.Number == a.base:
		return e
	case g.Who != a.you || !a.inForce(g):
		a.report.After = &g.Number
		return problem(client.Conflict, "generation-conflict", "The generation is %d, made by %s, not here.", g.Number, g.Who)
	}
	a.made(g)
	a.note("its answer was lost, but it has committed")
	return nil
}

// lookUp asks for the generation in force after the answer to a commit was lost; nil:
// it can't be had. Aborting first makes sure that the commit, if it is still on its
// way, comes to nothing: settled says that nothing of ours is staged any more.
func (a *one) lookUp(ctx context.Context) (g *client.Generation, settled bool) {
	for i := range lookUps {
		if i > 0 {
			time.Sleep(lookUpPause)
		}
		s, err := a.Client.Staged(ctx)
		if err == nil && s.Who == a.you {
			err = a.Client.Abort(ctx)
		}
		now, asked := a.Client.Certificates(ctx)
		if asked == nil {
			g = now
		}
		if err == nil && asked == nil {
			return g, true
		}
	}
	return g, false
}

// How often, and how far apart, an appliance is asked what became of a commit.
const (
	lookUps     = 4
	lookUpPause = 500 * time.Millisecond
)

// made notes a commit.
func (a *one) made(g *client.Generation) {
	a.report.Outcome, a.report.After = Committed, &g.Number
	if !g.Persisted {
		a.note("not persisted: a restart forgets it")
	}
}

// inForce says whether our certificates are those of a generation.
func (a *one) inForce(g *client.Generation) bool {
	for _, c := range a.changes {
		chain := leaf(c)
		if chain == nil {
			continue
		}
		if !slices.ContainsFunc(g.Certificates, func(x client.Certificate) bool {
			return x.Slot == c.Name && x.SHA256 == client.Fingerprint(chain[0])
		}) {
			return false
		}
	}
	return true
}

// rollback takes a commit back, since another failed.
func (a *one) rollback(ctx context.Context) {
	committed := *a.report.After
	g, err := a.Client.Rollback(ctx, committed)
	// When the answer was lost it can be asked for again: If-Match keeps it from
	// being done twice.
	for i := 0; i < lookUps && err != nil && asError(err).Sent; i++ {
		time.Sleep(lookUpPause)
		now, asked := a.Client.Certificates(ctx)
		switch {
		case asked != nil:
		case now.Number > committed && now.Who == a.you:
			g, err = now, nil
		default:
			g, err = a.Client.Rollback(ctx, committed)
		}
	}
	if err != nil {
		a.report.Outcome = Stuck
		a.fail(err)
		return
	}
	a.report.Outcome, a.report.After = RolledBack, &g.Number
	a.note("rolled back, since another appliance failed")
	if slices.ContainsFunc(a.changes, func(c client.Change) bool { return c.Kind == client.Revoked && !c.Remove }) {
		a.note("who was revoked stays so: a rollback does not undo that; clients restore does")
	}
}
