package authjwt

import (
	"bytes"
	"crypto/elliptic"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/carillon-mq/carillon/protocol"
)

func sprint(format string, a ...any) string { return fmt.Sprintf(format, a...) }

// payload is a good token's, with members added at its end.
func payload(members string) string {
	return fmt.Sprintf(`{"iss":%q,"aud":"carillon","sub":"john","exp":%d%s}`, issuer, now+600, members)
}

// claimed is a good token's payload with one claim replaced by raw JSON; "" leaves it out.
func claimed(name, raw string) string {
	all := map[string]string{"iss": `"` + issuer + `"`, "aud": `"carillon"`, "sub": `"john"`, "exp": fmt.Sprint(now + 600)}
	all[name] = raw
	var members []string
	for name, raw := range all {
		if raw != "" {
			members = append(members, fmt.Sprintf("%q:%s", name, raw))
		}
	}
	return "{" + strings.Join(members, ",") + "}"
}

func TestTokensWithBadHeaders(t *testing.T) {
	a := newAuth(t, Key{ID: "k1", Alg: HS256, Secret: secret1}, Key{ID: "k2", Alg: HS256, Secret: secret2},
		Key{ID: "rs", Alg: RS256, File: writeFile(t, newKeyFiles(t, testKeys()[RS256]).public)})
	signer := newSigner(t, "", secret1)
	for _, test := range []struct {
		name, header string
		code         protocol.Code // 0: the token is good
		detail       string
	}{
		{"good", `{"alg":"HS256","kid":"k1"}`, 0, ""},
		{"good, with what nobody looks at", `{"alg":"HS256","kid":"k1","typ":"JWT","x5t":"x","jku":"http://evil.test"}`, 0, ""},
		{"J1 none", `{"alg":"none"}`, protocol.CodeTokenBadSignature, `alg is "none"`},
		{"J1 None", `{"alg":"None","kid":"k1"}`, protocol.CodeTokenBadSignature, `alg is "None"`},
		{"J1 nOnE", `{"alg":"nOnE"}`, protocol.CodeTokenBadSignature, `alg is "nOnE"`},
		{"hs256 in lower case", `{"alg":"hs256","kid":"k1"}`, protocol.CodeTokenBadSignature, `alg is "hs256"`},
		{"HS512", `{"alg":"HS512","kid":"k1"}`, protocol.CodeTokenBadSignature, `alg is "HS512"`},
		{"no alg", `{"kid":"k1"}`, protocol.CodeTokenMalformed, "no alg"},
		{"alg is a list", `{"alg":["HS256"],"kid":"k1"}`, protocol.CodeTokenMalformed, "no alg"},
		{"an RSA key's kid with HS256", `{"alg":"HS256","kid":"rs"}`, protocol.CodeTokenUnknownKey, `the key "rs" is for RS256`},
		{"unknown kid", `{"alg":"HS256","kid":"k3"}`, protocol.CodeTokenUnknownKey, `kid is "k3"`},
		{"kid is a path", `{"alg":"HS256","kid":"../../../dev/null"}`, protocol.CodeTokenUnknownKey, "no such HS256 key"},
		{"kid is empty", `{"alg":"HS256","kid":""}`, protocol.CodeTokenMalformed, "kid"},
		{"kid is a number", `{"alg":"HS256","kid":1}`, protocol.CodeTokenMalformed, "kid"},
		{"no kid, and two keys", `{"alg":"HS256"}`, protocol.CodeTokenUnknownKey, "no kid, and there are 2"},
		{"no key of that alg", `{"alg":"ES256"}`, protocol.CodeTokenUnknownKey, `alg is "ES256"`},
		{"J5 crit", `{"alg":"HS256","kid":"k1","crit":["b64"],"b64":false}`, protocol.CodeTokenMalformed, `"crit"`},
		{"J5 an empty crit", `{"alg":"HS256","kid":"k1","crit":[]}`, protocol.CodeTokenMalformed, `"crit"`},
		{"J5 crit is null", `{"alg":"HS256","kid":"k1","crit":null}`, protocol.CodeTokenMalformed, `"crit"`},
		{"J5 b64 alone", `{"alg":"HS256","kid":"k1","b64":false}`, protocol.CodeTokenMalformed, `"b64"`},
		{"J16 alg twice", `{"alg":"none","kid":"k1","alg":"HS256"}`, protocol.CodeTokenMalformed, `"alg" twice`},
		{"J16 ALG", `{"alg":"HS256","kid":"k1","ALG":"none"}`, protocol.CodeTokenMalformed, `"ALG", want "alg"`},
		{"J20 a refresh token", `{"alg":"HS256","kid":"k1","typ":"refresh+jwt"}`, protocol.CodeTokenBadClaims, "refresh+jwt"},
		{"J20 a logout token", `{"alg":"HS256","kid":"k1","typ":"logout+jwt"}`, protocol.CodeTokenBadClaims, "logout+jwt"},
		{"typ is no string", `{"alg":"HS256","kid":"k1","typ":7}`, protocol.CodeTokenBadClaims, "typ"},
		{"an access token by RFC 9068", `{"alg":"HS256","kid":"k1","typ":"at+JWT"}`, 0, ""},
		{"the header is a list", `[]`, protocol.CodeTokenMalformed, "not a JSON object"},
		{"the header is cut off", `{"alg":"HS256"`, protocol.CodeTokenMalformed, "not JSON"},
		{"something behind the header", `{"alg":"HS256","kid":"k1"} {}`, protocol.CodeTokenMalformed, "not JSON"},
		{"not UTF-8", "{\"alg\":\"HS256\",\"kid\":\"\xff\"}", protocol.CodeTokenMalformed, "not UTF-8"},
		{"a byte order mark", "\ufeff" + `{"alg":"HS256","kid":"k1"}`, protocol.CodeTokenMalformed, "not JSON"},
	} {
		t.Run(test.name, func(t *testing.T) {
			token, err := signer.signRaw([]byte(test.header), []byte(payload("")))
			if err != nil {
				t.Fatal(err)
			}
			_, err = authenticate(a, token)
			if test.code == 0 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantRefusal(t, token, err, test.code, test.detail)
		})
	}
}

func TestTokensWithBadClaims(t *testing.T) {
	a := newAuth(t, Key{Alg: HS256, Secret: secret1})
	signer := newSigner(t, "", secret1)
	const (
		claims    = protocol.CodeTokenBadClaims
		malformed = protocol.CodeTokenMalformed
		expired   = protocol.CodeTokenExpired
		early     = protocol.CodeTokenNotYetValid
		audience  = protocol.CodeTokenWrongAudience
		wrongIss  = protocol.CodeTokenWrongIssuer
	)
	at := func(seconds int) string { return fmt.Sprint(now + seconds) }
	for _, test := range []struct {
		name, payload string
		code          protocol.Code // 0: the token is good
		detail        string
	}{
		{"good", payload(""), 0, ""},
		{"J7 no exp", claimed("exp", ""), claims, "no exp"},
		{"J7 exp 0", claimed("exp", "0"), expired, "1970-01-01T00:00:00Z"},
		{"J7 exp null", claimed("exp", "null"), claims, "exp is not a number"},
		{"J7 exp in quotes", claimed("exp", `"9999999999"`), claims, "exp is not a number"},
		{"J7 exp negative", claimed("exp", "-1"), claims, "exp is not a time"},
		{"J7 exp 1e30", claimed("exp", "1e30"), claims, "year 9999"},
		{"J7 exp 1e400", claimed("exp", "1e400"), claims, "exp is not a time"},
		{"J7 exp in the year 10000", claimed("exp", "253402300800"), claims, "year 9999"},
		{"J7 exp in milliseconds", claimed("exp", at(600)+"000"), claims, "year 9999"},
		{"J7 exp tomorrow and a bit", claimed("exp", at(24*3600+1)), claims, "lives for 24h0m1s"},
		{"exp tomorrow", claimed("exp", at(24*3600)), 0, ""},
		{"exp with a fraction", claimed("exp", at(5)+".25"), 0, ""},
		{"exp 29 s ago", claimed("exp", at(-29)), 0, ""},
		{"exp 30 s ago", claimed("exp", at(-30)), expired, "30s ago"},
		{"a long life from iat", payload(`,"iat":` + at(-24*3600)), claims, "lives for 24h10m0s"},
		{"J9 nbf in 29 s", payload(`,"nbf":` + at(29)), 0, ""},
		{"J9 nbf in 31 s", payload(`,"nbf":` + at(31)), early, "in 31s"},
		{"J9 iat in an hour", payload(`,"iat":` + at(3600)), early, "iat"},
		{"nbf is a string", payload(`,"nbf":"now"`), claims, "nbf is not a number"},
		{"J10 no aud", claimed("aud", ""), audience, "no aud"},
		{"J10 aud null", claimed("aud", "null"), audience, "no aud"},
		{"J10 another's", claimed("aud", `"shop"`), audience, `aud is "shop", this broker wants "carillon"`},
		{"J10 empty", claimed("aud", `""`), audience, `aud is ""`},
		{"J10 an empty list", claimed("aud", `[]`), audience, `aud is []`},
		{"J10 ours in a list", claimed("aud", `["x","carillon"]`), 0, ""},
		{"J10 others in a list", claimed("aud", `["x","y"]`), audience, `aud is ["x", "y"]`},
		{"J10 another case", claimed("aud", `"CARILLON"`), audience, "CARILLON"},
		{"J10 an object", claimed("aud", `{"a":1}`), audience, "neither a string nor a list"},
		{"J10 ours among numbers", claimed("aud", `["carillon",1]`), audience, "not a string"},
		{"J11 no iss", claimed("iss", ""), wrongIss, "no iss"},
		{"J11 another's", claimed("iss", `"https://evil.test"`), wrongIss, `iss is "https://evil.test", this broker wants "https://id.example"`},
		{"J11 a slash at the end", claimed("iss", `"`+issuer+`/"`), wrongIss, "https://id.example/"},
		{"J11 a list", claimed("iss", `["`+issuer+`"]`), wrongIss, "not a string"},
		{"J16 exp twice", payload(`,"exp":` + at(60)), malformed, `"exp" twice`},
		{"J16 EXP", payload(`,"EXP":` + at(60)), malformed, `"EXP", want "exp"`},
		{"J16 Carillon", payload(`,"Carillon":{}`), malformed, `"carillon"`},
		{"J16 twice further down", payload(`,"x":[{"a":1,"a":2}]`), malformed, `"a" twice`},
		{"J16 twice, once escaped", payload(`,"s\u0075b":"jane"`), malformed, `"sub" twice`},
		{"J18 no sub", claimed("sub", ""), claims, "no sub"},
		{"J18 empty", claimed("sub", `""`), claims, "neither a letter nor a digit"},
		{"J18 null", claimed("sub", `null`), claims, "no sub"},
		{"J18 a number", claimed("sub", `7`), claims, "not a string"},
		{"J18 a list", claimed("sub", `["john"]`), claims, "not a string"},
		{"J18 a wildcard", claimed("sub", `">"`), claims, "neither a letter nor a digit"},
		{"J18 another broker's wildcard", claimed("sub", `"#"`), claims, "neither a letter nor a digit"},
		{"J18 NUL", claimed("sub", `"a\u0000#"`), claims, "control character"},
		{"J18 a line break", claimed("sub", `"a\nb"`), claims, "control character"},
		{"J18 1 KiB", claimed("sub", `"`+strings.Repeat("a", 1024)+`"`), claims, "1024 bytes"},
		{"255 bytes", claimed("sub", `"`+strings.Repeat("a", 255)+`"`), 0, ""},
		{"an e-mail address", claimed("sub", `"john.doe+x@example.com"`), 0, ""},
		{"half a surrogate pair", claimed("sub", `"a\ud800"`), malformed, "no valid Unicode"},
		{"J20 an ID token by token_use", payload(`,"token_use":"id"`), claims, `token_use is "id"`},
		{"J20 a refresh token by token_use", payload(`,"token_use":"refresh"`), claims, `token_use is "refresh"`},
		{"J20 an ID token by typ", payload(`,"typ":"ID"`), claims, `"ID"`},
		{"J20 a refresh token by typ", payload(`,"typ":"Refresh"`), claims, `"Refresh"`},
		{"an access token", payload(`,"token_use":"access","typ":"Bearer"`), 0, ""},
		{"jti is a number", payload(`,"jti":1`), claims, "jti"},
		{"jti is long", payload(`,"jti":"` + strings.Repeat("a", 256) + `"`), claims, "jti"},
		{"carillon is a list", payload(`,"carillon":["orders.>"]`), claims, "not an object"},
		{"a misspelt right", payload(`,"carillon":{"publsh":[]}`), claims, `"publsh"`},
		{"a right in another case", payload(`,"carillon":{"Publish":[]}`), claims, `"Publish"`},
		{"a right that is no list", payload(`,"carillon":{"publish":"orders.*"}`), claims, "not a list"},
		{"a filter that is no string", payload(`,"carillon":{"publish":[1]}`), claims, "not a string"},
		{"a bad filter", payload(`,"carillon":{"subscribe":["orders.>.x"]}`), claims, "orders.\\u003e.x"},
		{"an empty filter", payload(`,"carillon":{"subscribe":[""]}`), claims, "subscribe"},
		{"a template without its claim", payload(`,"carillon":{"subscribe":["a.{tenant}"]}`), claims, `the claim "tenant"`},
		{"a template with an empty claim", payload(`,"tenant":"","carillon":{"subscribe":["a.{tenant}"]}`), claims, `the claim "tenant"`},
		{"a template that gets too long", payload(`,"tenant":"` + strings.Repeat("x", 300) + `","carillon":{"subscribe":["a.{tenant}"]}`), claims, "255"},
		{"limits are no object", payload(`,"carillon":{"limits":5}`), claims, "limits"},
		{"an unknown limit", payload(`,"carillon":{"limits":{"rate":5}}`), claims, `"rate"`},
		{"a limit of 0", payload(`,"carillon":{"limits":{"publish_rate":0}}`), claims, "publish_rate"},
		{"a limit of -1", payload(`,"carillon":{"limits":{"publish_rate":-1}}`), claims, "publish_rate"},
		{"a limit with a fraction", payload(`,"carillon":{"limits":{"publish_rate":1.5}}`), claims, "publish_rate"},
		{"attributes are no strings", payload(`,"carillon":{"attributes":{"a":1}}`), claims, "attributes"},
		{"an attribute with NUL", payload(`,"carillon":{"attributes":{"a":"x\u0000"}}`), claims, "control character"},
		{"more grants than the contract allows", payload(`,"carillon":{"publish":[` + strings.Repeat(`"a",`, 1000) + `"a"]}`), claims, "1001 grants"},
		{"the payload is a list", `[` + payload("") + `]`, malformed, "not a JSON object"},
		{"the payload is text", `"john"`, malformed, "not a JSON object"},
		{"a comma too many", strings.Replace(payload(""), "}", ",}", 1), malformed, "not JSON"},
		{"deep", payload(`,"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100)), malformed, "deeper"},
		{"NaN", claimed("exp", "NaN"), malformed, "not JSON"},
	} {
		t.Run(test.name, func(t *testing.T) {
			token, err := signer.signRaw([]byte(`{"alg":"HS256","typ":"JWT"}`), []byte(test.payload))
			if err != nil {
				t.Fatal(err)
			}
			_, err = authenticate(a, token)
			if test.code == 0 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantRefusal(t, token, err, test.code, strings.ReplaceAll(test.detail, "\\u003e", ">"))
		})
	}
}

func TestTokensWithBadSignatures(t *testing.T) {
	a := newAuth(t, Key{ID: "k1", Alg: HS256, Secret: secret1})
	good, err := newSigner(t, "k1", secret1).Sign(goodClaims())
	if err != nil {
		t.Fatal(err)
	}
	wrongKey, err := newSigner(t, "k1", secret2).Sign(goodClaims())
	if err != nil {
		t.Fatal(err)
	}
	head, signature := good[:strings.LastIndexByte(good, '.')+1], good[strings.LastIndexByte(good, '.')+1:]
	raw, err := strictBase64.DecodeString(signature)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(raw)
	flipped[7] ^= 1
	const bad, malformed = protocol.CodeTokenBadSignature, protocol.CodeTokenMalformed
	for _, test := range []struct {
		name, token string
		code        protocol.Code
		detail      string
	}{
		{"J12 the right kid, another key", wrongKey, bad, "does not fit"},
		{"J12 one bit flipped", head + strictBase64.EncodeToString(flipped), bad, "does not fit"},
		{"J12 cut short", head + strictBase64.EncodeToString(raw[:31]), bad, "does not fit"},
		{"J12 longer", head + strictBase64.EncodeToString(append(bytes.Clone(raw), 0)), bad, "does not fit"},
		{"J12 empty", head, bad, "does not fit"},
		{"J12 padded", good + "=", malformed, "without padding"},
		{"J14 the last character is not canonical", good[:len(good)-1] + successor(good[len(good)-1]), malformed, "base64url"},
		{"J14 the same in the payload", nonCanonicalPayload(t), malformed, "base64url"},
		{"a line break at the end", good + "\n", malformed, "line break"},
		{"a blank in front", " " + good, malformed, "blank"},
		{"with its scheme", "Bearer " + good, malformed, `begins with "Bearer "`},
		{"the other base64", strings.Replace(good, ".", "+.", 1), malformed, "base64url"},
		{"two parts", strings.TrimSuffix(head, "."), malformed, "2 parts"},
		{"four parts", good + ".x", malformed, "4 parts"},
		{"encrypted", "a.b.c.d.e", malformed, "encrypted"},
		{"nonsense", "hello", malformed, "no dots"},
		{"nothing but dots", "..", malformed, "not JSON"},
		{"8 KiB and a byte", strings.Repeat("a", maxTokenBytes+1), malformed, "8193 bytes"},
		{"in JSON", `{"payload":"","signatures":[]}`, malformed, "parts"},
		{"no token", "", protocol.CodeTokenMissing, "no token"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := authenticate(a, test.token)
			wantRefusal(t, test.token, err, test.code, test.detail)
		})
	}
}

// successor is the next character of the base64 alphabet. After one that ends 32 bytes canonically it is never canonical.
func successor(c byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, c)+1])
}

// nonCanonicalPayload is a token whose payload has a bit set that belongs to no byte, and whose signature is right for that.
func nonCanonicalPayload(t *testing.T) string {
	t.Helper()
	body := payload("")
	for len(body)%3 != 2 {
		body += " "
	}
	signer := newSigner(t, "k1", secret1)
	part := strictBase64.EncodeToString([]byte(body))
	signed := strictBase64.EncodeToString([]byte(`{"alg":"HS256","kid":"k1"}`)) + "." + part[:len(part)-1] + successor(part[len(part)-1])
	return signed + "." + hmacOf(t, signer, signed)
}

func TestAnECDSASignatureOfZerosOrOfTheOrderIsNone(t *testing.T) {
	es := newKeyFiles(t, testKeys()[ES256])
	a := newAuth(t, Key{ID: "k", Alg: ES256, File: writeFile(t, es.public)})
	good, err := newSigner(t, "k", string(es.private)).Sign(goodClaims())
	if err != nil {
		t.Fatal(err)
	}
	head := good[:strings.LastIndexByte(good, '.')+1]
	order := elliptic.P256().Params().N
	n := order.FillBytes(make([]byte, 32))
	one := big.NewInt(1).FillBytes(make([]byte, 32))
	for name, signature := range map[string][]byte{
		"J23 r = s = 0":    make([]byte, 64),
		"J23 r = s = n":    append(bytes.Clone(n), n...),
		"r = 1, s = 0":     append(bytes.Clone(one), make([]byte, 32)...),
		"r = 0, s = 1":     append(make([]byte, 32), one...),
		"r = s = 1":        append(bytes.Clone(one), one...),
		"63 bytes":         make([]byte, 63),
		"nothing":          nil,
		"DER and not raw":  {0x30, 0x06, 0x02, 0x01, 0x01, 0x02, 0x01, 0x01},
		"n + 1 and so on":  append(new(big.Int).Add(order, big.NewInt(1)).FillBytes(make([]byte, 32)), n...),
		"larger than n":    bytes.Repeat([]byte{0xff}, 64),
		"far too long":     make([]byte, 4096),
		"one byte too few": make([]byte, 32),
	} {
		t.Run(name, func(t *testing.T) {
			token := head + strictBase64.EncodeToString(signature)
			_, err := authenticate(a, token)
			wantRefusal(t, token, err, protocol.CodeTokenBadSignature, "does not fit")
		})
	}
}

func TestAPublicKeyIsNoSecret(t *testing.T) {
	rs := newKeyFiles(t, testKeys()[RS256])
	a := newAuth(t, Key{Alg: RS256, File: writeFile(t, rs.public)})
	forger := &Signer{alg: HS256, material: rs.public}
	for _, header := range []string{`{"alg":"HS256"}`, `{"alg":"RS256"}`} {
		token, err := forger.signRaw([]byte(header), []byte(payload("")))
		if err != nil {
			t.Fatal(err)
		}
		if id, err := authenticate(a, token); err == nil {
			t.Errorf("%s: %v", header, id)
		}
	}
}
