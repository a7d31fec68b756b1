package badinput

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"testing"
	"time"
)

const (
	secret = "0123456789abcdef0123456789abcdef"
	issuer = "https://app.example"
)

type (
	rights  map[string]any
	filters []string
)

var (
	unlimited  = map[string]any{"publish_rate": "unlimited", "publish_bytes": "unlimited", "subscribe_rate": "unlimited", "subscriptions": "unlimited"}
	everything = rights{"publish": filters{">"}, "subscribe": filters{">"}, "history": filters{">"}, "limits": unlimited}
	// narrow has the default limits.
	narrow = rights{
		"publish": filters{"public.>", "orders.*"}, "subscribe": filters{"public.*", "tenant1.>", "tenant2.a.>"},
	}
)

// claims are a good token's.
func claims(user string, r rights) map[string]any {
	now := time.Now()
	return map[string]any{"iss": issuer, "aud": "carillon", "sub": user, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "carillon": r}
}

// token is a good one.
func token(t testing.TB, user string, r rights) string {
	t.Helper()
	payload, err := json.Marshal(claims(user, r))
	if err != nil {
		t.Fatal(err)
	}
	return signed(`{"alg":"HS256","kid":"main"}`, string(payload))
}

// signedClaims is a good token with other claims; nil takes one out.
func signedClaims(t testing.TB, user string, others map[string]any) string {
	t.Helper()
	all := claims(user, everything)
	for name, v := range others {
		if all[name] = v; v == nil {
			delete(all, name)
		}
	}
	payload, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return signed(`{"alg":"HS256","kid":"main"}`, string(payload))
}

var base64URL = base64.RawURLEncoding

// signed is a token of the header and the payload as they are, which the broker's key has signed.
func signed(header, payload string) string { return signedWith(secret, header, payload) }

func signedWith(key, header, payload string) string {
	text := base64URL.EncodeToString([]byte(header)) + "." + base64URL.EncodeToString([]byte(payload))
	return text + "." + base64URL.EncodeToString(mac(key, text))
}

func mac(key, text string) []byte {
	h := hmac.New(sha256.New, []byte(key))
	h.Write([]byte(text))
	return h.Sum(nil)
}
