package wire

import (
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/internal/wire/authv1pb"
	"github.com/carillon-mq/carillon/protocol"
)

// Bounds of an Identity (spec/plugin/auth/v1/auth.proto).
const (
	maxGrants         = 1000
	maxUserBytes      = 255
	maxAttributes     = 64
	maxAttributeKey   = 128
	maxAttributeValue = 4096
	maxLimit          = 1_000_000_000
	maxLife           = 10 * 365 * 24 * time.Hour
	maxExpired        = time.Minute // what a plugin's leeway for clocks may come to
	maxAhead          = time.Minute // and the other way
)

var actions = []struct {
	core broker.Action
	wire authv1pb.Grant_Action
}{
	{broker.ActionPublish, authv1pb.Grant_ACTION_PUBLISH},
	{broker.ActionSubscribe, authv1pb.Grant_ACTION_SUBSCRIBE},
	{broker.ActionHistory, authv1pb.Grant_ACTION_HISTORY},
	{broker.ActionPresence, authv1pb.Grant_ACTION_PRESENCE},
	{broker.ActionExclude, authv1pb.Grant_ACTION_EXCLUDE},
}

func identityToWire(id *broker.Identity) *authv1pb.Identity {
	p := &authv1pb.Identity{
		User: id.User, Anonymous: id.User == "", TokenId: id.TokenID, NeverExpires: id.Expires.IsZero(), Attributes: id.Attributes,
		Limits: &authv1pb.Limits{
			PublishRate: int64(id.Limits.PublishRate), PublishBytes: int64(id.Limits.PublishBytes),
			Subscriptions: int64(id.Limits.Subscriptions), SubscribeRate: int64(id.Limits.SubscribeRate),
			SessionsOfUser: int64(id.Limits.SessionsOfUser),
		},
	}
	if !id.Expires.IsZero() {
		p.ExpiresAtMs = id.Expires.UnixMilli()
	}
	if !id.Issued.IsZero() {
		p.IssuedAtMs = id.Issued.UnixMilli()
	}
	for _, g := range id.Grants {
		p.Grants = append(p.Grants, &authv1pb.Grant{Filter: g.Filter, Actions: actionsToWire(g.Actions)})
	}
	p.Ask = actionsToWire(id.Ask)
	return p
}

func actionsToWire(set broker.Action) (list []authv1pb.Grant_Action) {
	for _, a := range actions {
		if set&a.core != 0 {
			list = append(list, a.wire)
		}
	}
	return list
}

// identityFromWire checks p by every rule of the contract. One broken rule spoils the whole: the error is ErrMalformed.
func identityFromWire(p *authv1pb.Identity, now time.Time) (*broker.Identity, error) {
	id := &broker.Identity{User: p.GetUser(), TokenID: p.GetTokenId(), Attributes: p.GetAttributes()}
	if (id.User == "") != p.GetAnonymous() {
		return nil, malformed("an identity needs a user, or to be marked anonymous")
	}
	if len(id.User) > maxUserBytes || hasNUL(id.User) || len(id.TokenID) > maxUserBytes || hasNUL(id.TokenID) {
		return nil, malformed("user or token id is longer than %d bytes or has NUL", maxUserBytes)
	}
	if len(p.GetGrants()) > maxGrants {
		return nil, malformed("%d grants, at most %d are allowed", len(p.GetGrants()), maxGrants)
	}
	for i, g := range p.GetGrants() {
		grant, err := grantFromWire(g)
		if err != nil {
			return nil, malformed("grant %d: %v", i, err)
		}
		id.Grants = append(id.Grants, grant)
	}
	var err error
	if id.Ask, err = actionsFromWire(p.GetAsk()); err != nil {
		return nil, malformed("ask: %v", err)
	}
	if err := issuedFromWire(p, now, id); err != nil {
		return nil, err
	}
	if err := expiryFromWire(p, now, id); err != nil {
		return nil, err
	}
	if err := limitsFromWire(p.GetLimits(), &id.Limits); err != nil {
		return nil, err
	}
	if err := checkAttributes(id.Attributes); err != nil {
		return nil, err
	}
	return id, nil
}

func grantFromWire(g *authv1pb.Grant) (broker.Grant, error) {
	grant := broker.Grant{Filter: g.GetFilter()}
	if err := protocol.ValidateFilter(grant.Filter); err != nil {
		return grant, err
	}
	if len(g.GetActions()) == 0 {
		return grant, malformed("no action")
	}
	var err error
	grant.Actions, err = actionsFromWire(g.GetActions())
	return grant, err
}

// actionsFromWire is the set of what stands in list, each of which has to be known.
func actionsFromWire(list []authv1pb.Grant_Action) (set broker.Action, err error) {
	if len(list) > 4*len(actions) {
		return 0, malformed("%d actions", len(list))
	}
	for _, w := range list {
		action := broker.Action(0)
		for _, a := range actions {
			if a.wire == w {
				action = a.core
			}
		}
		if action == 0 {
			return 0, malformed("unknown action %d", w)
		}
		set |= action
	}
	return set, nil
}

func issuedFromWire(p *authv1pb.Identity, now time.Time, id *broker.Identity) error {
	at := p.GetIssuedAtMs()
	if at < 0 || at > now.Add(maxAhead).UnixMilli() {
		return malformed("issued at %d (Unix ms), which is negative, or more than %v ahead", at, maxAhead)
	}
	if at > 0 {
		id.Issued = time.UnixMilli(at)
	}
	return nil
}

func expiryFromWire(p *authv1pb.Identity, now time.Time, id *broker.Identity) error {
	if p.GetNeverExpires() {
		if p.GetExpiresAtMs() != 0 {
			return malformed("an identity that never expires has an expiry")
		}
		return nil
	}
	if p.GetExpiresAtMs() == 0 {
		return malformed("neither expires_at_ms nor never_expires is set")
	}
	id.Expires = time.UnixMilli(p.GetExpiresAtMs())
	if id.Expires.Before(now.Add(-maxExpired)) || id.Expires.After(now.Add(maxLife)) {
		return malformed("the expiry %d (Unix ms) is more than %v ago, or more than 10 years away", p.GetExpiresAtMs(), maxExpired)
	}
	return nil
}

func limitsFromWire(p *authv1pb.Limits, to *broker.SessionLimits) error {
	for _, l := range []struct {
		name string
		from int64
		to   *int
	}{
		{"publish_rate", p.GetPublishRate(), &to.PublishRate},
		{"publish_bytes", p.GetPublishBytes(), &to.PublishBytes},
		{"subscriptions", p.GetSubscriptions(), &to.Subscriptions},
		{"subscribe_rate", p.GetSubscribeRate(), &to.SubscribeRate},
		{"sessions_of_user", p.GetSessionsOfUser(), &to.SessionsOfUser},
	} {
		if l.from < broker.Unlimited || l.from > maxLimit {
			return malformed("limit %s is %d, wanted -1 to %d", l.name, l.from, maxLimit)
		}
		*l.to = int(l.from)
	}
	return nil
}

func checkAttributes(attributes map[string]string) error {
	if len(attributes) > maxAttributes {
		return malformed("%d attributes, at most %d are allowed", len(attributes), maxAttributes)
	}
	for k, v := range attributes {
		if len(k) > maxAttributeKey || len(v) > maxAttributeValue || hasNUL(k) || hasNUL(v) {
			return malformed("attribute %.40q is too long or has NUL", k)
		}
	}
	return nil
}
