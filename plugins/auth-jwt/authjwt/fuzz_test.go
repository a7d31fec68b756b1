package authjwt

import (
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/carillon-mq/carillon/protocol"
)

func hmacOf(t testing.TB, s *Signer, signed string) string {
	t.Helper()
	signature, err := methods[s.alg].Sign(signed, s.material)
	if err != nil {
		t.Fatal(err)
	}
	return strictBase64.EncodeToString(signature)
}

// FuzzToken feeds whatever a client may send.
func FuzzToken(f *testing.F) {
	a := newAuth(f, Key{ID: "k1", Alg: HS256, Secret: secret1})
	good, err := newSigner(f, "k1", secret1).Sign(goodClaims())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add("..")
	f.Add(strings.Repeat("eyJh.", 3))
	f.Fuzz(func(t *testing.T, token string) {
		id, err := authenticate(a, token)
		if err == nil && token != good {
			t.Fatalf("%q is %+v", token, id)
		}
		if err != nil && protocol.CodeOf(err) == protocol.CodeInternal {
			t.Fatalf("no refusal: %v", err)
		}
	})
}

// FuzzClaims signs what it is given, so that the fuzzer gets past the signature. Whatever is accepted has to be sound.
func FuzzClaims(f *testing.F) {
	a := newAuth(f, Key{Alg: HS256, Secret: secret1})
	signer := newSigner(f, "", secret1)
	f.Add(`{"alg":"HS256"}`, payload(""))
	f.Add(`{"alg":"HS256","typ":"JWT"}`, payload(`,"nbf":1,"iat":1799999999,"jti":"x","carillon":{"publish":["a.{sub}",">"],"limits":{"sessions":1},"attributes":{"a":"b"}}`))
	f.Fuzz(func(t *testing.T, header, payload string) {
		token, err := signer.signRaw([]byte(header), []byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		id, err := authenticate(a, token)
		if err != nil {
			if protocol.CodeOf(err) == protocol.CodeInternal {
				t.Fatalf("no refusal: %v", err)
			}
			return
		}
		if id.User == "" || len(id.User) > maxSubjectBytes || strings.ContainsFunc(id.User, unicode.IsControl) {
			t.Fatalf("user %q", id.User)
		}
		left := id.Expires.Sub(time.Unix(now, 0))
		if left <= -defaultLeeway || left > defaultLifetime+defaultLeeway {
			t.Fatalf("expires in %v", left)
		}
		for _, g := range id.Grants {
			if err := protocol.ValidateFilter(g.Filter); err != nil || g.Actions == 0 {
				t.Fatalf("grant %+v: %v", g, err)
			}
		}
	})
}

func BenchmarkAuthenticate(b *testing.B) {
	es, ed, rs := newKeyFiles(b, testKeys()[ES256]), newKeyFiles(b, testKeys()[EdDSA]), newKeyFiles(b, testKeys()[RS256])
	for _, of := range []struct {
		alg             string
		private, public []byte
	}{{HS256, []byte(secret1), []byte(secret1)}, {ES256, es.private, es.public}, {EdDSA, ed.private, ed.public}, {RS256, rs.private, rs.public}} {
		b.Run(of.alg, func(b *testing.B) {
			a := newAuth(b, Key{ID: "k", Alg: of.alg, File: writeFile(b, of.public)})
			token, err := newSigner(b, "k", string(of.private)).Sign(goodClaims())
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := authenticate(a, token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
