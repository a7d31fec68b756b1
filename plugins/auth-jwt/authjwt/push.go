package authjwt

import (
	"context"
	"time"

	"github.com/carillon-mq/carillon/broker"
)

// Revocations implements broker.Revoker: it tells the list of what is revoked, and after each change of it what is new, so that sessions end at
// once. There is no cursor: the list is in a file, and who begins is told all of it. What is no longer on the list is let in again by a token
// that is issued after that, or when the broker has forgotten it, which is when every token of before has expired.
func (a *Auth) Revocations(ctx context.Context, _ []byte, on func([]broker.Revocation, []byte) error) error {
	told := &revokedList{}
	for first := true; ; first = false {
		list, changed := a.revoked.current()
		if batch := a.newIn(list, told); first || len(batch) > 0 {
			if err := on(batch, nil); err != nil {
				return err
			}
		}
		told = list
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// newIn is what list has and told has not, in the broker's terms. What no token can be about any more is left out.
func (a *Auth) newIn(list, told *revokedList) []broker.Revocation {
	now := a.cfg.Now()
	life := a.cfg.MaxLifetime + 2*a.cfg.Leeway // from the second in which a token is issued, by whichever clock
	var batch []broker.Revocation
	for of := range list.tokens {
		if _, was := told.tokens[of]; was {
			continue
		}
		for _, id := range a.idsOf(of) {
			batch = append(batch, broker.Revocation{TokenID: id, Until: now.Add(life)})
		}
	}
	for of, before := range list.users {
		if old, was := told.users[of]; was && old == before {
			continue
		}
		spared := now.Add(a.cfg.Leeway) // issued then or later: Authenticate refuses those itself, as long as they are on the list
		if before != everyToken {
			spared = time.Unix(0, 0).Add(time.Duration(min(before, float64(now.Unix())+life.Seconds()) * float64(time.Second)))
		}
		if !spared.Add(life).After(now) {
			continue
		}
		for _, id := range a.idsOf(of) {
			batch = append(batch, broker.Revocation{User: id, IssuedBefore: spared, Until: spared.Add(life)})
		}
	}
	return batch
}

// idsOf is what of is called by the broker: with the prefix of its issuer, or of each issuer.
func (a *Auth) idsOf(of named) []string {
	var ids []string
	for _, i := range a.issuers {
		if id := i.userPrefix + of.id; (of.iss == "" || of.iss == i.name) && len(id) <= maxSubjectBytes {
			ids = append(ids, id)
		}
	}
	return ids
}
