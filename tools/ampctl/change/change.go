// Package change makes one change of certificates on many appliances: on all of
// them, or on none where that is in its power, and it says what became of each.
//
// All appliances stage and validate the change; if one refuses, what was staged is
// aborted everywhere, and nothing has changed. Then all commit, each in the place of
// the generation that it was asked about (If-Match). When a commit fails those that
// were made are rolled back. An answer that is lost is looked up: what cannot be
// found out is reported as unknown, never guessed.
//
// It is not a distributed transaction: between two commits some appliances serve the
// new certificates and others the old ones, and an appliance that dies with a commit
// under way may have made it.
package change

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"

	"ampoule/libos/mgmt/certs"
	"ampoule/tools/ampctl/client"
)

// Target is an appliance.
type Target struct {
	Name   string
	Client *client.Client
}

// Outcome is what became of the change on an appliance.
type Outcome string

// Outcomes.
const (
	Committed  Outcome = "committed"
	Unchanged  Outcome = "unchanged"   // nothing was committed
	Validated  Outcome = "validated"   // by a trial, and forgotten again
	RolledBack Outcome = "rolled-back" // committed, and then its old content committed again
	Stuck      Outcome = "stuck"       // committed, and could not be rolled back
	Unknown    Outcome = "unknown"     // it went away while it committed
)

// Report is what became of an appliance.
type Report struct {
	Appliance string        `json:"appliance"`
	Outcome   Outcome       `json:"outcome"`
	Before    *uint64       `json:"before,omitempty"` // generation; nil: not known
	After     *uint64       `json:"after,omitempty"`
	Problem   *client.Error `json:"problem,omitempty"` // why it, or the whole, went wrong here
	Notes     []string      `json:"notes,omitempty"`
}

// Options are the operator's.
type Options struct {
	Parallel int  // appliances asked at a time
	Trial    bool // stage and validate, then forget
	Keep     bool // what is committed stays when another commit fails
	Seize    bool // abort transactions of others first
	// Progress is told how many appliances have done a step; calls don't overlap.
	Progress func(step string, done, of int)
}

// Run makes the change. Reports are in the order of targets. ctx ends it until the
// first commit; from then on it goes on to the end.
func Run(ctx context.Context, targets []Target, changes []client.Change, o Options) []Report {
	all := make([]*one, len(targets))
	for i, t := range targets {
		all[i] = &one{Target: t, changes: changes, options: o, report: Report{Appliance: t.Name, Outcome: Unchanged}}
	}
	r := &run{all: all, options: o}
	r.do(ctx)
	reports := make([]Report, len(all))
	for i, a := range all {
		reports[i] = a.report
	}
	return reports
}

// run is one change under way.
type run struct {
	all     []*one
	options Options
}

func (r *run) do(ctx context.Context) {
	r.each("staged", r.all, func(a *one) { a.fail(a.prepare(ctx)) })
	if ctx.Err() != nil {
		for _, a := range r.all {
			a.fail(problem(client.Local, "interrupted", "Interrupted; nothing was committed."))
		}
	}
	ready := !slices.ContainsFunc(r.all, failed)
	after := context.WithoutCancel(ctx) // what follows leaves nothing half done
	if !ready || r.options.Trial {
		r.each("aborted", r.all, func(a *one) {
			a.abort(after)
			if !ready && !failed(a) {
				a.report.Outcome = Unchanged
				a.note("it would take it, but another appliance failed")
			}
		})
		return
	}
	r.each("committed", r.all, func(a *one) { a.fail(a.commit(after)) })
	if !slices.ContainsFunc(r.all, failed) || r.options.Keep {
		return
	}
	back := slices.DeleteFunc(slices.Clone(r.all), func(a *one) bool { return a.report.Outcome != Committed })
	r.each("rolled back", back, func(a *one) { a.rollback(after) })
}

func failed(a *one) bool { return a.report.Problem != nil }

// each calls f for all, some at a time, and reports progress.
func (r *run) each(step string, all []*one, f func(*one)) {
	var mu sync.Mutex
	done := 0
	tell := func(n int) {
		mu.Lock()
		defer mu.Unlock()
		if done += n; r.options.Progress != nil && len(all) > 0 {
			r.options.Progress(step, done, len(all))
		}
	}
	tell(0)
	var wait sync.WaitGroup
	slots := make(chan struct{}, max(r.options.Parallel, 1))
	for _, a := range all {
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			f(a)
			tell(1)
		})
	}
	wait.Wait()
}

// Class is the class of all reports together; 0: the change was made everywhere, or
// would be.
func Class(all []Report) client.Class {
	var class client.Class
	made, failed := false, false
	for _, r := range all {
		switch r.Outcome {
		case Stuck, Unknown:
			return client.Mixed
		case Committed:
			made = true
		}
		if r.Problem != nil {
			failed = true
			class = max(class, r.Problem.Class)
		}
	}
	if made && failed {
		return client.Mixed
	}
	return class
}

// leaf is the certificate in a bundle that belongs to its key, with the rest of the
// chain behind it; nil if the bundle is not one, which the appliance will say.
func leaf(c client.Change) []*x509.Certificate {
	if c.Kind != client.Certificates || c.Remove {
		return nil
	}
	// Without a time: dates are the appliance's to judge.
	made, err := certs.Check(c.Name, c.Data, noTime)
	if err != nil {
		return nil
	}
	var chain []*x509.Certificate
	for _, raw := range made.TLS.Certificate {
		if x, err := x509.ParseCertificate(raw); err == nil {
			chain = append(chain, x)
		}
	}
	return chain
}

// asError is err as an *Error.
func asError(err error) *client.Error {
	var e *client.Error
	if err == nil || errors.As(err, &e) {
		return e
	}
	return &client.Error{Class: client.Local, Code: "failed", Sentence: err.Error()}
}

func problem(class client.Class, code, sentence string, args ...any) *client.Error {
	return &client.Error{Class: class, Code: code, Sentence: fmt.Sprintf(sentence, args...)}
}
