package host

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// Bounds of a candidate.
const (
	shadowWaiting = 256 // questions that wait for it; one more is left out
	shadowAsking  = 4   // that it has at a time
	shadowTimeout = 5 * time.Second
)

// ShadowFigures count what a candidate was asked.
type ShadowFigures struct {
	Compared    uint64 // answers of both
	Differences uint64 // of these: that are not the same
	Failed      uint64 // questions that the candidate had no decision for
	Dropped     uint64 // questions that it was not asked, because too many waited for it
}

// shadow is a candidate beside the auth plugin: it is asked what the plugin was asked, decides nothing, and nobody waits for it.
type shadow struct {
	p         *supervised
	questions chan question
	logs      *rate.Limiter

	compared, differences, failed, dropped atomic.Uint64
}

// question is what the plugin was asked and what it decided.
type question struct {
	credentials broker.Credentials
	answer      *broker.Identity
	refusal     error
}

// shadowed is the place for a candidate in an Auth.
type shadowed struct {
	setting sync.Mutex // held while one begins or ends
	now     atomic.Pointer[shadow]
}

// SetShadow starts a candidate beside the plugin, or puts another one in the place of the present one as Host.Reload does. nil ends
// it. It returns as soon as a first candidate is being started; the plugin's answers do not depend on how that goes.
func (a *Auth) SetShadow(ctx context.Context, spec *Spec) error {
	a.shadow.setting.Lock()
	defer a.shadow.setting.Unlock()
	h, old := a.p.host, a.shadow.now.Load()
	switch {
	case spec == nil && old == nil:
		return nil
	case spec == nil:
		a.shadow.now.Store(nil)
		h.remove(old.p)
		return nil
	case old != nil:
		return h.Reload(ctx, old.p.name(), *spec)
	}
	candidate := *spec
	candidate.shadow = true
	p, err := h.add(candidate, KindAuth)
	if err != nil {
		return err
	}
	s := &shadow{p: p, questions: make(chan question, shadowWaiting), logs: rate.NewLimiter(rate.Every(time.Second), 5)}
	for range shadowAsking {
		if !h.own(s.work) {
			return errClosed
		}
	}
	p.candidate.Store(s)
	a.shadow.now.Store(s)
	return nil
}

// own runs f until it returns by itself, as part of the host; it reports false when that is closed.
func (h *Host) own(f func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.group.Go(f)
	return true
}

// see passes on what the plugin decided, if there is a candidate. It does not wait.
func (s *shadowed) see(c broker.Credentials, id *broker.Identity, refusal error) {
	candidate := s.now.Load()
	if candidate == nil {
		return
	}
	c.Header = c.Header.Clone()
	select {
	case candidate.questions <- question{c, id, refusal}:
	default:
		candidate.dropped.Add(1)
	}
}

// work asks until the candidate has ended.
func (s *shadow) work() {
	for {
		select {
		case q := <-s.questions:
			s.ask(q)
		case <-s.p.ended:
			return
		}
	}
}

func (s *shadow) ask(q question) {
	ctx, cancel := context.WithTimeout(context.Background(), shadowTimeout)
	defer cancel()
	in, release, err := s.p.borrow()
	if err != nil {
		s.failed.Add(1) // that it is away is in its state
		return
	}
	defer release()
	id, err := in.auth.Authenticate(ctx, q.credentials)
	if err != nil && !isRefusal(err) {
		s.failed.Add(1)
		if s.logs.Allow() {
			s.p.host.opt.Logger.Warn("candidate has no decision", "plugin", s.p.name(), "err", printable(s.p.callError(ctx, err).Error(), maxText))
		}
		return
	}
	s.compared.Add(1)
	differences := compareDecisions(q.answer, q.refusal, id, err)
	if len(differences) == 0 {
		return
	}
	s.differences.Add(1)
	if s.logs.Allow() {
		s.p.host.opt.Logger.Warn("candidate decides otherwise", "plugin", s.p.name(),
			"user", printable(userOf(q.answer, id), maxText), "reason", strings.Join(differences, "; "))
	}
}

// userOf is the user whom the plugin, or else the candidate, named.
func userOf(answers ...*broker.Identity) string {
	for _, id := range answers {
		if id != nil {
			return id.User
		}
	}
	return ""
}

func (s *shadow) figures() *ShadowFigures {
	if s == nil {
		return nil
	}
	return &ShadowFigures{s.compared.Load(), s.differences.Load(), s.failed.Load(), s.dropped.Load()}
}

func isRefusal(err error) bool {
	_, refusal := errors.AsType[*protocol.Error](err)
	return refusal
}

func refusalCode(err error) string {
	refusal, ok := errors.AsType[*protocol.Error](err)
	if !ok {
		return ""
	}
	return refusal.Code.String()
}

// compareDecisions says in which ways the decision b is another one than a: words without tokens and without values of attributes.
func compareDecisions(a *broker.Identity, aRefused error, b *broker.Identity, bRefused error) []string {
	switch {
	case aRefused != nil && bRefused != nil:
		if x, y := refusalCode(aRefused), refusalCode(bRefused); x != y {
			return []string{fmt.Sprintf("refused as %s, not as %s", y, x)}
		}
		return nil
	case bRefused != nil:
		return []string{"refused (" + refusalCode(bRefused) + "), not let in"}
	case aRefused != nil:
		return []string{"let in, not refused (" + refusalCode(aRefused) + ")"}
	}
	var found []string
	differ := func(what string, is bool) {
		if is {
			found = append(found, what)
		}
	}
	differ(fmt.Sprintf("user %s", printable(b.User, 80)), a.User != b.User)
	differ("token id", a.TokenID != b.TokenID)
	found = append(found, compareGrants(a.Grants, b.Grants)...)
	differ("expires", !a.Expires.Equal(b.Expires))
	differ("limits", a.Limits != b.Limits)
	differ("attributes", !maps.Equal(a.Attributes, b.Attributes))
	return found
}

// compareGrants says what b gives more and less than a, by filter and action.
func compareGrants(a, b []broker.Grant) (found []string) {
	x, y := actionsOf(a), actionsOf(b)
	if lost := missing(x, y); lost != "" {
		found = append(found, "grants less: "+lost)
	}
	if won := missing(y, x); won != "" {
		found = append(found, "grants more: "+won)
	}
	return found
}

func actionsOf(grants []broker.Grant) map[string]broker.Action {
	all := map[string]broker.Action{}
	for _, g := range grants {
		all[g.Filter] |= g.Actions
	}
	return all
}

// missing names what is in x and not in y, the first of it and how many more there are.
func missing(x, y map[string]broker.Action) string {
	first, n := "", 0
	for filter, actions := range x {
		if actions&^y[filter] == 0 {
			continue
		}
		if n++; first == "" || filter < first {
			first = filter
		}
	}
	if n == 0 {
		return ""
	}
	text := printable(first, 80) + " (" + actionNames(x[first]&^y[first]) + ")"
	if n > 1 {
		text += fmt.Sprintf(" and %d more", n-1)
	}
	return text
}

func actionNames(a broker.Action) string {
	var names []string
	for action, name := range map[broker.Action]string{
		broker.ActionPublish: "publish", broker.ActionSubscribe: "subscribe", broker.ActionHistory: "history",
		broker.ActionPresence: "presence", broker.ActionExclude: "exclude",
	} {
		if a&action != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(slices.Sorted(slices.Values(names)), ", ")
}
