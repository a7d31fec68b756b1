package authjwt

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
)

// Signer signs tokens. It is for `carillon token new`, tests and examples.
type Signer struct {
	kid      string
	alg      string
	material any
}

// NewSigner makes a Signer from what a key file holds: a private key in PEM (PKCS #8, PKCS #1 or SEC 1), whose kind decides
// the algorithm, or anything else of at least 32 bytes, which is an HS256 secret, without a line break at its end. kid may
// be empty.
func NewSigner(kid string, key []byte) (*Signer, error) {
	if !bytes.Contains(key, []byte("-----BEGIN ")) {
		secret, err := secretKey(key)
		if err != nil {
			return nil, err
		}
		return &Signer{kid: kid, alg: HS256, material: secret}, nil
	}
	private, err := privateKey(key)
	if err != nil {
		return nil, err
	}
	s := &Signer{kid: kid, material: private}
	switch private.Public().(type) {
	case *rsa.PublicKey:
		s.alg = RS256
	case *ecdsa.PublicKey:
		s.alg = ES256
	case ed25519.PublicKey:
		s.alg = EdDSA
	}
	return s, fits(s.alg, private.Public())
}

func privateKey(raw []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(raw)
	for block != nil && block.Type == "EC PARAMETERS" {
		_, raw, _ = bytes.Cut(raw, []byte("-----END EC PARAMETERS-----"))
		block, _ = pem.Decode(raw)
	}
	if block == nil {
		return nil, errors.New("the PEM file can't be read")
	}
	var k any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		k, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		k, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		k, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("it holds a %s, a private key is needed to sign", quote(block.Type))
	}
	if err != nil {
		return nil, err
	}
	signer, ok := k.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a key of type %T can't sign", k)
	}
	return signer, nil
}

// Algorithm is the alg of the tokens.
func (s *Signer) Algorithm() string { return s.alg }

// Sign returns a token with these claims, which are whatever encoding/json takes for an object.
func (s *Signer) Sign(claims any) (string, error) {
	header := map[string]string{"alg": s.alg, "typ": "JWT"}
	if s.kid != "" {
		header["kid"] = s.kid
	}
	h, err := json.Marshal(header)
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("claims: %w", err)
	}
	return s.signRaw(h, payload)
}

// signRaw signs a header and a payload as they are.
func (s *Signer) signRaw(header, payload []byte) (string, error) {
	signed := strictBase64.EncodeToString(header) + "." + strictBase64.EncodeToString(payload)
	signature, err := methods[s.alg].Sign(signed, s.material)
	if err != nil {
		return "", fmt.Errorf("sign with %s: %w", s.alg, err)
	}
	return signed + "." + strictBase64.EncodeToString(signature), nil
}
