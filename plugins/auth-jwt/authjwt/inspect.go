package authjwt

import (
	"fmt"
	"strings"

	"github.com/carillon-mq/carillon/broker"
)

// Inspection is what a token says of itself. Nothing of it is verified.
type Inspection struct {
	Algorithm string
	KeyID     string
	Header    map[string]any // numbers are json.Number
	Claims    map[string]any
}

// Inspect reads token without verifying it. The error is the one with which Authenticate would refuse what can't be read; for
// everything else that it may be refused for, ask Authenticate.
func Inspect(token string) (Inspection, error) {
	t, err := parseToken(token)
	if err != nil {
		return Inspection{}, err
	}
	return Inspection{Algorithm: t.alg, KeyID: t.kid, Header: t.header, Claims: t.claims}, nil
}

// Withheld says which configured grants token does not get, and why, one sentence each. Nothing of it is verified: ask Authenticate first.
func (a *Auth) Withheld(token string) ([]string, error) {
	t, err := parseToken(token)
	if err != nil {
		return nil, err
	}
	from, err := a.issuerOf(t)
	if err != nil {
		return nil, err
	}
	c := claims(t.claims)
	var all []string
	for _, of := range from.grants {
		if of.role != nil && !of.role.has(c) {
			all = append(all, fmt.Sprintf("%s %s: the claim %s does not have %s in it", actionName(of.action), of.filter,
				strings.Join(of.role.claim, "."), quote(of.role.value)))
			continue
		}
		if _, err := of.expand(c.text); err != nil {
			all = append(all, fmt.Sprintf("%s %s: %s", actionName(of.action), of.filter, err.Error()))
		}
	}
	return all, nil
}

func actionName(a broker.Action) string {
	for name, action := range actionNames {
		if a == action {
			return name
		}
	}
	return ""
}
