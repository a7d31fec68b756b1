package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/auth-jwt/authjwt"
	"github.com/carillon-mq/carillon/plugins/plugintest"
	"github.com/carillon-mq/carillon/protocol"
)

const secret = "0123456789abcdef0123456789abcdef"

func TestContract(t *testing.T) {
	now := time.Now().Unix()
	claims := func(changes map[string]any) map[string]any {
		c := map[string]any{
			"iss": "https://id.example", "aud": "carillon", "sub": "john", "exp": now + 600, "jti": "t1",
			"carillon": map[string]any{"publish": []string{"orders.{sub}"}, "limits": map[string]any{"publish_rate": 7}},
		}
		maps.Copy(c, changes)
		return c
	}
	sign := func(secret string, claims map[string]any) broker.Credentials {
		t.Helper()
		signer, err := authjwt.NewSigner("k1", []byte(secret))
		if err != nil {
			t.Fatal(err)
		}
		token, err := signer.Sign(claims)
		if err != nil {
			t.Fatal(err)
		}
		return broker.Credentials{Token: token, Transport: "ws", Remote: "192.0.2.1"}
	}
	want := &broker.Identity{
		User: "john", TokenID: "t1", Expires: time.Unix(now+600, 0), Limits: broker.SessionLimits{PublishRate: 7},
		Grants: []broker.Grant{{Actions: broker.ActionSubscribe, Filter: "news.>"}, {Actions: broker.ActionPublish, Filter: "orders.john"}},
	}
	plugintest.Run(t, plugintest.Plugin{
		Path:    plugintest.Build(t, "."),
		Bundled: true,
		Config: fmt.Sprintf(`{"issuer": "https://id.example", "audience": "carillon", "keys": [{"kid": "k1", "alg": "HS256", "secret": %q}],
			"grants": {"subscribe": ["news.>"]}, "revoked": "{dir}/revoked"}`, secret),
		Prepare: func(dir string) error { return revoke("")(t.Context(), dir) },
		Logins: []plugintest.Login{
			{Name: "good", Credentials: sign(secret, claims(nil)), Check: func(id *broker.Identity) error {
				if d := cmp.Diff(want, id); d != "" {
					return fmt.Errorf("the identity differs (- want, + got): %s", d)
				}
				return nil
			}, Revoke: revoke(`{"jti": "t1"}`)},
			{
				Name: "good, of jane", Credentials: sign(secret, claims(map[string]any{"sub": "jane", "jti": "t2", "iat": now - 60})), User: "jane",
				Revoke: revoke(`{"sub": "jane"}`),
			},
			{Name: "expired", Credentials: sign(secret, claims(map[string]any{"exp": now - 60})), Refused: protocol.CodeTokenExpired},
			{Name: "not valid yet", Credentials: sign(secret, claims(map[string]any{"nbf": now + 300})), Refused: protocol.CodeTokenNotYetValid},
			{Name: "another audience", Credentials: sign(secret, claims(map[string]any{"aud": "shop"})), Refused: protocol.CodeTokenWrongAudience},
			{Name: "another issuer", Credentials: sign(secret, claims(map[string]any{"iss": "evil"})), Refused: protocol.CodeTokenWrongIssuer},
			{Name: "another key", Credentials: sign("another secret that is long enough", claims(nil)), Refused: protocol.CodeTokenBadSignature},
			{Name: "a bad filter", Credentials: sign(secret, claims(map[string]any{"carillon": map[string]any{"publish": []string{"a..b"}}})), Refused: protocol.CodeTokenBadClaims},
			{Name: "no token", Credentials: broker.Credentials{Transport: "ws"}, Refused: protocol.CodeTokenMissing},
		},
	})
}

// revoke writes a line into the list of what is revoked.
func revoke(line string) func(context.Context, string) error {
	return func(_ context.Context, dir string) error {
		f, err := os.OpenFile(filepath.Join(dir, "revoked"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(f, line)
		return errors.Join(err, f.Close())
	}
}
