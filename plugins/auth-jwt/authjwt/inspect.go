package authjwt

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"fmt"
	"log/slog"
)

// Inspection is what a token says of itself. Nothing of it is verified.
type Inspection struct {
	Algorithm string
	KeyID     string
	Header    map[string]any // numbers are json.Number
	Claims    map[string]any
}

// Inspect reads token without verifying it. The error is the one with which Authenticate would refuse what can't be read; for
// everything else that it may be refused for, ask Authenticate.
func Inspect(token string) (Inspection, error) {
	t, err := parseToken(token)
	if err != nil {
		return Inspection{}, err
	}
	return Inspection{Algorithm: t.alg, KeyID: t.kid, Header: t.header, Claims: t.claims}, nil
}

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
