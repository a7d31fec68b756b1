package authjwt

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
)

// A configuration is whole or refused, and what is told of it has no secret in it.
func FuzzConfig(f *testing.F) {
	const secret = "0123456789abcdef0123456789abcdef"
	key := `"keys":[{"kid":"main","alg":"HS256","secret":"` + secret + `"}]`
	f.Add([]byte(`{"issuer":"a","audience":"b",` + key + `}`))
	f.Add([]byte(`{"issuer":"a","audience":["b"],` + key + `,"leeway":"-1s","max_lifetime":"1e9h"}`))
	f.Add([]byte(`{"issuers":[{"issuer":"a","audience":"b",` + key + `},{"issuer":"a"}],"grants_for":[{"claim":"roles.x","is":"admin","subscribe":[">"]}]}`))
	f.Add([]byte(`{"issuer":"a","audience":"b","jwks":{"url":"http://evil.test/","algorithms":["none"]}}`))
	f.Add([]byte(`{"issuer":"a","audience":"b","keys":"` + secret + `"}`))
	f.Add([]byte(`{"issuer":"a","audience":"b","keys":[{"alg":"` + secret + `","secret":"` + secret + `"}]}{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseConfig(b)
		text := ""
		if err != nil {
			text = err.Error()
		}
		for _, k := range c.Keys {
			if len(k.Secret) >= 16 && !strings.Contains(strings.Replace(string(b), string(k.Secret), "", 1), string(k.Secret)) && strings.Contains(text, string(k.Secret)) {
				t.Errorf("it is told %q", text)
			}
		}
		if bytes.Count(b, []byte(secret)) == 1 && bytes.Contains(b, []byte(`"secret":"`+secret+`"`)) && strings.Contains(text, secret) {
			t.Errorf("it is told %q", text)
		}
	})
}

// A key file holds a key that fits its algorithm and is long enough, or is refused.
func FuzzKeyFile(f *testing.F) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		f.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	edwards, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	for i, public := range []any{&private.PublicKey, &curve.PublicKey, edwards} {
		der, err := x509.MarshalPKIXPublicKey(public)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i+1), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
		f.Add(uint8(i), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	f.Add(uint8(1), pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&private.PublicKey)}))
	f.Add(uint8(0), []byte("0123456789abcdef0123456789abcdef\n"))
	f.Add(uint8(0), []byte("-----BEGIN PUBLIC KEY-----"))
	f.Fuzz(func(t *testing.T, of uint8, raw []byte) {
		alg := algorithms[int(of)%len(algorithms)]
		material, err := verifyingKey(alg, raw)
		if err != nil {
			return
		}
		switch k := material.(type) {
		case []byte:
			if alg != HS256 || len(k) < minSecretBytes || bytes.Contains(k, []byte("-----BEGIN ")) {
				t.Errorf("%q is taken as a secret for %s", raw, alg)
			}
		case *rsa.PublicKey:
			if alg != RS256 || k.N.BitLen() < 2048 {
				t.Errorf("an RSA key of %d bits is taken for %s", k.N.BitLen(), alg)
			}
		case *ecdsa.PublicKey:
			if alg != ES256 || k.Curve != elliptic.P256() {
				t.Errorf("a key of %s is taken for %s", k.Curve.Params().Name, alg)
			}
		case ed25519.PublicKey:
			if alg != EdDSA || len(k) != ed25519.PublicKeySize {
				t.Errorf("%x is taken for %s", k, alg)
			}
		default:
			t.Errorf("a %T is taken for %s", material, alg)
		}
	})
}
