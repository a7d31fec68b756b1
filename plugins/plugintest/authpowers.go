package plugintest

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"github.com/carillon-mq/carillon/broker"
)

const (
	powerAuthorize   = broker.Power(broker.PowerAuthorize)
	powerRevocations = broker.Power(broker.PowerRevocations)
)

// authRights are the cases of the power authorize.
var authRights = []Case{
	{
		Name: "what it is asked to authorize is decided, question by question", Power: powerAuthorize, run: onAuth(testAuthorize),
		Does: "asks for rights of clients that it has let in and of one that it has not, 1 to 256 questions at a time, each alone and among others",
		Says: "One for each question, in their order. Another number of them is malformed as a whole.",
	},
	{
		Name: "a decision is about this client, this action and this very filter", Power: powerAuthorize, run: onAuth(withRights(testRights)),
		Does: "asks what the logins say that their clients may do, and may not do, in changing order",
		Says: "An answer is for this client, this action and this very topic or filter",
	},
	{
		Name: "a decision is about this client, also when many are asked about", Power: powerAuthorize, run: onAuth(withRights(testManyRights)),
		Does: "has 64 callers ask at the same time, about different clients",
		Says: manyCalls, Where: pluginMD,
	},
}

func testAuthUnannounced(t *T, a *auth) {
	ctx, cancel := context.WithTimeout(t.ctx, t.plugin.within(authTime))
	defer cancel()
	if !t.about.Has(powerAuthorize) {
		decisions, err := a.Authorize(ctx, broker.Principal{User: "somebody"}, []broker.Question{{Action: broker.ActionPublish, Filter: "a.b"}})
		if !errors.Is(err, broker.ErrNoPower) {
			t.Errorf("authorize, not announced: expected UNIMPLEMENTED, got %d decisions, %v", len(decisions), err)
		}
	}
	if !t.about.Has(powerRevocations) {
		err := a.Revocations(ctx, nil, func([]broker.Revocation, []byte) error { return errEnough })
		if !errors.Is(err, broker.ErrNoPower) {
			t.Errorf("revocations, not announced: expected UNIMPLEMENTED, got %v", err)
		}
	}
}

// authorize asks with the deadline that a broker gives. What breaks a rule of the contract is an error, and spoils the whole.
func (a *auth) authorize(t *T, who broker.Principal, questions []broker.Question) ([]broker.Decision, error) {
	ctx, cancel := context.WithTimeout(t.ctx, t.plugin.within(authTime))
	defer cancel()
	return a.Authorize(ctx, who, questions)
}

// asked is the plugin's answer to l.
func (a *auth) asked(t *T, l *Login) (*broker.Identity, error) {
	ctx, cancel := context.WithTimeout(t.ctx, t.plugin.within(authTime))
	defer cancel()
	return a.Authenticate(ctx, l.Credentials)
}

// principal is whom l lets in, as a session of it has it.
func (a *auth) principal(t *T, l *Login) (broker.Principal, *broker.Identity) {
	id, err := a.asked(t, l)
	if err != nil {
		t.Fatalf("%s: expected an identity, got: %v", l.Name, err)
	}
	return broker.Principal{User: id.User, TokenID: id.TokenID, Attributes: id.Attributes, Session: "0123456789abcdef"}, id
}

// testAuthorize asks about accepted clients, and about one that nobody has let in.
func testAuthorize(t *T, a *auth) {
	questions := []broker.Question{
		{Action: broker.ActionPublish, Filter: "a.b"},
		{Action: broker.ActionSubscribe, Filter: "a.>"},
		{Action: broker.ActionHistory, Filter: "*"},
		{Action: broker.ActionPresence, Filter: "a.*"},
		{Action: broker.ActionExclude, Filter: strings.Repeat("x", 255)},
		{Action: broker.ActionSubscribe, Filter: ">"},
	}
	yes := a.answers(t, broker.Principal{User: "nobody-has-let-in", Session: "0123456789abcdef"}, questions)
	if yes += a.answers(t, broker.Principal{}, questions); yes == 2*len(questions) {
		t.Warnf("every answer was yes, also for a user whom it has never let in and for one without a name. If it is not meant to allow everything to everybody, " +
			"give a login with may_not in the file of --logins (Login.MayNot)")
	}
	for i := range a.logins {
		l := &a.logins[i]
		if !l.accepted() || t.Failed() {
			continue
		}
		who, id := a.principal(t, l)
		mine := slices.Concat(l.May, l.MayNot, questions)
		for _, g := range id.Grants { // what is granted is not asked for, and what looks like it may be
			mine = append(mine, broker.Question{Action: broker.ActionHistory, Filter: g.Filter})
		}
		a.answers(t, who, distinct(mine))
	}
}

// distinct is all, each once, and no more than a call may have.
func distinct(all []broker.Question) (once []broker.Question) {
	for _, q := range all {
		if !slices.Contains(once, q) {
			once = append(once, q)
		}
	}
	return once[:min(len(once), 40)]
}

// answers asks each question alone, all in both orders, and all among as many others as there may be. The same has to come each time.
// It counts what is allowed.
func (a *auth) answers(t *T, who broker.Principal, questions []broker.Question) (yes int) {
	want := map[broker.Question]bool{}
	for _, q := range questions {
		got, err := a.authorize(t, who, []broker.Question{q})
		if err != nil {
			t.Errorf("user %q, %s: expected a decision within %v, got: %v", who.User, question(q), authTime, err)
			return yes
		}
		if want[q] = got[0].Allowed; want[q] {
			yes++
		}
	}
	backwards := slices.Clone(questions)
	slices.Reverse(backwards)
	many := slices.Clone(questions)
	for i := 0; len(many) < broker.MaxQuestions; i++ {
		many = append(many, broker.Question{Action: broker.ActionPublish, Filter: strings.Repeat("x", i%200+1) + ".y" + strings.Repeat("z", i/200)})
	}
	rand.Shuffle(len(many), func(i, j int) { many[i], many[j] = many[j], many[i] })
	for _, batch := range [][]broker.Question{questions, backwards, many} {
		got, err := a.authorize(t, who, batch)
		if err != nil || len(got) != len(batch) {
			t.Errorf("user %q, %d questions: expected as many decisions within %v, got %d, %v", who.User, len(batch), authTime, len(got), err)
			return yes
		}
		for i, q := range batch {
			if alone, asked := want[q]; asked && got[i].Allowed != alone {
				t.Errorf("user %q, %s: alone it is %s, as number %d of %d questions it is %s", who.User, question(q), verdict(alone), i+1, len(batch), verdict(got[i].Allowed))
			}
		}
	}
	return yes
}

func verdict(allowed bool) string {
	if allowed {
		return "allowed"
	}
	return "denied"
}

func question(q broker.Question) string { return "to " + actionName(q.Action) + " " + q.Filter }

// withRights skips a case for which no login says what its client may do.
func withRights(run func(*T, *auth)) func(*T, *auth) {
	return func(t *T, a *auth) {
		a.logins = slices.DeleteFunc(slices.Clone(a.logins), func(l Login) bool { return !l.accepted() || len(l.May)+len(l.MayNot) == 0 })
		has := func(of func(Login) []broker.Question) bool {
			return slices.ContainsFunc(a.logins, func(l Login) bool { return len(of(l)) > 0 })
		}
		if !has(func(l Login) []broker.Question { return l.May }) || !has(func(l Login) []broker.Question { return l.MayNot }) {
			t.Skipf("no login says what its client may do and what not: give may and may_not in the file of --logins (Login.May, Login.MayNot)")
		}
		run(t, a)
	}
}

// rights asks for all that l says, in a random order, and compares.
func (a *auth) rights(t *T, l *Login, who broker.Principal) {
	all := slices.Concat(l.May, l.MayNot)
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	got, err := a.authorize(t, who, all)
	if err != nil {
		t.Errorf("%s: expected decisions within %v, got: %v", l.Name, authTime, err)
		return
	}
	for i, q := range all {
		if may := slices.Contains(l.May, q); got[i].Allowed != may {
			t.Errorf("%s: expected that %s is %s, it is %s", l.Name, question(q), verdict(may), verdict(got[i].Allowed))
		}
	}
}

func testRights(t *T, a *auth) {
	for i := range a.logins {
		who, _ := a.principal(t, &a.logins[i])
		for range 5 {
			a.rights(t, &a.logins[i], who)
		}
	}
}

func testManyRights(t *T, a *auth) {
	const rounds = 5
	who := make([]broker.Principal, len(a.logins))
	for i := range a.logins {
		who[i], _ = a.principal(t, &a.logins[i])
	}
	var group sync.WaitGroup
	for caller := range callers {
		group.Go(func() {
			for round := range rounds {
				if i := (caller + round) % len(who); !t.Failed() {
					a.rights(t, &a.logins[i], who[i])
				}
			}
		})
	}
	group.Wait()
}
