package authjwt

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"github.com/carillon-mq/carillon/protocol"
)

// The algorithms.
const (
	HS256 = "HS256"
	RS256 = "RS256"
	ES256 = "ES256"
	EdDSA = "EdDSA"
)

var algorithms = []string{HS256, RS256, ES256, EdDSA}

var methods = map[string]jwt.SigningMethod{
	HS256: jwt.SigningMethodHS256, RS256: jwt.SigningMethodRS256, ES256: jwt.SigningMethodES256, EdDSA: jwt.SigningMethodEdDSA,
}

const (
	minSecretBytes = 32
	minRSABits     = 2048
	maxKeyFile     = 64 << 10
)

// key verifies signatures with one algorithm. The token has no say in which.
type key struct {
	kid      string // "" is none
	alg      string
	material any // []byte, *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

func (k key) verify(t *token) error {
	if err := methods[k.alg].Verify(t.signed, t.signature, k.material); err != nil {
		return protocol.Errorf(protocol.CodeTokenBadSignature, "the signature does not fit %s", k.describe()).
			WithHint("Sign with the key that the broker is configured with, or give the broker the issuer's present key.")
	}
	return nil
}

func (k key) describe() string {
	if k.kid == "" {
		return "the " + k.alg + " key"
	}
	return fmt.Sprintf("the %s key %s", k.alg, quote(k.kid))
}

// keyring is the configured keys.
type keyring []key

// newKeyring loads keys, which stand under path in the configuration.
func newKeyring(path string, keys []Key, log *slog.Logger) (keyring, error) {
	var ring keyring
	for i, k := range keys {
		name := fmt.Sprintf("%skeys[%d]", path, i)
		if k.ID != "" {
			name += fmt.Sprintf(" (kid %s)", quote(k.ID))
		}
		if slices.ContainsFunc(ring, func(o key) bool { return o.kid == k.ID && (k.ID != "" || o.alg == k.Alg) }) {
			return nil, fmt.Errorf("%s: there is another key with the same kid", name)
		}
		loaded, err := loadKey(k, log)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		ring = append(ring, loaded)
	}
	return ring, nil
}

// find returns the key for t: the one of its kid; without a kid the only one of its alg. A key configured without a kid
// takes tokens with any.
func (ring keyring) find(t *token) (key, error) {
	if !slices.Contains(algorithms, t.alg) {
		return key{}, protocol.Errorf(protocol.CodeTokenBadSignature, "alg is %s, this broker takes %s", quote(t.alg), strings.Join(algorithms, ", ")).
			WithHint("Sign the token with one of these algorithms.")
	}
	var ofAlg, nameless, otherAlg int // 1 + the index of one, and
	var sameAlg, namelessSame int     // how many there are
	for i, k := range ring {
		switch {
		case k.kid != "" && k.kid == t.kid && k.alg == t.alg:
			return k, nil
		case k.kid != "" && k.kid == t.kid:
			otherAlg = i + 1
		case k.alg == t.alg && k.kid == "":
			ofAlg, nameless = i+1, i+1
			sameAlg++
			namelessSame++
		case k.alg == t.alg:
			ofAlg = i + 1
			sameAlg++
		}
	}
	switch {
	case otherAlg > 0:
		return key{}, unknownKey("alg is %s, the key %s is for %s", quote(t.alg), quote(t.kid), ring[otherAlg-1].alg)
	case t.kid == "" && sameAlg == 1:
		return ring[ofAlg-1], nil
	case t.kid != "" && namelessSame == 1:
		return ring[nameless-1], nil
	case t.kid == "" && sameAlg > 1:
		return key{}, unknownKey("the token has no kid, and there are %d %s keys", sameAlg, t.alg)
	case t.kid == "":
		return key{}, unknownKey("alg is %s, there is no such key", quote(t.alg))
	}
	return key{}, unknownKey("kid is %s, there is no such %s key", quote(t.kid), t.alg)
}

// names lists the keys for a log.
func (ring keyring) names() string {
	const shown = 8
	var names []string
	for _, k := range ring[:min(len(ring), shown)] {
		names = append(names, k.describe())
	}
	if len(ring) > shown {
		names = append(names, "…")
	}
	return strings.Join(names, ", ")
}

func unknownKey(format string, a ...any) *protocol.Error {
	return protocol.Errorf(protocol.CodeTokenUnknownKey, format, a...).
		WithHint("Give the broker the key that signs the tokens, under the kid that they carry.")
}

// loadKey checks k and reads its file.
func loadKey(k Key, log *slog.Logger) (key, error) {
	if !slices.Contains(algorithms, k.Alg) {
		return key{}, fmt.Errorf("alg is %s, want one of %s", quote(k.Alg), strings.Join(algorithms, ", "))
	}
	if (k.Secret == "") == (k.File == "") {
		return key{}, errors.New("want either secret or file")
	}
	if k.Alg != HS256 && k.Secret != "" {
		return key{}, fmt.Errorf("%s needs a public key: give its file, not a secret", k.Alg)
	}
	raw := []byte(k.Secret)
	if k.File != "" {
		var err error
		if raw, err = readKeyFile(k.File, k.Alg == HS256, log); err != nil {
			return key{}, err
		}
	}
	material, err := verifyingKey(k.Alg, raw)
	if err != nil && k.File != "" {
		err = fmt.Errorf("%s: %w", k.File, err)
	}
	return key{kid: k.ID, alg: k.Alg, material: material}, err
}

// readKeyFile warns if a secret may be read by others.
func readKeyFile(path string, secret bool, log *slog.Logger) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && secret && info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		log.Warn("a secret key can be read by other users: chmod 600", "plugin", "auth-jwt", "path", path, "reason", "its mode is "+info.Mode().String())
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(b) > maxKeyFile {
		return nil, fmt.Errorf("%s: more than %d bytes are no key", path, maxKeyFile)
	}
	return b, nil
}

func verifyingKey(alg string, raw []byte) (any, error) {
	if alg == HS256 {
		return secretKey(raw)
	}
	public, err := publicKey(raw)
	if err != nil {
		return nil, err
	}
	return public, fits(alg, public)
}

// secretKey checks an HMAC secret. One line break at the end of a text does not belong to it: editors and tools put it there.
func secretKey(raw []byte) ([]byte, error) {
	if bytes.Contains(raw, []byte("-----BEGIN ")) {
		return nil, errors.New("the HS256 secret is a PEM file: everybody who has the public key could sign tokens. Use RS256, ES256 or EdDSA for it")
	}
	secret := raw
	if text := bytes.TrimSuffix(bytes.TrimSuffix(raw, []byte("\n")), []byte("\r")); isText(text) {
		secret = text
	}
	if len(secret) < minSecretBytes {
		return nil, fmt.Errorf("the HS256 secret has %d bytes, want at least %d: make one with `openssl rand -hex 32`", len(secret), minSecretBytes)
	}
	return secret, nil
}

func isText(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// publicKey reads a PEM file with a public key (PKIX or PKCS #1) or a certificate.
func publicKey(raw []byte) (any, error) {
	block, rest := pem.Decode(raw)
	if block == nil {
		return nil, errors.New("it is no PEM file, want a public key or a certificate")
	}
	if more, _ := pem.Decode(rest); more != nil && block.Type != "CERTIFICATE" {
		return nil, errors.New("it has more than one key")
	}
	switch block.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return cert.PublicKey, nil
	case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY":
		return nil, errors.New("it is a private key, which only the issuer should have: give the public one (`openssl pkey -in KEY -pubout`)")
	}
	return nil, fmt.Errorf("it holds a %s, want a public key or a certificate", quote(block.Type))
}

// fits reports whether a public key is of the kind and strength that alg needs.
func fits(alg string, k any) error {
	switch k := k.(type) {
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); alg == RS256 && bits < minRSABits {
			return fmt.Errorf("the RSA key has %d bits, want at least %d", bits, minRSABits)
		} else if alg == RS256 {
			return nil
		}
	case *ecdsa.PublicKey:
		if alg == ES256 && k.Curve != elliptic.P256() {
			return fmt.Errorf("the key is on the curve %s, ES256 needs P-256", k.Curve.Params().Name)
		} else if alg == ES256 {
			return nil
		}
	case ed25519.PublicKey:
		if alg == EdDSA {
			return nil
		}
	}
	return fmt.Errorf("%s can't be used with a key of type %s", alg, strings.TrimPrefix(fmt.Sprintf("%T", k), "*"))
}
