package plugintest

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/internal/wire"
)

// The kinds of plugins.
const (
	KindAuth  = wire.KindAuth
	KindStore = wire.KindStore
)

// The documents of the contract.
const (
	pluginMD    = "spec/plugin.md"
	commonProto = "spec/plugin/common/v1/common.proto"
	authProto   = "spec/plugin/auth/v1/auth.proto"
	storeProto  = "spec/plugin/store/v1/store.proto"
)

// Case is one thing that a plugin has to do.
type Case struct {
	Name  string       // what is right, as a sentence
	Kind  string       // of the plugins that it is for; empty is every one
	Power broker.Power // run only if it is announced; empty is always
	Does  string       // what is done to find out
	Says  string       // the sentence of the contract that it shows, as it stands in Where
	Where string       // that document

	// Own marks a case that starts or ends the plugin's process, which it does not do with one under a debugger.
	Own bool
	run func(*T)
}

// ID is the case's name with its kind, as --only matches it.
func (c *Case) ID() string {
	if c.Kind == "" {
		return "plugin/" + c.Name
	}
	return c.Kind + "/" + c.Name
}

// Cases are those of a kind, in the order in which they are run: first what every plugin does.
func Cases(kind string) []*Case {
	all := slices.Concat(startCases, configureCases, endCases)
	switch kind {
	case KindAuth:
		all = append(all, authCases()...)
	case KindStore:
		all = append(all, storeCases()...)
	}
	cases := make([]*Case, len(all))
	for i := range all {
		cases[i] = &all[i]
		if all[i].Where == "" { // what every plugin does is said there, for most of it
			all[i].Where = pluginMD
		}
	}
	return cases
}

// Options say what Play plays. The zero value is every case.
type Options struct {
	Kind string         // what the plugin has to be; empty is what it says
	Only *regexp.Regexp // matched against Case.ID
	Tell func(*Result)  // called for each result as it comes
}

// Play probes p and plays its cases one after another. The error is a *StartError when p does not start.
func Play(ctx context.Context, p Plugin, o Options) (*About, []*Result, error) {
	p.kind = o.Kind
	about, err := Probe(ctx, p)
	if err != nil {
		return nil, nil, err
	}
	if o.Kind != "" && o.Kind != about.Kind {
		return nil, nil, &StartError{Step: "describe", Err: fmt.Errorf("it is a plugin of kind %q, wanted %q", about.Kind, o.Kind)}
	}
	var results []*Result
	for _, c := range Cases(about.Kind) {
		if o.Only != nil && !o.Only.MatchString(c.ID()) {
			continue
		}
		r := playOne(ctx, p, about, c)
		results = append(results, r)
		if o.Tell != nil {
			o.Tell(r)
		}
		if ctx.Err() != nil {
			return about, results, context.Cause(ctx)
		}
	}
	return about, results, nil
}

// caseTime bounds a case.
const caseTime = 5 * time.Minute

// playOne plays a case in a goroutine, which it waits for.
func playOne(ctx context.Context, p Plugin, about *About, c *Case) *Result {
	began := time.Now()
	r := &Result{Case: c, Outcome: Passed}
	if reason := about.lacks(p, c); reason != "" {
		r.Outcome, r.Reason = Skipped, reason
		return r
	}
	ctx, cancel := context.WithTimeout(ctx, p.within(caseTime))
	defer cancel()
	p.kind = about.Kind
	t := &T{ctx: ctx, plugin: p, about: about}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer t.end()
		c.run(t)
	}()
	<-done
	r.Took = time.Since(began)
	r.Notes, r.Warnings, r.Words = t.notes, t.warnings, t.words
	switch {
	case len(t.failures) > 0:
		r.Outcome = Failed
		r.Failures, r.Reads = told(c, t.failures)
	case t.skipped != "":
		r.Outcome, r.Reason = Skipped, t.skipped
	}
	return r
}

// lacks says what a case needs and is not there; empty is nothing.
func (a *About) lacks(p Plugin, c *Case) string {
	switch {
	case c.Power != "" && !a.Has(c.Power):
		return fmt.Sprintf("the plugin does not announce the power %q", c.Power)
	case c.Own && p.Attach != "":
		return "it starts and ends processes, and this one is under a debugger"
	}
	return ""
}
