package authjwt

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/carillon-mq/carillon/protocol"
)

// jwk is the public key of testKeys under name as members of a JSON Web Key, with changes; nil leaves a member out.
func jwk(t testing.TB, name string, changes map[string]any) map[string]any {
	t.Helper()
	var m map[string]any
	switch k := testKeys()[name].Public().(type) {
	case *rsa.PublicKey:
		m = map[string]any{"kty": "RSA", "n": strictBase64.EncodeToString(k.N.Bytes()), "e": "AQAB"}
	case *ecdsa.PublicKey:
		point, err := k.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		half := len(point) / 2
		m = map[string]any{
			"kty": "EC", "crv": k.Curve.Params().Name,
			"x": strictBase64.EncodeToString(point[1 : 1+half]), "y": strictBase64.EncodeToString(point[1+half:]),
		}
	case ed25519.PublicKey:
		m = map[string]any{"kty": "OKP", "crv": "Ed25519", "x": strictBase64.EncodeToString(k)}
	}
	maps.Copy(m, changes)
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
	return m
}

func setOf(t testing.TB, keys ...map[string]any) []byte {
	t.Helper()
	b, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// kid is the change that names a key.
func kid(id string) map[string]any { return map[string]any{"kid": id} }

func TestKeySetsAreReadAndWhatIsNotForUsIsSkipped(t *testing.T) {
	type members = map[string]any
	rs, es, ed := jwk(t, RS256, kid("rs")), jwk(t, ES256, kid("es")), jwk(t, EdDSA, kid("ed"))
	ones := func(n int) string { return strictBase64.EncodeToString(bytes.Repeat([]byte{0xff}, n)) }
	weak := members{"kty": "RSA", "kid": "weak", "n": ones(128), "e": "AQAB"}
	for _, test := range []struct {
		name string
		keys []members
		want string // the algorithms by kid
		says string // of what was skipped
	}{
		{"one of each", []members{rs, es, ed}, "rs RS256, es ES256, ed EdDSA", ""},
		{"one that names its algorithm and use", []members{jwk(t, RS256, members{"kid": "a", "alg": "RS256", "use": "sig", "x5t": "x", "x5c": []string{"y"}})}, "a RS256", ""},
		{"for verifying", []members{jwk(t, ES256, members{"kid": "a", "key_ops": []string{"verify"}})}, "a ES256", ""},
		{"without a kid", []members{jwk(t, ES256, nil)}, " ES256", ""},
		{"for encryption", []members{jwk(t, RS256, members{"kid": "enc", "use": "enc"}), es}, "es ES256", `keys[0] (kid "enc") is not for signatures`},
		{"for signing only", []members{jwk(t, RS256, members{"key_ops": []string{"sign"}}), es}, "es ES256", "not for verifying"},
		{"for another algorithm of its kind", []members{jwk(t, RS256, members{"alg": "PS256"}), es}, "es ES256", `is for "PS256", of its kind this broker takes RS256`},
		{"J25 an Ed25519 key that claims to be for RS256", []members{jwk(t, EdDSA, members{"alg": "RS256"}), es}, "es ES256", `is for "RS256"`},
		{"J25 an RSA key that claims to be for HS256", []members{jwk(t, RS256, members{"alg": "HS256"}), es}, "es ES256", `is for "HS256"`},
		{"J25 an RSA key that claims to be for none", []members{jwk(t, RS256, members{"alg": "none"}), es}, "es ES256", `is for "none"`},
		{"J25 RSA of 1,024 bits", []members{weak, es}, "es ES256", "1024 bits"},
		{"another curve", []members{jwk(t, "P-384", nil), es}, "es ES256", "P-384"},
		{"a kind that is not known", []members{{"kty": "AKP", "kid": "pq"}, es}, "es ES256", `"AKP"`},
		{"a point that is not on the curve", []members{jwk(t, ES256, members{"x": strictBase64.EncodeToString(make([]byte, 32))}), es}, "es ES256", "not a point"},
		{"a coordinate that is short", []members{jwk(t, ES256, members{"x": "AAAA"}), es}, "es ES256", "3 bytes, want 32"},
		{"an Ed25519 key that is long", []members{jwk(t, EdDSA, members{"x": strictBase64.EncodeToString(make([]byte, 33))}), es}, "es ES256", "33 bytes, want 32"},
		{"an exponent of 1", []members{jwk(t, RS256, members{"e": "AQ"}), es}, "es ES256", "exponent"},
		{"an even exponent", []members{jwk(t, RS256, members{"e": "AQAC"}), es}, "es ES256", "exponent"},
		{"a huge exponent", []members{jwk(t, RS256, members{"e": ones(999)}), es}, "es ES256", "exponent"},
		{"RSA of 16,384 bits", []members{jwk(t, RS256, members{"n": ones(2048)}), es}, "es ES256", "limit is 8192"},
		{"padded", []members{jwk(t, RS256, members{"e": "AQAB="}), es}, "es ES256", "base64url"},
		{"without its modulus", []members{jwk(t, RS256, members{"n": nil}), es}, "es ES256", "has no n"},
		{"a kid that is a number", []members{jwk(t, RS256, members{"kid": 1}), es}, "es ES256", "kid"},
	} {
		t.Run(test.name, func(t *testing.T) {
			set, err := parseKeySet(setOf(t, test.keys...), publicAlgorithms)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, k := range set.keys {
				got = append(got, k.kid+" "+k.alg)
			}
			if list := strings.Join(got, ", "); list != test.want {
				t.Errorf("took %s, want %s (%v)", list, test.want, set.skipped)
			}
			if said := strings.Join(set.skipped, "; "); !strings.Contains(said, test.says) {
				t.Errorf("said %q, want %q", said, test.says)
			}
		})
	}
}

func TestKeySetsThatAreRefusedAsAWhole(t *testing.T) {
	type members = map[string]any
	es := jwk(t, ES256, kid("k"))
	many := make([]members, maxSetKeys+1)
	for i := range many {
		many[i] = jwk(t, ES256, kid(fmt.Sprint(i)))
	}
	for _, test := range []struct{ name, set, want string }{
		{"nothing", ``, "is not JSON"},
		{"a page", `<html>`, "is not JSON"},
		{"a list", `[]`, "not a JSON object"},
		{"no keys", `{}`, `no list "keys"`},
		{"keys that are no list", `{"keys":{}}`, `no list "keys"`},
		{"an empty set", `{"keys":[]}`, "no key that can be used"},
		{"a key that is no object", `{"keys":[1]}`, "keys[0] is not an object"},
		{"only what can't be used", `{"keys":[{"kty":"AKP"}]}`, `no key that can be used: keys[0] is of the kind "AKP"`},
		{"keys twice", `{"keys":[],"keys":[]}`, `"keys" twice`},
		{"a member of a key twice", `{"keys":[{"kty":"EC","kty":"RSA"}]}`, `"kty" twice`},
		{"a secret", `{"keys":[{"kty":"oct","k":"AAAA"}]}`, "is a secret"},
		{"one kid twice", string(setOf(t, es, jwk(t, "other ES256", kid("k")))), "same kid"},
		{"a private key", string(setOf(t, es, jwk(t, RS256, members{"d": "AQAB"}))), `private member "d"`},
		{"too many", string(setOf(t, many...)), "101 keys, the limit is 100"},
		{"deep", `{"keys":[` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `]}`, "deeper"},
	} {
		t.Run(test.name, func(t *testing.T) {
			set, err := parseKeySet([]byte(test.set), publicAlgorithms)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, %v; want %q", set, err, test.want)
			}
		})
	}
	if _, err := parseKeySet(setOf(t, es), []string{RS256}); err == nil || !strings.Contains(err.Error(), "jwks.algorithms") {
		t.Errorf("an algorithm that is not allowed: %v", err)
	}
}

func TestAKeyOfASetVerifiesItsOwnAlgorithmOnly(t *testing.T) {
	a := newAuthOf(t, Config{
		Issuer: issuer, Audience: "carillon",
		JWKS: JWKS{File: writeFile(t, setOf(t, jwk(t, RS256, kid("rs")), jwk(t, ES256, kid("es")), jwk(t, EdDSA, kid("ed"))))},
	})
	private := func(name string) string { return string(newKeyFiles(t, testKeys()[name]).private) }
	for kid, alg := range map[string]string{"rs": RS256, "es": ES256, "ed": EdDSA} {
		token, err := newSigner(t, kid, private(alg)).Sign(goodClaims())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := authenticate(a, token); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
		for other := range map[string]string{"rs": RS256, "es": ES256, "ed": EdDSA} {
			if other == kid {
				continue
			}
			token, err := newSigner(t, other, private(alg)).Sign(goodClaims())
			if err != nil {
				t.Fatal(err)
			}
			_, err = authenticate(a, token)
			wantRefusal(t, token, err, protocol.CodeTokenUnknownKey, "the key")
		}
	}
	public := newKeyFiles(t, testKeys()[RS256]).public // known to everybody: no secret
	token, err := (&Signer{kid: "rs", alg: HS256, material: public}).Sign(goodClaims())
	if err != nil {
		t.Fatal(err)
	}
	_, err = authenticate(a, token)
	wantRefusal(t, token, err, protocol.CodeTokenUnknownKey, `alg is "HS256"`)
}

func FuzzKeySet(f *testing.F) {
	f.Add(setOf(f, jwk(f, RS256, kid("rs")), jwk(f, ES256, kid("es")), jwk(f, EdDSA, kid("ed"))))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"},{"kty":"oct"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		set, err := parseKeySet(b, publicAlgorithms)
		if err != nil {
			return
		}
		if len(set.keys) == 0 || len(set.keys) > maxSetKeys {
			t.Fatalf("%d keys", len(set.keys))
		}
		for _, k := range set.keys {
			if err := fits(k.alg, k.material); err != nil || k.alg == HS256 {
				t.Fatalf("%s: %v", k.describe(), err)
			}
			_ = k.verify(&token{signed: "x.y", signature: make([]byte, 64)}) // with whatever key: no panic
		}
	})
}
