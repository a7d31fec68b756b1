package authjwt

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
)

// KeyFile is the Key in file, whose kind decides the algorithm: a public key or a certificate in PEM, or an HS256 secret.
func KeyFile(file string) (Key, error) {
	raw, err := readKeyFile(file, false, slog.New(slog.DiscardHandler))
	if err != nil {
		return Key{}, err
	}
	if !bytes.Contains(raw, []byte("-----BEGIN ")) {
		return Key{Alg: HS256, File: file}, nil
	}
	public, err := publicKey(raw)
	if err != nil {
		return Key{}, fmt.Errorf("%s: %w", file, err)
	}
	switch public.(type) {
	case *rsa.PublicKey:
		return Key{Alg: RS256, File: file}, nil
	case *ecdsa.PublicKey:
		return Key{Alg: ES256, File: file}, nil
	case ed25519.PublicKey:
		return Key{Alg: EdDSA, File: file}, nil
	}
	return Key{}, fmt.Errorf("%s: a key of type %T verifies no token", file, public)
}

// ReadKeys is what the file verifies tokens with, whose content decides how: a public key or a certificate in PEM, a JSON Web Key Set, or else
// an HS256 secret.
func ReadKeys(file string) ([]Key, JWKS, error) {
	raw, err := readKeyFile(file, false, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, JWKS{}, err
	}
	if bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) {
		_, err := parseKeySet(raw, publicAlgorithms)
		if err != nil {
			return nil, JWKS{}, fmt.Errorf("%s: %w", file, err)
		}
		return nil, JWKS{File: file}, nil
	}
	k, err := KeyFile(file)
	return []Key{k}, JWKS{}, err
}

// PublicKeySet is a JSON Web Key Set of public keys, each in a file: a public key, a certificate or a private key in PEM. kids name them, in
// order; a key without a name gets none.
func PublicKeySet(files, kids []string) ([]byte, error) {
	keys := []map[string]string{}
	for i, file := range files {
		raw, err := readKeyFile(file, false, slog.New(slog.DiscardHandler))
		if err != nil {
			return nil, err
		}
		members, err := publicJWK(raw)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if i < len(kids) && kids[i] != "" {
			members["kid"] = kids[i]
		}
		keys = append(keys, members)
	}
	b, err := json.MarshalIndent(map[string]any{"keys": keys}, "", "  ")
	if err != nil {
		return nil, err
	}
	if _, err := parseKeySet(b, publicAlgorithms); err != nil {
		return nil, err
	}
	return b, nil
}

func publicJWK(raw []byte) (map[string]string, error) {
	if !bytes.Contains(raw, []byte("-----BEGIN ")) {
		return nil, errors.New("it is no PEM file; a secret does not go into a key set, which is public")
	}
	public, err := publicKey(raw)
	if err != nil {
		private, privateErr := privateKey(raw)
		if privateErr != nil {
			return nil, err
		}
		public = private.Public()
	}
	text := strictBase64.EncodeToString
	switch k := public.(type) {
	case *rsa.PublicKey:
		return map[string]string{"kty": "RSA", "alg": RS256, "use": "sig", "n": text(k.N.Bytes()), "e": text(big.NewInt(int64(k.E)).Bytes())}, nil
	case *ecdsa.PublicKey:
		point, err := k.Bytes()
		if err != nil || len(point) != 1+2*p256Bytes {
			return nil, errors.New("the key is not on the curve P-256")
		}
		return map[string]string{"kty": "EC", "crv": "P-256", "alg": ES256, "use": "sig", "x": text(point[1 : 1+p256Bytes]), "y": text(point[1+p256Bytes:])}, nil
	case ed25519.PublicKey:
		return map[string]string{"kty": "OKP", "crv": "Ed25519", "alg": EdDSA, "use": "sig", "x": text(k)}, nil
	}
	return nil, fmt.Errorf("a key of type %T verifies no token", public)
}
