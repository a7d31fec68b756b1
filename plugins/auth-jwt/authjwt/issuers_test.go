package authjwt

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-mq/carillon/protocol"
)

const partner = "https://partner.example"

// twoIssuers have the same kid and each its own key, audience and grants.
func twoIssuers(t testing.TB) *Auth {
	t.Helper()
	return newAuthOf(t, Config{
		Grants: Grants{Subscribe: []string{"news.>"}},
		Issuers: []Issuer{
			{
				Issuer: issuer, Audience: "carillon", Keys: []Key{{ID: "k", Alg: HS256, Secret: secret1}},
				Grants: Grants{Publish: []string{"orders.{sub}"}},
			},
			{
				Issuer: partner, Audience: "push", JWKS: JWKS{File: writeFile(t, setOf(t, jwk(t, ES256, kid("k"))))},
				UserPrefix: "partner-", Grants: Grants{Publish: []string{"deliveries.{sub}"}},
			},
		},
	})
}

func TestEachIssuerHasItsOwnKeysAudienceUsersAndGrants(t *testing.T) {
	a := twoIssuers(t)
	ours, err := newSigner(t, "k", secret1).Sign(with(map[string]any{"jti": "t1"}))
	if err != nil {
		t.Fatal(err)
	}
	theirs := signed(t, "k", ES256, with(map[string]any{"iss": partner, "aud": "push", "jti": "t1"}))
	for _, test := range []struct {
		token, user, id string
		grants          []string
	}{
		{ours, "john", "t1", []string{"news.>", "orders.john"}},
		{theirs, "partner-john", "partner-t1", []string{"news.>", "deliveries.john"}},
	} {
		id, err := authenticate(a, test.token)
		if err != nil {
			t.Fatal(err)
		}
		var grants []string
		for _, g := range id.Grants {
			grants = append(grants, g.Filter)
		}
		if d := cmp.Diff(test.grants, grants); d != "" || id.User != test.user || id.TokenID != test.id {
			t.Errorf("user %q, token %q, %s", id.User, id.TokenID, d)
		}
	}
}

// Who chooses ids at one issuer must not be able to choose those of another's users.
func TestNoIssuersUserIsCalledAsAnothers(t *testing.T) {
	a := twoIssuers(t)
	for _, test := range []struct {
		changes map[string]any
		refused string
	}{
		{map[string]any{"sub": "partner-john"}, `sub begins with "partner-"`},
		{map[string]any{"jti": "partner-t1"}, `jti begins with "partner-"`},
		{map[string]any{"sub": "partner", "jti": "a-partner-t1"}, ""},
	} {
		token, err := newSigner(t, "k", secret1).Sign(with(test.changes))
		if err != nil {
			t.Fatal(err)
		}
		id, err := authenticate(a, token)
		if test.refused != "" {
			wantRefusal(t, token, err, protocol.CodeTokenBadClaims, test.refused)
		} else if err != nil || id.User != "partner" {
			t.Errorf("%v: %v, %v", test.changes, id, err)
		}
	}
	theirs := signed(t, "k", ES256, with(map[string]any{"iss": partner, "aud": "push", "sub": "partner-john"}))
	if id, err := authenticate(a, theirs); err != nil || id.User != "partner-partner-john" {
		t.Errorf("%v, %v", id, err)
	}
}

func TestNoIssuersKeyVerifiesAnothersToken(t *testing.T) {
	a := twoIssuers(t)
	byUs := func(changes map[string]any) string {
		token, err := newSigner(t, "k", secret1).Sign(with(changes))
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	byThem := func(changes map[string]any) string { return signed(t, "k", ES256, with(changes)) }
	const unknown, iss, aud = protocol.CodeTokenUnknownKey, protocol.CodeTokenWrongIssuer, protocol.CodeTokenWrongAudience
	for _, test := range []struct {
		name, token string
		code        protocol.Code
		detail      string
	}{
		{"their key, our name", byThem(nil), unknown, `alg is "ES256"`},
		{"our key, their name", byUs(map[string]any{"iss": partner, "aud": "push"}), unknown, `the key "k" is for ES256`},
		{"their key and name, our audience", byThem(map[string]any{"iss": partner}), aud, `this broker wants "push"`},
		{"our key and name, their audience", byUs(map[string]any{"aud": "push"}), aud, `this broker wants "carillon"`},
		{"J11 nobody's name", byUs(map[string]any{"iss": "https://evil.test"}), iss, "none of this broker's 2 issuers"},
		{"J11 a slash at the end", byUs(map[string]any{"iss": issuer + "/"}), iss, "none of"},
		{"J11 no name", byUs(map[string]any{"iss": nil}), iss, "no iss"},
		{"J11 a list of both", byUs(map[string]any{"iss": []string{issuer, partner}}), iss, "no iss"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := authenticate(a, test.token)
			wantRefusal(t, test.token, err, test.code, test.detail)
		})
	}
}

func TestRolesAndScopesAreGrants(t *testing.T) {
	orders := Grants{Subscribe: []string{"orders.>"}}
	for _, test := range []struct {
		name   string
		rule   GrantsFor
		claims map[string]any
		want   bool
	}{
		{"a role in a list", GrantsFor{Claim: []string{"roles"}, Value: "admin"}, map[string]any{"roles": []string{"a", "admin"}}, true},
		{"another role", GrantsFor{Claim: []string{"roles"}, Value: "admin"}, map[string]any{"roles": []string{"administrator"}}, false},
		{"another case", GrantsFor{Claim: []string{"roles"}, Value: "admin"}, map[string]any{"roles": []string{"Admin"}}, false},
		{"the only role", GrantsFor{Claim: []string{"role"}, Value: "admin"}, map[string]any{"role": "admin"}, true},
		{"a role with a blank is one", GrantsFor{Claim: []string{"role"}, Value: "admin"}, map[string]any{"role": "not admin"}, false},
		{"a scope among others", GrantsFor{Claim: []string{"scope"}, Value: "orders:read"}, map[string]any{"scope": "openid orders:read"}, true},
		{"the beginning of a scope", GrantsFor{Claim: []string{"scope"}, Value: "orders:read"}, map[string]any{"scope": "openid orders:readonly"}, false},
		{"scp as a text", GrantsFor{Claim: []string{"scp"}, Value: "b"}, map[string]any{"scp": "a b"}, true},
		{"scope as a list", GrantsFor{Claim: []string{"scope"}, Value: "b"}, map[string]any{"scope": []string{"a", "b"}}, true},
		{"a path", GrantsFor{Claim: []string{"realm_access", "roles"}, Value: "x"}, map[string]any{"realm_access": map[string]any{"roles": []string{"x"}}}, true},
		{"a name with dots is one name", GrantsFor{Claim: []string{"https://a.example/roles"}, Value: "x"}, map[string]any{"https://a.example/roles": []string{"x"}}, true},
		{"a path that ends early", GrantsFor{Claim: []string{"realm_access", "roles"}, Value: "x"}, map[string]any{"realm_access": "x"}, false},
		{"no claim", GrantsFor{Claim: []string{"roles"}, Value: "x"}, nil, false},
		{"a claim of objects", GrantsFor{Claim: []string{"roles"}, Value: "x"}, map[string]any{"roles": []any{map[string]any{"x": 1}, []string{"x"}, 1, nil}}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.rule.Grants = orders
			a := newAuthOf(t, Config{Issuer: issuer, Audience: "carillon", Keys: []Key{{Alg: HS256, Secret: secret1}}, GrantsFor: []GrantsFor{test.rule}})
			token, err := newSigner(t, "", secret1).Sign(with(test.claims))
			if err != nil {
				t.Fatal(err)
			}
			id, err := authenticate(a, token)
			if err != nil {
				t.Fatal(err)
			}
			if got := id.CanSubscribe("orders.1"); got != test.want {
				t.Errorf("may subscribe: %v, want %v", got, test.want)
			}
		})
	}
}

func TestWhatIsRevokedIsRefused(t *testing.T) {
	list := writeFile(t, []byte(`# signed out everywhere
{"sub": "jane"}

{"sub": "john", "before": 1799999000}
{"jti": "stolen", "note": "lost laptop"}
{"sub": "elsewhere", "iss": "https://partner.example"}
`))
	a := newAuthOf(t, Config{Issuer: issuer, Audience: "carillon", Keys: []Key{{Alg: HS256, Secret: secret1}}, Revoked: list})
	signer := newSigner(t, "", secret1)
	try := func(claims map[string]any) (string, error) {
		t.Helper()
		token, err := signer.Sign(with(claims))
		if err != nil {
			t.Fatal(err)
		}
		_, err = authenticate(a, token)
		return token, err
	}
	for _, test := range []struct {
		name   string
		claims map[string]any
		detail string // "": good
	}{
		{"nobody's", map[string]any{"sub": "mary"}, ""},
		{"a user's", map[string]any{"sub": "jane", "iat": now}, `all tokens of the sub "jane"`},
		{"an old one", map[string]any{"iat": 1799998999}, "this one is of 2027-01-15T07:43:19Z"},
		{"an old one by a fraction", map[string]any{"iat": 1799998999.5}, "from before 2027-01-15T07:43:20Z"},
		{"a new one", map[string]any{"iat": 1799999000}, ""},
		{"one of nobody knows when", nil, "this one has no iat"},
		{"the token", map[string]any{"sub": "mary", "jti": "stolen"}, `jti "stolen"`},
		{"another token", map[string]any{"sub": "mary", "jti": "mine"}, ""},
		{"of another issuer", map[string]any{"sub": "elsewhere"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			token, err := try(test.claims)
			if test.detail == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantRefusal(t, token, err, protocol.CodeRevoked, test.detail)
		})
	}
	replaceFile(t, list, []byte(`{"sub": "mary"}`+"\n"))
	a.revoked.poll()
	token, err := try(map[string]any{"sub": "mary"})
	wantRefusal(t, token, err, protocol.CodeRevoked, `"mary"`)
	if _, err := try(map[string]any{"sub": "jane"}); err != nil {
		t.Errorf("a line that is gone: %v", err)
	}
	replaceFile(t, list, []byte(`{"sub": "jane"}`+"\n"+`{"sub": `))
	a.revoked.poll()
	if _, err := try(map[string]any{"sub": "jane"}); err != nil {
		t.Errorf("a broken list counts: %v", err)
	}
	_, err = try(map[string]any{"sub": "mary"})
	wantRefusal(t, token, err, protocol.CodeRevoked, `"mary"`)
	if err := os.Remove(list); err != nil {
		t.Fatal(err)
	}
	a.revoked.poll()
	_, err = try(map[string]any{"sub": "mary"})
	wantRefusal(t, token, err, protocol.CodeRevoked, `"mary"`)
}

func TestListsOfRevocationsThatCanNotBeRead(t *testing.T) {
	for _, test := range []struct{ list, want string }{
		{`{"sub": "a"}` + "\n" + `{"jti": }`, "line 2 is not JSON"},
		{`{"sub": "a", "jti": "b"}`, "either jti or sub"},
		{`{"note": "b"}`, "either jti or sub"},
		{`{"user": "a"}`, `member "user", want jti or sub`},
		{`{"sub": 7}`, "member sub that is not a string"},
		{`{"sub": ""}`, "or empty"},
		{`{"sub": "a", "before": "now"}`, "before that is not a time"},
		{`{"sub": "a", "before": -1}`, "before that is not a time"},
		{`{"sub": "a", "before": 1799999000000}`, "before that is not a time"},
		{`{"jti": "a", "before": 1}`, "before with a jti"},
		{`["a"]`, "not a JSON object"},
		{`{"sub": "a", "sub": "b"}`, `"sub" twice`},
		{strings.Repeat("#\n", 6) + "x", "line 7 is not JSON"},
	} {
		if _, err := parseRevoked([]byte(test.list)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.list, err, test.want)
		}
	}
	if _, err := New(Config{Issuer: issuer, Audience: "a", Keys: []Key{{Alg: HS256, Secret: secret1}}, Revoked: "/no/such/list", Logger: discard}); err == nil ||
		!strings.Contains(err.Error(), "auth-jwt configuration: revoked: open /no/such/list") {
		t.Errorf("a list that is not there: %v", err)
	}
	list, err := parseRevoked([]byte(`{"sub":"a","before":5}` + "\r\n" + `{"sub":"a","before":9}` + "\n" + `{"sub":"a","before":7}`))
	if err != nil || list.users[named{"", "a"}] != 9 {
		t.Errorf("%v, %v: want the line that goes furthest", list, err)
	}
	if list, err = parseRevoked([]byte(`{"sub":"a"}` + "\n" + `{"sub":"a","before":9}`)); err != nil || list.users[named{"", "a"}] != everyToken {
		t.Errorf("%v, %v: want every token", list, err)
	}
}

func FuzzRevoked(f *testing.F) {
	f.Add([]byte(`{"sub": "a", "before": 1, "iss": "i"}` + "\n" + `{"jti": "b"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := parseRevoked(b)
		if err != nil {
			return
		}
		for u, before := range list.users {
			if u.id == "" || before != everyToken && (before < 0 || before > lastSecond) {
				t.Fatalf("%+v before %v", u, before)
			}
		}
	})
}
