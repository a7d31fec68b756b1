package authjwt

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// claimCarillon is the claim that holds a token's rights:
//
//	{"publish": [F…], "subscribe": [F…], "history": [F…], "presence": [F…], "exclude": [F…], "limits": {…}, "attributes": {…}}
const claimCarillon = "carillon"

// Bounds of the plugin contract (spec/plugin/auth/v1/auth.proto).
const (
	maxGrants         = 1000
	maxAttributes     = 64
	maxAttributeKey   = 128
	maxAttributeValue = 4096
	maxLimit          = 1_000_000_000
)

// template is a grant whose filter may have levels `{claim}`.
type template struct {
	action broker.Action
	filter string
}

// templates checks g, which is configured.
func (g Grants) templates() ([]template, error) {
	var all []template
	for _, of := range []struct {
		name    string
		action  broker.Action
		filters []string
	}{
		{"publish", broker.ActionPublish, g.Publish},
		{"subscribe", broker.ActionSubscribe, g.Subscribe},
		{"history", broker.ActionHistory, g.History},
		{"presence", broker.ActionPresence, g.Presence},
		{"exclude", broker.ActionExclude, g.Exclude},
	} {
		for _, f := range of.filters {
			t := template{action: of.action, filter: f}
			if _, err := t.expand(func(string) (string, bool) { return "x", true }); err != nil {
				return nil, fmt.Errorf("%s: %w", of.name, err)
			}
			all = append(all, t)
		}
	}
	return all, nil
}

// expand puts the claims in, each as exactly one level (log.md N1), so that no two users share a filter unless they share the
// claim. A claim that value does not have is a noClaimError.
func (t template) expand(value func(claim string) (string, bool)) (broker.Grant, error) {
	levels := strings.Split(t.filter, ".")
	for i, level := range levels {
		if !strings.ContainsAny(level, "{}") {
			continue
		}
		name, ok := strings.CutPrefix(level, "{")
		if name, ok = cutSuffix(name, "}", ok); !ok || name == "" || strings.ContainsAny(name, "{}") {
			return broker.Grant{}, fmt.Errorf("%s: a claim such as {sub} has to be a whole level", quote(t.filter))
		}
		v, ok := value(name)
		if !ok {
			return broker.Grant{}, noClaimError{filter: t.filter, claim: name}
		}
		levels[i] = protocol.EscapeLevel(v)
	}
	g := broker.Grant{Actions: t.action, Filter: strings.Join(levels, ".")}
	if err := protocol.ValidateFilter(g.Filter); err != nil {
		return broker.Grant{}, fmt.Errorf("%s: %w", quote(t.filter), err)
	}
	return g, nil
}

func cutSuffix(s, suffix string, ok bool) (string, bool) {
	if !ok {
		return s, false
	}
	return strings.CutSuffix(s, suffix)
}

// noClaimError says that a filter needs a claim that the token has not.
type noClaimError struct{ filter, claim string }

func (e noClaimError) Error() string {
	return fmt.Sprintf("%s needs the claim %s, which the token has not as a string", quote(e.filter), quote(e.claim))
}

// fill adds to id what every token is given and what this one claims.
func (c claims) fill(id *broker.Identity, configured []template) error {
	for _, t := range configured {
		g, err := t.expand(c.text)
		if _, missing := errors.AsType[noClaimError](err); missing {
			continue
		}
		if err != nil {
			return badClaims("the configured grant %s", err.Error())
		}
		id.Grants = append(id.Grants, g)
	}
	v, has := c[claimCarillon]
	if !has {
		return nil
	}
	rights, ok := v.(map[string]any)
	if !ok {
		return badClaims("the claim %q is not an object", claimCarillon).WithHint(rightsHint)
	}
	for _, name := range slices.Sorted(maps.Keys(rights)) {
		if err := c.fillMember(id, name, rights[name]); err != nil {
			return err
		}
	}
	if len(id.Grants) > maxGrants {
		return badClaims("the token has %d grants with the configured ones, the limit is %d", len(id.Grants), maxGrants).
			WithHint("Use wildcards.")
	}
	return nil
}

const rightsHint = `Write it like {"publish": ["orders.*"], "subscribe": ["orders.>"]}.`

func (c claims) fillMember(id *broker.Identity, name string, v any) error {
	actions := map[string]broker.Action{
		"publish": broker.ActionPublish, "subscribe": broker.ActionSubscribe,
		"history": broker.ActionHistory, "presence": broker.ActionPresence, "exclude": broker.ActionExclude,
	}
	switch action, isAction := actions[name]; {
	case isAction:
		return c.fillGrants(id, name, action, v)
	case name == "limits":
		return fillLimits(&id.Limits, v)
	case name == "attributes":
		return fillAttributes(id, v)
	}
	return badClaims("the claim %q has a member %s; this broker knows publish, subscribe, history, presence, exclude, limits and attributes",
		claimCarillon, quote(name)).WithHint(rightsHint)
}

func (c claims) fillGrants(id *broker.Identity, name string, action broker.Action, v any) error {
	list, ok := v.([]any)
	if !ok {
		return badClaims("%s.%s is not a list", claimCarillon, name).WithHint(rightsHint)
	}
	for _, v := range list {
		filter, ok := v.(string)
		if !ok {
			return badClaims("%s.%s holds something that is not a string", claimCarillon, name).WithHint(rightsHint)
		}
		g, err := template{action: action, filter: filter}.expand(c.text)
		if err != nil {
			return badClaims("%s.%s: %s", claimCarillon, name, err.Error()).WithHint("Issue the token with valid filters.")
		}
		id.Grants = append(id.Grants, g)
	}
	return nil
}

// text is a claim that is a string and not empty.
func (c claims) text(name string) (string, bool) {
	s, ok := c[name].(string)
	return s, ok && s != ""
}

// fillLimits reads {"publish_rate": 20, "subscriptions": "unlimited", …}.
func fillLimits(l *broker.SessionLimits, v any) error {
	object, ok := v.(map[string]any)
	if !ok {
		return badClaims("%s.limits is not an object", claimCarillon)
	}
	fields := map[string]*int{
		"publish_rate": &l.PublishRate, "publish_bytes": &l.PublishBytes, "subscriptions": &l.Subscriptions,
		"subscribe_rate": &l.SubscribeRate, "sessions": &l.SessionsOfUser,
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		field := fields[name]
		if field == nil {
			return badClaims("%s.limits has a member %s; this broker knows %s", claimCarillon, quote(name),
				strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
		}
		if object[name] == "unlimited" {
			*field = broker.Unlimited
			continue
		}
		number, _ := object[name].(json.Number)
		n, err := number.Int64()
		if err != nil || n < 1 || n > maxLimit {
			return badClaims(`%s.limits.%s is neither a number from 1 on nor "unlimited"`, claimCarillon, name)
		}
		*field = int(n)
	}
	return nil
}

func fillAttributes(id *broker.Identity, v any) error {
	object, ok := v.(map[string]any)
	if !ok || len(object) > maxAttributes {
		return badClaims("%s.attributes is not an object of at most %d strings", claimCarillon, maxAttributes)
	}
	id.Attributes = make(map[string]string, len(object))
	for name, v := range object {
		s, ok := v.(string)
		if !ok || len(name) > maxAttributeKey || len(s) > maxAttributeValue || strings.ContainsFunc(name+s, unicode.IsControl) {
			return badClaims("%s.attributes: %s is not a string, is too long, or has a control character", claimCarillon, quote(name))
		}
		id.Attributes[name] = s
	}
	return nil
}
