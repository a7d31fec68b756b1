package authjwt

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secret1 = "0123456789abcdef0123456789abcdef"
	secret2 = "another secret that is long enough"
	issuer  = "https://id.example"
	now     = 1_800_000_000
)

var discard = slog.New(slog.DiscardHandler)

func newAuth(t testing.TB, keys ...Key) *Auth {
	t.Helper()
	a, err := New(Config{
		Issuer: issuer, Audience: "carillon", Keys: keys, Logger: discard,
		Now: func() time.Time { return time.Unix(now, 0) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func newSigner(t testing.TB, kid, key string) *Signer {
	t.Helper()
	s, err := NewSigner(kid, []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func authenticate(a *Auth, token string) (*broker.Identity, error) {
	return a.Authenticate(context.Background(), broker.Credentials{Token: token})
}

func goodClaims() map[string]any {
	return map[string]any{"iss": issuer, "aud": "carillon", "sub": "john", "exp": now + 600}
}

// with is goodClaims with some of them changed; nil removes one.
func with(changes map[string]any) map[string]any {
	c := goodClaims()
	for name, v := range changes {
		c[name] = v
		if v == nil {
			delete(c, name)
		}
	}
	return c
}

// wantRefusal checks that err is a refusal with code, that tells what was found and what to do, and nothing of the token.
func wantRefusal(t *testing.T, token string, err error, code protocol.Code, detail string) {
	t.Helper()
	var refusal *protocol.Error
	if !errors.As(err, &refusal) {
		t.Fatalf("%v, want %v", err, code)
	}
	if refusal.Code != code || !strings.Contains(refusal.Detail, detail) {
		t.Errorf("%v, want %v: …%s…", refusal, code, detail)
	}
	for part := range strings.SplitSeq(token, ".") {
		if len(part) > 10 && strings.Contains(refusal.Detail+refusal.Hint, part[:10]) {
			t.Errorf("the token is in %v", refusal)
		}
	}
}

func TestAGoodTokenIsAnIdentity(t *testing.T) {
	a := newAuth(t, Key{ID: "k1", Alg: HS256, Secret: secret1})
	token, err := newSigner(t, "k1", secret1).Sign(with(map[string]any{
		"jti": "token-1", "aud": []string{"x", "carillon"}, "iat": now - 5, "nbf": now - 5, "tenant": "a.b", "other": []int{1},
		"carillon": map[string]any{
			"publish": []string{"orders.*", "rooms.{tenant}.in"}, "subscribe": []string{"orders.>", "people.{sub}"}, "history": []string{"orders.>"},
			"presence":   []string{"rooms.*"},
			"exclude":    []string{"orders.*", "rooms.{tenant}.in"},
			"limits":     map[string]any{"publish_rate": 5, "publish_bytes": 6, "subscriptions": "unlimited", "subscribe_rate": 7, "sessions": 8},
			"attributes": map[string]string{"name": "John"},
		},
	}))
	if err != nil {
		t.Fatal(err)
	}
	got, err := authenticate(a, token)
	if err != nil {
		t.Fatal(err)
	}
	want := &broker.Identity{
		User: "john", TokenID: "token-1", Issued: time.Unix(now-5, 0), Expires: time.Unix(now+600, 0),
		Grants: []broker.Grant{
			{Actions: broker.ActionExclude, Filter: "orders.*"},
			{Actions: broker.ActionExclude, Filter: "rooms.a%2Eb.in"},
			{Actions: broker.ActionHistory, Filter: "orders.>"},
			{Actions: broker.ActionPresence, Filter: "rooms.*"},
			{Actions: broker.ActionPublish, Filter: "orders.*"},
			{Actions: broker.ActionPublish, Filter: "rooms.a%2Eb.in"},
			{Actions: broker.ActionSubscribe, Filter: "orders.>"},
			{Actions: broker.ActionSubscribe, Filter: "people.john"},
		},
		Limits:     broker.SessionLimits{PublishRate: 5, PublishBytes: 6, Subscriptions: broker.Unlimited, SubscribeRate: 7, SessionsOfUser: 8},
		Attributes: map[string]string{"name": "John"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// The contract lets an identity have expired 60 s ago at most, and the broker ends its session 30 s behind the expiry.
func TestATokenThatIsGoodByTheLeewayIsAnIdentityThatTheBrokerTakes(t *testing.T) {
	for _, leeway := range []time.Duration{time.Second, 30 * time.Second, time.Minute, 5 * time.Minute} {
		a := newAuthOf(t, Config{Issuer: issuer, Audience: "carillon", Keys: []Key{{ID: "k1", Alg: HS256, Secret: secret1}}, Leeway: leeway})
		exp := time.Unix(now, 0).Add(time.Second - leeway) // good for one more second
		token, err := newSigner(t, "k1", secret1).Sign(with(map[string]any{"exp": exp.Unix()}))
		if err != nil {
			t.Fatal(err)
		}
		id, err := authenticate(a, token)
		if err != nil {
			t.Errorf("leeway %v: %v", leeway, err)
			continue
		}
		if ago := time.Unix(now, 0).Sub(id.Expires); ago > 30*time.Second {
			t.Errorf("leeway %v: it expired %v ago", leeway, ago)
		}
		if ends := id.Expires.Add(30 * time.Second).Sub(exp); ends != max(leeway, 30*time.Second) {
			t.Errorf("leeway %v: the session ends %v behind exp", leeway, ends)
		}
	}
}

func TestConfiguredGrantsAreForEverybodyWhoHasTheClaim(t *testing.T) {
	a, err := New(Config{
		Issuer: issuer, Audience: "carillon", Keys: []Key{{Alg: HS256, Secret: secret1}}, Logger: discard,
		Now:    func() time.Time { return time.Unix(now, 0) },
		Grants: Grants{Subscribe: []string{"news.>", "orders.{sub}.>", "tenants.{tenant}.>"}, Publish: []string{"inbox.{sub}"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		claims map[string]any
		want   []string
	}{
		{"no tenant", nil, []string{"inbox.john", "news.>", "orders.john.>"}},
		{"a tenant", map[string]any{"tenant": "acme"}, []string{"inbox.john", "news.>", "orders.john.>", "tenants.acme.>"}},
		{"a tenant that is a number", map[string]any{"tenant": 7}, []string{"inbox.john", "news.>", "orders.john.>", "tenants.7.>"}},
		{"a tenant that is half a number", map[string]any{"tenant": 7.5}, []string{"inbox.john", "news.>", "orders.john.>"}},
		{"a tenant that is a list", map[string]any{"tenant": []string{"a"}}, []string{"inbox.john", "news.>", "orders.john.>"}},
		{"nobody is everybody", map[string]any{"sub": "a.>", "tenant": ">"}, []string{"inbox.a%2E%3E", "news.>", "orders.a%2E%3E.>", "tenants.%3E.>"}},
		{"nor the broker", map[string]any{"sub": "$sys"}, []string{"inbox.%24sys", "news.>", "orders.%24sys.>"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			token, err := newSigner(t, "", secret1).Sign(with(test.claims))
			if err != nil {
				t.Fatal(err)
			}
			id, err := authenticate(a, token)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, g := range id.Grants {
				got = append(got, g.Filter)
			}
			if d := cmp.Diff(test.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestConfigurationsThatAreRefused(t *testing.T) {
	keys := []Key{{Alg: HS256, Secret: secret1}}
	for _, test := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"no issuer", Config{Audience: "a", Keys: keys}, "issuer is missing"},
		{"no audience", Config{Issuer: "i", Keys: keys}, "audience is missing"},
		{"a bad filter", Config{Issuer: "i", Audience: "a", Keys: keys, Grants: Grants{Publish: []string{"a..b"}}}, `"a..b"`},
		{"half a level", Config{Issuer: "i", Audience: "a", Keys: keys, Grants: Grants{History: []string{"a-{sub}"}}}, "whole level"},
		{"an open brace", Config{Issuer: "i", Audience: "a", Keys: keys, Grants: Grants{History: []string{"{sub"}}}, "whole level"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := New(test.cfg); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
	for _, test := range []struct{ name, json, want string }{
		{"unknown key", `{"isuer":"x"}`, "isuer"},
		{"unknown key of a key", `{"keys":[{"kdi":"x"}]}`, "kdi"},
		{"a duration without unit", `{"leeway":"30"}`, "leeway"},
		{"no duration", `{"max_lifetime":"0s"}`, "max_lifetime"},
		{"a long leeway", `{"leeway":"10m"}`, "leeway"},
		{"two objects", `{}{}`, "follows"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := ParseConfig([]byte(test.json)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
	c, err := ParseConfig([]byte(`{"issuer":"i","audience":"a","keys":[{"kid":"k","alg":"HS256","secret":"s"}],"grants":{"publish":["p"]},"leeway":"1s","max_lifetime":"2h"}`))
	want := Config{
		Issuer: "i", Audience: "a", Keys: []Key{{ID: "k", Alg: "HS256", Secret: "s"}}, Grants: Grants{Publish: []string{"p"}},
		Leeway: time.Second, MaxLifetime: 2 * time.Hour,
	}
	if d := cmp.Diff(want, c); err != nil || d != "" {
		t.Errorf("%v %s", err, d)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	k := Key{ID: "k", Alg: HS256, Secret: secret1}
	b, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	slog.New(slog.NewTextHandler(&text, nil)).Info("x", "hint", k)
	for _, s := range []string{string(b), text.String(), sprint("%v", k), sprint("%+v", k), sprint("%#v", k), sprint("%s", k.Secret)} {
		if strings.Contains(s, secret1) || !strings.Contains(s, "***") {
			t.Errorf("%s", s)
		}
	}
}

func TestInspectShowsWhatATokenSays(t *testing.T) {
	token, err := newSigner(t, "k1", secret1).Sign(goodClaims())
	if err != nil {
		t.Fatal(err)
	}
	got, err := Inspect(token)
	if err != nil {
		t.Fatal(err)
	}
	want := Inspection{
		Algorithm: HS256, KeyID: "k1",
		Header: map[string]any{"alg": HS256, "kid": "k1", "typ": "JWT"},
		Claims: map[string]any{"iss": issuer, "aud": "carillon", "sub": "john", "exp": json.Number("1800000600")},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if _, err := Inspect("nonsense"); protocol.CodeOf(err) != protocol.CodeTokenMalformed {
		t.Error(err)
	}
}
