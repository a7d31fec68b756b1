package authjwt

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/carillon-mq/carillon/protocol"
)

// claims is a token's payload.
type claims map[string]any

// claimNames are the claims that mean something to this package.
var claimNames = []string{"iss", "aud", "exp", "nbf", "iat", "sub", "jti", "typ", "token_use", claimCarillon}

const (
	maxSubjectBytes = 255
	maxTokenID      = 255
	lastSecond      = 253402300799 // 9999-12-31T23:59:59Z
)

// checkKind refuses tokens that their issuer made for something else than access: ID tokens and refresh tokens carry the same
// signature.
func checkKind(t *token) error {
	if typ, ok := t.header["typ"]; ok {
		s, _ := typ.(string)
		if !slices.Contains([]string{"jwt", "at+jwt", "application/jwt", "application/at+jwt"}, strings.ToLower(s)) {
			return wrongKind("typ", s)
		}
	}
	if typ, ok := t.claims["typ"]; ok {
		s, _ := typ.(string)
		if !slices.Contains([]string{"bearer", "jwt", "at+jwt", "access"}, strings.ToLower(s)) {
			return wrongKind("the claim typ", s)
		}
	}
	if use, ok := t.claims["token_use"]; ok {
		if s, _ := use.(string); s != "access" {
			return wrongKind("token_use", s)
		}
	}
	return nil
}

func wrongKind(name, value string) error {
	return badClaims("%s is %s, this broker wants an access token", name, quote(value)).
		WithHint("Send the access token, not the ID token or the refresh token.")
}

const issuerHint = "Issue the token with the configured issuer; every character counts, a slash at the end too."

func (c claims) checkIssuer(want string) error {
	hint := issuerHint
	v, has := c["iss"]
	got, ok := v.(string)
	switch {
	case !has:
		return protocol.Errorf(protocol.CodeTokenWrongIssuer, "the token has no iss, this broker wants %s", quote(want)).WithHint(hint)
	case !ok:
		return protocol.Errorf(protocol.CodeTokenWrongIssuer, "iss is not a string, this broker wants %s", quote(want)).WithHint(hint)
	case got != want:
		return protocol.Errorf(protocol.CodeTokenWrongIssuer, "iss is %s, this broker wants %s", quote(got), quote(want)).WithHint(hint)
	}
	return nil
}

func (c claims) checkAudience(want string) error {
	wrong := func(format string, a ...any) error {
		return protocol.Errorf(protocol.CodeTokenWrongAudience, format+", this broker wants %s", append(a, quote(want))...).
			WithHint("Issue the token with the configured audience.")
	}
	switch aud := c["aud"].(type) {
	case nil:
		return wrong("the token has no aud")
	case string:
		if aud != want {
			return wrong("aud is %s", quote(aud))
		}
		return nil
	case []any:
		names := make([]string, 0, len(aud))
		for _, v := range aud {
			s, ok := v.(string)
			if !ok {
				return wrong("aud holds something that is not a string")
			}
			names = append(names, s)
		}
		return checkListed(names, want, wrong)
	}
	return wrong("aud is neither a string nor a list")
}

func checkListed(names []string, want string, wrong func(string, ...any) error) error {
	const shown = 4
	if slices.Contains(names, want) {
		return nil
	}
	var list []string
	for _, name := range names[:min(len(names), shown)] {
		list = append(list, quote(name))
	}
	if len(names) > shown {
		list = append(list, "…")
	}
	return wrong("aud is [%s]", strings.Join(list, ", "))
}

// checkTimes returns exp. A token is good until exp plus leeway; what comes after exp is the broker's to decide.
func (c claims) checkTimes(now time.Time, leeway, most time.Duration) (time.Time, error) {
	exp, has, err := c.time("exp")
	if err != nil {
		return time.Time{}, err
	}
	if !has {
		return time.Time{}, badClaims("the token has no exp: it would be good for ever").WithHint("Issue tokens that expire.")
	}
	if !now.Before(exp.Add(leeway)) {
		return time.Time{}, protocol.Errorf(protocol.CodeTokenExpired, "the token expired at %s, %s ago by this broker's clock", stamp(exp), ago(now.Sub(exp))).
			WithHint("Fetch a fresh token and connect with it; if this one is fresh, compare the clocks of issuer and broker.")
	}
	begin := now
	for _, name := range []string{"nbf", "iat"} {
		at, has, err := c.time(name)
		if err != nil {
			return time.Time{}, err
		}
		if has && at.After(now.Add(leeway)) {
			return time.Time{}, protocol.Errorf(protocol.CodeTokenNotYetValid, "%s is %s, which by this broker's clock is in %s", name, stamp(at), ago(at.Sub(now))).
				WithHint("Compare the clocks of issuer and broker.")
		}
		if has && name == "iat" {
			begin = at
		}
	}
	if life := exp.Sub(begin); life > most {
		return time.Time{}, badClaims("the token lives for %s, this broker wants at most %s", ago(life), most).
			WithHint("Issue tokens for a shorter time; clients fetch a fresh one when theirs expires.")
	}
	return exp, nil
}

// time reads a NumericDate (RFC 7519): seconds since 1970, which may have a fraction.
func (c claims) time(name string) (at time.Time, has bool, err error) {
	v, has := c[name]
	if !has {
		return time.Time{}, false, nil
	}
	n, ok := v.(json.Number)
	if !ok {
		return time.Time{}, true, badClaims("%s is not a number", name).WithHint("Write times as seconds since 1970.")
	}
	seconds, err := n.Float64()
	if err != nil || math.IsNaN(seconds) || seconds < 0 {
		return time.Time{}, true, badClaims("%s is not a time", name).WithHint("Write times as seconds since 1970.")
	}
	if seconds > lastSecond {
		return time.Time{}, true, badClaims("%s is after the year 9999", name).WithHint("Write times as seconds since 1970, not milliseconds.")
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*1e9)), true, nil
}

// issued is iat, which checkTimes has found good, or zero without one. A clock that is ahead is not believed: what comes after a revocation is
// spared by it.
func (c claims) issued(now time.Time) time.Time {
	at, has, err := c.time("iat")
	switch {
	case err != nil || !has:
		return time.Time{}
	case at.After(now):
		return now
	}
	return at
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func ago(d time.Duration) time.Duration { return d.Round(time.Second) }

// subject is the user's id: sub with prefix in front. It has to be something that a person can tell from another's.
func (c claims) subject(prefix string) (string, error) {
	hint := "Put the user's id into sub."
	sub, ok := c["sub"].(string)
	switch {
	case c["sub"] == nil:
		return "", badClaims("the token has no sub").WithHint(hint)
	case !ok:
		return "", badClaims("sub is not a string").WithHint(hint)
	case len(sub) > maxSubjectBytes-len(prefix):
		return "", badClaims("sub has %d bytes, the limit is %d", len(sub), maxSubjectBytes-len(prefix)).WithHint(hint)
	case strings.ContainsFunc(sub, isControl):
		return "", badClaims("sub has a control character in it").WithHint(hint)
	case !strings.ContainsFunc(sub, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }):
		return "", badClaims("sub is %s: it has neither a letter nor a digit", quote(sub)).WithHint(hint)
	}
	return prefix + sub, nil
}

func isControl(r rune) bool { return unicode.IsControl(r) }

// tokenID is jti with prefix in front: an id of one issuer's token is not one of another's.
func (c claims) tokenID(prefix string) (string, error) {
	v, has := c["jti"]
	if !has {
		return "", nil
	}
	jti, ok := v.(string)
	if !ok || jti == "" || len(jti) > maxTokenID-len(prefix) || strings.ContainsFunc(jti, isControl) {
		return "", badClaims("jti is not a string of 1 to %d bytes without control characters", maxTokenID-len(prefix))
	}
	return prefix + jti, nil
}

func badClaims(format string, a ...any) *protocol.Error {
	return protocol.Errorf(protocol.CodeTokenBadClaims, format, a...)
}
