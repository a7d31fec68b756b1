package authhttp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/carillon-mq/carillon/broker"
)

// Bounds of the plugin contract (spec/plugin/auth/v1/auth.proto).
const (
	maxUserBytes      = 255
	maxGrants         = 1000
	maxAttributes     = 64
	maxAttributeKey   = 128
	maxAttributeValue = 4096
	maxLimit          = 1_000_000_000
	maxExpiresIn      = 366 * 24 * 3600
)

// answer is what the application says with status 200.
type answer struct {
	User       *text                     `json:"user"`
	Anonymous  bool                      `json:"anonymous"`
	TokenID    string                    `json:"token_id"`
	Grants     object[Grants]            `json:"grants"`
	ExpiresIn  *json.Number              `json:"expires_in"`
	Limits     object[map[string]limit]  `json:"limits"`
	Attributes object[map[string]string] `json:"attributes"`
}

// text is a string, or a whole number: user ids often are.
type text string

// UnmarshalJSON reads either.
func (t *text) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil && b[0] == '"' {
		*t = text(s)
		return nil
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil {
		return errors.New("user is neither a string nor a whole number")
	}
	*t = text(strconv.FormatInt(n, 10))
	return nil
}

// object is a JSON object; PHP writes an empty one as [].
type object[T any] struct{ v T }

// UnmarshalJSON reads either. Unknown members are errors.
func (o *object[T]) UnmarshalJSON(b []byte) error {
	if string(b) == "[]" {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode(&o.v)
}

// limit is a number from 1 on, or "unlimited".
type limit int

// UnmarshalJSON reads either.
func (l *limit) UnmarshalJSON(b []byte) error {
	if string(b) == `"unlimited"` {
		*l = broker.Unlimited
		return nil
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil || n < 1 || n > maxLimit {
		return errors.New(`a limit is neither a number from 1 on nor "unlimited"`)
	}
	*l = limit(n)
	return nil
}

// readAnswer is the identity that body, the application's answer of now, says; everyone are the grants of everybody. An error means that it
// says none in the documented form.
func readAnswer(body []byte, everyone Grants, now time.Time) (*broker.Identity, error) {
	if !utf8.Valid(body) {
		return nil, errors.New("the answer is not UTF-8")
	}
	var a answer
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		return nil, fmt.Errorf("the answer is not the JSON that is wanted: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON object in the answer")
	}
	id := &broker.Identity{TokenID: a.TokenID, Issued: now}
	switch {
	case a.User == nil && !a.Anonymous:
		return nil, errors.New("the answer has neither user nor anonymous; status 401 says that nobody is logged in")
	case a.User != nil && a.Anonymous:
		return nil, errors.New("the answer has both user and anonymous")
	case a.User != nil:
		id.User = string(*a.User)
		if err := checkText("user", id.User, maxUserBytes); err != nil {
			return nil, err
		}
	}
	if a.TokenID != "" {
		if err := checkText("token_id", a.TokenID, maxUserBytes); err != nil {
			return nil, err
		}
	}
	return id, a.fill(id, everyone, now)
}

func (a *answer) fill(id *broker.Identity, everyone Grants, now time.Time) error {
	for _, g := range []Grants{everyone, a.Grants.v} {
		grants, err := g.of(id.User)
		if err != nil {
			return err
		}
		id.Grants = append(id.Grants, grants...)
	}
	if len(id.Grants) > maxGrants {
		return fmt.Errorf("the answer has %d grants with the configured ones, the limit is %d", len(id.Grants), maxGrants)
	}
	if a.ExpiresIn != nil {
		seconds, err := a.ExpiresIn.Float64()
		if err != nil || !(seconds > 0 && seconds <= maxExpiresIn) {
			return fmt.Errorf("expires_in is not a number of seconds, more than 0 and at most %d", maxExpiresIn)
		}
		id.Expires = now.Add(time.Duration(seconds * float64(time.Second)))
	}
	if err := fillLimits(&id.Limits, a.Limits.v); err != nil {
		return err
	}
	if len(a.Attributes.v) > maxAttributes {
		return fmt.Errorf("the answer has %d attributes, the limit is %d", len(a.Attributes.v), maxAttributes)
	}
	for name, value := range a.Attributes.v {
		if name == "" || len(name) > maxAttributeKey || len(value) > maxAttributeValue || strings.ContainsFunc(name+value, unicode.IsControl) {
			return errors.New("an attribute has no name, is too long, or has a control character in it")
		}
	}
	id.Attributes = a.Attributes.v
	return nil
}

func fillLimits(to *broker.SessionLimits, limits map[string]limit) error {
	fields := map[string]*int{
		"publish_rate": &to.PublishRate, "publish_bytes": &to.PublishBytes, "subscriptions": &to.Subscriptions,
		"subscribe_rate": &to.SubscribeRate, "sessions": &to.SessionsOfUser,
	}
	for name, n := range limits {
		if fields[name] == nil {
			return fmt.Errorf("limits has %q; there are publish_rate, publish_bytes, subscriptions, subscribe_rate and sessions", clip(name))
		}
		*fields[name] = int(n)
	}
	return nil
}

func checkText(name, s string, most int) error {
	if s == "" || len(s) > most || strings.ContainsFunc(s, unicode.IsControl) {
		return fmt.Errorf("%s is not 1 to %d bytes without control characters", name, most)
	}
	return nil
}

// clip is s, short enough for a message, without control characters and half characters.
func clip(s string) string {
	const most = 200
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if len(s) <= most {
		return s
	}
	cut := most
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
