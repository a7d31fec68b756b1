package authjwt

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestEveryMistakeInTheConfigurationNamesItsKey(t *testing.T) {
	const keys = `"keys":[{"alg":"HS256","secret":"0123456789abcdef0123456789abcdef"}]`
	one := func(more string) string { return `{"issuer":"i","audience":"a",` + more + `}` }
	two := func(first, second string) string {
		return `{"issuers":[{"issuer":"i","audience":"a",` + first + `},{"issuer":"j","audience":"a",` + second + `}]}`
	}
	set := func(members string) string { return one(`"jwks":{` + members + `}`) }
	for _, test := range []struct{ name, json, want string }{
		{"neither keys nor a set", `{"issuer":"i","audience":"a"}`, "keys: at least one is needed, or jwks"},
		{"an unknown key of a set", set(`"uri":"x"`), "uri"},
		{"an empty set", set(``), "jwks: want url or file"},
		{"url and file", set(`"url":"https://a.example","file":"b"`), "jwks: want either url or file"},
		{"file and refresh", set(`"file":"b","refresh":"1h"`), "jwks: ca, refresh and keep go with url"},
		{"no URL", set(`"url":"id.example.com"`), "jwks.url:"},
		{"http to another machine", set(`"url":"http://id.example.com/jwks"`), "jwks.url: \"http://id.example.com/jwks\" is http to another machine"},
		{"a name that begins like this machine's", set(`"url":"http://localhost.example.com/"`), "another machine"},
		{"another scheme", set(`"url":"file:///etc/passwd"`), "jwks.url:"},
		{"a password", set(`"url":"https://a:b@id.example.com/"`), "password"},
		{"a fragment", set(`"url":"https://id.example.com/#x"`), "fragment"},
		{"HS256 in a set", set(`"url":"https://a.example","algorithms":["HS256"]`), "jwks.algorithms[0]: HS256 is for secrets"},
		{"an unknown algorithm", set(`"url":"https://a.example","algorithms":["ES256","PS256"]`), `jwks.algorithms[1]: "PS256"`},
		{"refresh too often", set(`"url":"https://a.example","refresh":"1s"`), `"jwks.refresh" is "1s", want a duration such as 10m, from 10s to 24h`},
		{"keep without a unit", set(`"url":"https://a.example","keep":"5"`), `"jwks.keep" is "5"`},
		{"keep less than refresh", set(`"url":"https://a.example","refresh":"2h","keep":"1h"`), "jwks.keep: 1h0m0s is less than"},
		{"no file", set(`"file":"/no/such/file"`), "jwks: open /no/such/file"},
		{"no CA", set(`"url":"https://a.example","ca":"/no/such/file"`), "jwks: ca: open /no/such/file"},
		{"a key without a kid beside a set", one(keys + `,"jwks":{"url":"https://a.example"}`), "keys[0]: needs a kid beside jwks"},
		{"issuers beside issuer", `{"issuer":"i","issuers":[{"issuer":"j","audience":"a",` + keys + `}]}`, "issuers: with it, issuer,"},
		{"an issuer without audience", `{"issuers":[{"issuer":"i",` + keys + `}]}`, "issuers[0].audience is missing"},
		{"an issuer without issuer", `{"issuers":[{"audience":"i",` + keys + `}]}`, "issuers[0].issuer is missing"},
		{"an issuer twice", `{"issuers":[{"issuer":"i","audience":"a",` + keys + `},{"issuer":"i","audience":"b",` + keys + `}]}`, `issuers[1].issuer: "i" is there already`},
		{"users that would be the same", two(keys, keys), "issuers[1].user_prefix:"},
		{"a long prefix", two(keys, keys+`,"user_prefix":"`+strings.Repeat("x", 65)+`"`), "issuers[1].user_prefix: want at most 64"},
		{"a mistake in a key of the second", two(keys, `"user_prefix":"p-","keys":[{"alg":"HS256","secret":"short"}]`), "issuers[1].keys[0]: the HS256 secret has 5 bytes"},
		{"a mistake in a set of the second", two(keys, `"user_prefix":"p-","jwks":{"url":"x"}`), "issuers[1].jwks.url:"},
		{"a bad filter", one(keys + `,"grants":{"publish":["a","a..b"]}`), "grants.publish[1]: \"a..b\""},
		{"a bad filter of the second", two(keys, keys+`,"user_prefix":"p-","grants":{"history":["x-{sub}"]}`), "issuers[1].grants.history[0]:"},
		{"a role without a claim", one(keys + `,"grants_for":[{"value":"admin"}]`), "grants_for[0].claim is missing"},
		{"a role with half a path", one(keys + `,"grants_for":[{"claim":["a",""],"value":"admin"}]`), "grants_for[0].claim is missing"},
		{"a role without a value", one(keys + `,"grants_for":[{"claim":"roles"}]`), "grants_for[0].value is missing"},
		{"a claim that is a number", one(keys + `,"grants_for":[{"claim":7,"value":"admin"}]`), "claim: want the name of a claim"},
		{"a bad filter of a role", one(keys + `,"grants_for":[{"claim":"roles","value":"x"},{"claim":"roles","value":"admin","subscribe":[">.a"]}]`), "grants_for[1].subscribe[0]:"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := ParseConfig([]byte(test.json))
			if err == nil {
				c.Logger = discard
				_, err = New(c)
			}
			if err == nil || !strings.HasPrefix(err.Error(), "auth-jwt configuration: ") || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

func TestTheWholeConfigurationIsRead(t *testing.T) {
	got, err := ParseConfig([]byte(`{
		"issuers": [
			{"issuer": "i", "audience": "a", "jwks": {"url": "https://a.example", "ca": "ca.pem", "algorithms": ["ES256"], "refresh": "10m", "keep": "2h"}},
			{"issuer": "j", "audience": "b", "keys": [{"kid": "k", "alg": "RS256", "file": "f"}], "user_prefix": "p-",
			 "grants": {"publish": ["x"]}, "grants_for": [{"claim": ["a", "b"], "value": "v", "history": ["h"]}]}
		],
		"grants": {"subscribe": ["s"]},
		"grants_for": [{"claim": "roles", "value": "admin", "subscribe": [">"]}],
		"revoked": "list", "leeway": "1s", "max_lifetime": "2h"
	}`))
	want := Config{
		Issuers: []Issuer{
			{Issuer: "i", Audience: "a", JWKS: JWKS{URL: "https://a.example", CA: "ca.pem", Algorithms: []string{ES256}, Refresh: 10 * time.Minute, Keep: 2 * time.Hour}},
			{
				Issuer: "j", Audience: "b", Keys: []Key{{ID: "k", Alg: RS256, File: "f"}}, UserPrefix: "p-",
				Grants: Grants{Publish: []string{"x"}}, GrantsFor: []GrantsFor{{Claim: []string{"a", "b"}, Value: "v", Grants: Grants{History: []string{"h"}}}},
			},
		},
		Grants:    Grants{Subscribe: []string{"s"}},
		GrantsFor: []GrantsFor{{Claim: []string{"roles"}, Value: "admin", Grants: Grants{Subscribe: []string{">"}}}},
		Revoked:   "list", Leeway: time.Second, MaxLifetime: 2 * time.Hour,
	}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("%v %s", err, d)
	}
	if !json.Valid([]byte(ConfigSchema)) {
		t.Error("the schema is not JSON")
	}
}

func TestWhatATokenIsNotGivenIsSaid(t *testing.T) {
	a := newAuthOf(t, Config{
		Issuer: issuer, Audience: "carillon", Keys: []Key{{Alg: HS256, Secret: secret1}},
		Grants:    Grants{Subscribe: []string{"news.>", "tenants.{tenant}.>"}},
		GrantsFor: []GrantsFor{{Claim: []string{"realm_access", "roles"}, Value: "admin", Grants: Grants{Publish: []string{"orders.>"}}}},
	})
	token, err := newSigner(t, "", secret1).Sign(goodClaims())
	if err != nil {
		t.Fatal(err)
	}
	got, err := a.Withheld(token)
	want := []string{
		`subscribe tenants.{tenant}.>: "tenants.{tenant}.>" needs the claim "tenant", which the token has not as a string or a whole number`,
		`publish orders.>: the claim realm_access.roles does not have "admin" in it`,
	}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("%v %s", err, d)
	}
}

func TestAKeySetIsMadeOfPublicKeysOnly(t *testing.T) {
	rs, es, ed := newKeyFiles(t, testKeys()[RS256]), newKeyFiles(t, testKeys()[ES256]), newKeyFiles(t, testKeys()[EdDSA])
	b, err := PublicKeySet([]string{writeFile(t, rs.public), writeFile(t, es.private), writeFile(t, ed.cert)}, []string{"rs", "es", "ed"})
	if err != nil {
		t.Fatal(err)
	}
	keys, set, err := ReadKeys(writeFile(t, b))
	if err != nil || len(keys) != 0 {
		t.Fatal(keys, err)
	}
	a := newAuthOf(t, Config{Issuer: issuer, Audience: "carillon", JWKS: set})
	for _, of := range []string{RS256, ES256, EdDSA} {
		if _, err := authenticate(a, signed(t, strings.ToLower(of[:2]), of, goodClaims())); err != nil {
			t.Errorf("%s: %v", of, err)
		}
	}
	for name, key := range map[string][]byte{"a secret": []byte(secret1), "another curve": newKeyFiles(t, testKeys()["P-384"]).public, "weak": []byte(weakRSA)} {
		if _, err := PublicKeySet([]string{writeFile(t, key)}, nil); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}
