package authjwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// keyFiles is a private key in PEM and its public key in the forms that are accepted.
type keyFiles struct {
	private []byte
	public  []byte // PKIX
	pkcs1   []byte // RSA only
	cert    []byte
}

func newKeyFiles(t testing.TB, private crypto.Signer) keyFiles {
	t.Helper()
	must := func(b []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	encode := func(kind string, b []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}) }
	f := keyFiles{
		private: encode("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(private))),
		public:  encode("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(private.Public()))),
	}
	if k, ok := private.Public().(*rsa.PublicKey); ok {
		f.pkcs1 = encode("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(k))
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Unix(now, 0)}
	f.cert = encode("CERTIFICATE", must(x509.CreateCertificate(rand.Reader, cert, cert, private.Public(), private)))
	return f
}

// testKeys are one pair for each algorithm, and some that are too weak or of the wrong kind. They are made once.
var testKeys = sync.OnceValue(func() map[string]crypto.Signer {
	all := make(map[string]crypto.Signer)
	add := func(name string, k crypto.Signer, err error) {
		if err != nil {
			panic(err)
		}
		all[name] = k
	}
	rsa2048, err := rsa.GenerateKey(rand.Reader, 2048)
	add(RS256, rsa2048, err)
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	add(ES256, p256, err)
	other256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	add("other ES256", other256, err)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	add("P-384", p384, err)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	add(EdDSA, ed, err)
	return all
})

// weakRSA is a public key of 1,024 bits. crypto/rsa makes no such key any more, but x509 reads one.
const weakRSA = `-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDdlatRjRjogo3WojgGHFHYLugd
UWAY9iR3fy4arWNA1KoS8kVw33cJibXr8bvwUAUparCwlvdbH6dvEOfou0/gCFQs
HUfQrSDv+MuSUMAe8jzKE4qW+jK+xQU9a03GUnKHkkle+Q0pX/g6jXZ7r1/xAK5D
o2kQ+X5xK9cipRgEKwIDAQAB
-----END PUBLIC KEY-----
`

func writeFile(t testing.TB, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestKeysThatWouldNotBeSafeAreRefused(t *testing.T) {
	rs, es, ed := newKeyFiles(t, testKeys()[RS256]), newKeyFiles(t, testKeys()[ES256]), newKeyFiles(t, testKeys()[EdDSA])
	p384 := newKeyFiles(t, testKeys()["P-384"])
	file := func(b []byte) string { return writeFile(t, b) }
	good := Key{ID: "good", Alg: HS256, Secret: secret1}
	for _, test := range []struct {
		name string
		keys []Key
		want string
	}{
		{"none", nil, "at least one"},
		{"J6 no secret", []Key{{Alg: HS256}}, "either secret or file"},
		{"J6 a secret of 1 byte", []Key{{Alg: HS256, Secret: "x"}}, "1 bytes, want at least 32"},
		{"J6 a secret of 31 bytes", []Key{{Alg: HS256, Secret: Secret(secret1[1:])}}, "31 bytes, want at least 32"},
		{"J6 a file of 31 bytes and a line break", []Key{{Alg: HS256, File: file([]byte(secret1[1:] + "\n"))}}, "31 bytes"},
		{"J6 an empty file", []Key{{Alg: HS256, File: file(nil)}}, "0 bytes"},
		{"a PEM file as secret", []Key{{Alg: HS256, File: file(rs.public)}}, "everybody who has the public key"},
		{"PEM text as secret", []Key{{Alg: HS256, Secret: Secret(rs.public)}}, "everybody who has the public key"},
		{"J25 RSA of 1,024 bits", []Key{{Alg: RS256, File: file([]byte(weakRSA))}}, "1024 bits"},
		{"J25 Ed25519 for RS256", []Key{{Alg: RS256, File: file(ed.public)}}, "RS256 can't be used with a key of type ed25519.PublicKey"},
		{"RSA for ES256", []Key{{Alg: ES256, File: file(rs.public)}}, "ES256 can't be used with a key of type rsa.PublicKey"},
		{"P-256 for EdDSA", []Key{{Alg: EdDSA, File: file(es.public)}}, "EdDSA can't be used"},
		{"P-384 for ES256", []Key{{Alg: ES256, File: file(p384.public)}}, "P-384"},
		{"a private key", []Key{{Alg: RS256, File: file(rs.private)}}, "private key"},
		{"two keys in a file", []Key{{Alg: RS256, File: file(append(rs.public, rs.public...))}}, "more than one"},
		{"a PEM file of something else", []Key{{Alg: RS256, File: file(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL"}))}}, "X509 CRL"},
		{"no PEM file", []Key{{Alg: RS256, File: file([]byte("ssh-rsa AAAA"))}}, "no PEM file"},
		{"no file", []Key{{Alg: RS256, File: filepath.Join(t.TempDir(), "missing")}}, "missing"},
		{"a huge file", []Key{{Alg: HS256, File: file(make([]byte, maxKeyFile+1))}}, "65536"},
		{"a secret for RS256", []Key{{Alg: RS256, Secret: secret1}}, "needs a public key"},
		{"secret and file", []Key{{Alg: HS256, Secret: secret1, File: "x"}}, "either"},
		{"alg none", []Key{{Alg: "none", Secret: secret1}}, `alg is "none"`},
		{"alg in lower case", []Key{{Alg: "hs256", Secret: secret1}}, `alg is "hs256"`},
		{"HS512", []Key{{Alg: "HS512", Secret: secret1}}, `alg is "HS512"`},
		{"one kid twice", []Key{good, good}, "same kid"},
		{"two without a kid", []Key{{Alg: HS256, Secret: secret1}, {Alg: HS256, Secret: secret2}}, "same kid"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := New(Config{Issuer: issuer, Audience: "carillon", Keys: test.keys, Logger: discard})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), secret1) {
				t.Errorf("the secret is in %v", err)
			}
		})
	}
}

func TestKeyFilesInEveryForm(t *testing.T) {
	rs, es, ed := newKeyFiles(t, testKeys()[RS256]), newKeyFiles(t, testKeys()[ES256]), newKeyFiles(t, testKeys()[EdDSA])
	for _, test := range []struct {
		name, alg       string
		private, public []byte
	}{
		{"a secret", HS256, []byte(secret1), []byte(secret1)},
		{"a secret with a line break", HS256, []byte(secret1), []byte(secret1 + "\n")},
		{"a secret from Windows", HS256, []byte(secret1), []byte(secret1 + "\r\n")},
		{"a binary secret that ends in a line break", HS256, []byte(secret1[1:] + "\xff\n"), []byte(secret1[1:] + "\xff\n")},
		{"RSA, PKIX", RS256, rs.private, rs.public},
		{"RSA, PKCS #1", RS256, rs.private, rs.pkcs1},
		{"RSA, certificate", RS256, rs.private, rs.cert},
		{"P-256, PKIX", ES256, es.private, es.public},
		{"P-256, certificate", ES256, es.private, es.cert},
		{"Ed25519, PKIX", EdDSA, ed.private, ed.public},
		{"Ed25519, certificate", EdDSA, ed.private, ed.cert},
	} {
		t.Run(test.name, func(t *testing.T) {
			signer, err := NewSigner("k", test.private)
			if err != nil {
				t.Fatal(err)
			}
			if signer.Algorithm() != test.alg {
				t.Errorf("the signer uses %s", signer.Algorithm())
			}
			a := newAuth(t, Key{ID: "k", Alg: test.alg, File: writeFile(t, test.public)})
			token, err := signer.Sign(goodClaims())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := authenticate(a, token); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestASignerNeedsAKeyThatCanSign(t *testing.T) {
	for name, key := range map[string][]byte{
		"a short secret": []byte("short"),
		"a public key":   newKeyFiles(t, testKeys()[ES256]).public,
		"half a file":    []byte("-----BEGIN PRIVATE KEY-----\nMIG"),
		"another curve":  newKeyFiles(t, testKeys()["P-384"]).private,
	} {
		if _, err := NewSigner("", key); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}
