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

// actionNames are the actions as a token and the configuration call them.
var actionNames = map[string]broker.Action{
	"publish": broker.ActionPublish, "subscribe": broker.ActionSubscribe,
	"history": broker.ActionHistory, "presence": broker.ActionPresence, "exclude": broker.ActionExclude,
}

// template is a grant whose filter may have levels `{claim}`.
type template struct {
	action broker.Action
	filter string
	role   *role // only for tokens that have it; nil: for all
}

// role is a claim that a token has to have, and what has to be in it.
type role struct {
	claim []string
	value string
}

// templatesOf checks what is configured under path.
func templatesOf(path string, g Grants, roles []GrantsFor) ([]template, error) {
	all, err := g.templates(path+"grants.", nil)
	if err != nil {
		return nil, err
	}
	for i, r := range roles {
		name := fmt.Sprintf("%sgrants_for[%d].", path, i)
		if len(r.Claim) == 0 || slices.Contains(r.Claim, "") {
			return nil, fmt.Errorf("%sclaim is missing: the name of the claim with the roles or scopes", name)
		}
		if r.Value == "" {
			return nil, fmt.Errorf("%svalue is missing: what the claim %s has to contain", name, strings.Join(r.Claim, "."))
		}
		of, err := r.templates(name, &role{claim: r.Claim, value: r.Value})
		if err != nil {
			return nil, err
		}
		all = append(all, of...)
	}
	return all, nil
}

// templates checks g, which is configured under path.
func (g Grants) templates(path string, of *role) ([]template, error) {
	var all []template
	for _, list := range []struct {
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
		for i, f := range list.filters {
			t := template{action: list.action, filter: f, role: of}
			if _, err := t.expand(func(string) (string, bool) { return "x", true }); err != nil {
				return nil, fmt.Errorf("%s%s[%d]: %w", path, list.name, i, err)
			}
			all = append(all, t)
		}
	}
	return all, nil
}

// has reports whether the claim is the value, or contains it.
func (r *role) has(c claims) bool {
	var v any = map[string]any(c)
	for _, name := range r.claim {
		object, ok := v.(map[string]any)
		if !ok {
			return false
		}
		v = object[name]
	}
	switch v := v.(type) {
	case string:
		if name := r.claim[len(r.claim)-1]; name == "scope" || name == "scp" {
			return slices.Contains(strings.Split(v, " "), r.value)
		}
		return v == r.value
	case []any:
		return slices.Contains(v, any(r.value))
	}
	return false
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
	return fmt.Sprintf("%s needs the claim %s, which the token has not as a string or a whole number", quote(e.filter), quote(e.claim))
}

// fill adds to id what every token is given and what this one claims.
func (c claims) fill(id *broker.Identity, configured []template) error {
	for _, t := range configured {
		if t.role != nil && !t.role.has(c) {
			continue
		}
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
	switch action, isAction := actionNames[name]; {
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

// text is a claim that is a string and not empty, or a whole number without an exponent.
func (c claims) text(name string) (string, bool) {
	switch v := c[name].(type) {
	case string:
		return v, v != ""
	case json.Number:
		return v.String(), !strings.ContainsAny(v.String(), ".eE")
	}
	return "", false
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
