package authjwt

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

const (
	maxSetKeys = 100
	maxKeyID   = 255
	maxRSABits = 8192 // more would have one token cost a good part of a second
	p256Bytes  = 32
)

// publicAlgorithms are those that a key set's keys may be used with.
var publicAlgorithms = []string{RS256, ES256, EdDSA}

// keySet is what a JSON Web Key Set holds for us.
type keySet struct {
	keys    keyring
	skipped []string // why the others can't be used, one sentence each
}

// parseKeySet reads a JSON Web Key Set (RFC 7517): the keys that verify signatures with one of algs. Keys for something else,
// of an unknown kind, or too weak are skipped, because issuers publish such beside ours. A set in which two keys could be meant by one token,
// or that holds a private key or a secret, is refused as a whole; so is one without a usable key.
func parseKeySet(b []byte, algs []string) (keySet, error) {
	object, err := readObject(b)
	if err != nil {
		return keySet{}, fmt.Errorf("the key set %w", err)
	}
	list, ok := object["keys"].([]any)
	if !ok {
		return keySet{}, errors.New(`the key set has no list "keys"`)
	}
	if len(list) > maxSetKeys {
		return keySet{}, fmt.Errorf("the key set has %d keys, the limit is %d", len(list), maxSetKeys)
	}
	var set keySet
	for i, v := range list {
		name := fmt.Sprintf("keys[%d]", i)
		members, ok := v.(map[string]any)
		if !ok {
			return keySet{}, fmt.Errorf("the key set's %s is not an object", name)
		}
		if kid, ok := members["kid"].(string); ok {
			name += fmt.Sprintf(" (kid %s)", quote(kid))
		}
		if err := checkPublic(members); err != nil {
			return keySet{}, fmt.Errorf("the key set's %s %w", name, err)
		}
		k, err := parseKey(members, algs)
		if err != nil {
			set.skipped = append(set.skipped, name+" "+err.Error())
			continue
		}
		if err := set.add(k); err != nil {
			return keySet{}, fmt.Errorf("the key set's %s: %w", name, err)
		}
	}
	if len(set.keys) == 0 {
		return keySet{}, fmt.Errorf("the key set has no key that can be used%s", because(set.skipped))
	}
	return set, nil
}

func because(skipped []string) string {
	if len(skipped) == 0 {
		return ""
	}
	const shown = 3
	more := ""
	if len(skipped) > shown {
		more = "; …"
	}
	return ": " + strings.Join(skipped[:min(len(skipped), shown)], "; ") + more
}

func (s *keySet) add(k key) error {
	for _, other := range s.keys {
		if k.kid != "" && other.kid == k.kid {
			return errors.New("there is another key with the same kid")
		}
	}
	s.keys = append(s.keys, k)
	return nil
}

// checkPublic refuses what nobody may publish: with it, everybody could sign.
func checkPublic(members map[string]any) error {
	if members["kty"] == "oct" {
		return errors.New("is a secret (kty oct), and a key set is public: configure it under keys, and replace it")
	}
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth"} {
		if _, has := members[name]; has {
			return fmt.Errorf("has the private member %q: publish the public key only, and replace this one", name)
		}
	}
	return nil
}

// parseKey reads one key. Its algorithm is the one it names, or else the one of its kind; the token has no say.
func parseKey(members map[string]any, algs []string) (key, error) {
	var k key
	if kid, has := members["kid"]; has {
		s, ok := kid.(string)
		if !ok || s == "" || len(s) > maxKeyID {
			return key{}, fmt.Errorf("has a kid that is not a string of 1 to %d bytes", maxKeyID)
		}
		k.kid = s
	}
	if use, has := members["use"]; has && use != "sig" {
		return key{}, errors.New(`is not for signatures (use is not "sig")`)
	}
	if ops, has := members["key_ops"]; has {
		if list, ok := ops.([]any); !ok || !slices.Contains(list, any("verify")) {
			return key{}, errors.New(`is not for verifying (key_ops without "verify")`)
		}
	}
	var err error
	if k.alg, k.material, err = keyMaterial(members); err != nil {
		return key{}, err
	}
	if alg, has := members["alg"]; has && alg != k.alg {
		s, _ := alg.(string)
		return key{}, fmt.Errorf("is for %s, of its kind this broker takes %s", quote(s), k.alg)
	}
	if !slices.Contains(algs, k.alg) {
		return key{}, fmt.Errorf("is for %s, which jwks.algorithms does not name", k.alg)
	}
	return k, fits(k.alg, k.material)
}

// keyMaterial is the public key of members and the one algorithm that its kind is used with.
func keyMaterial(members map[string]any) (alg string, public any, err error) {
	kty, _ := members["kty"].(string)
	crv, _ := members["crv"].(string)
	switch {
	case kty == "RSA":
		public, err = rsaKey(members)
		return RS256, public, err
	case kty == "EC" && crv == "P-256":
		public, err = ecKey(members)
		return ES256, public, err
	case kty == "OKP" && crv == "Ed25519":
		x, err := octets(members, "x", ed25519.PublicKeySize)
		return EdDSA, ed25519.PublicKey(x), err
	case crv != "":
		return "", nil, fmt.Errorf("is of the kind %s on the curve %s, which this broker does not know", quote(kty), quote(crv))
	}
	return "", nil, fmt.Errorf("is of the kind %s, which this broker does not know", quote(kty))
}

func rsaKey(members map[string]any) (*rsa.PublicKey, error) {
	n, err := octets(members, "n", 0)
	if err != nil {
		return nil, err
	}
	e, err := octets(members, "e", 0)
	if err != nil {
		return nil, err
	}
	modulus, exponent := new(big.Int).SetBytes(n), new(big.Int).SetBytes(e)
	switch {
	case modulus.BitLen() > maxRSABits:
		return nil, fmt.Errorf("has %d bits, the limit is %d", modulus.BitLen(), maxRSABits)
	case modulus.Bit(0) == 0:
		return nil, errors.New("has an even modulus")
	case exponent.BitLen() > 31 || exponent.Bit(0) == 0 || exponent.BitLen() < 2:
		return nil, errors.New("has an exponent that is not an odd number from 3 to 2^31-1")
	}
	return &rsa.PublicKey{N: modulus, E: int(exponent.Int64())}, nil
}

func ecKey(members map[string]any) (*ecdsa.PublicKey, error) {
	point := []byte{4} // uncompressed
	for _, name := range []string{"x", "y"} {
		b, err := octets(members, name, p256Bytes)
		if err != nil {
			return nil, err
		}
		point = append(point, b...)
	}
	k, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return nil, errors.New("is not a point of the curve P-256")
	}
	return k, nil
}

// octets is a member in base64url, of size bytes unless that is 0.
func octets(members map[string]any, name string, size int) ([]byte, error) {
	s, ok := members[name].(string)
	if !ok || s == "" {
		return nil, fmt.Errorf("has no %s", name)
	}
	b, err := strictBase64.DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("has a member %s that is not base64url without padding", name)
	}
	if size > 0 && len(b) != size {
		return nil, fmt.Errorf("has a member %s of %d bytes, want %d", name, len(b), size)
	}
	return b, nil
}
