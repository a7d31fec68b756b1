package authjwt

import (
	"encoding/base64"
	"strings"

	"github.com/carillon-mq/carillon/protocol"
)

const maxTokenBytes = 8 << 10

// token is a JWS in compact form, taken apart. Its signature was not looked at yet.
type token struct {
	header    map[string]any
	claims    map[string]any
	alg       string
	kid       string // "" if there is none
	signed    string // what the signature is over
	signature []byte
}

var strictBase64 = base64.RawURLEncoding.Strict()

// parseToken reads s. The errors are token_malformed.
func parseToken(s string) (*token, error) {
	if err := checkShape(s); err != nil {
		return nil, err
	}
	parts := strings.Split(s, ".")
	t := &token{signed: s[:len(parts[0])+1+len(parts[1])]}
	var err error
	if t.header, err = readPart("header", parts[0]); err != nil {
		return nil, err
	}
	if t.claims, err = readPart("payload", parts[1]); err != nil {
		return nil, err
	}
	if t.signature, err = strictBase64.DecodeString(parts[2]); err != nil {
		return nil, malformed("the signature is not base64url without padding").WithHint("Send the token exactly as it was issued.")
	}
	return t, t.readHeader()
}

// checkShape finds the usual mistakes before anything is decoded.
func checkShape(s string) error {
	switch {
	case len(s) > maxTokenBytes:
		return malformed("the token has %d bytes, the limit is %d", len(s), maxTokenBytes).WithHint("Put fewer claims into the token.")
	case len(s) > 7 && strings.EqualFold(s[:7], "bearer "):
		return malformed(`the token begins with "Bearer "`).WithHint(`Send only what follows "Bearer ".`)
	case strings.ContainsAny(s, " \t\r\n"):
		return malformed("there is a blank or a line break in the token").WithHint("Send the token without blanks and line breaks; files often end with one.")
	case strings.ContainsAny(s, "=+/"):
		return malformed("the token is not in base64url without padding").WithHint("Send the token exactly as it was issued.")
	}
	switch n := strings.Count(s, ".") + 1; n {
	case 3:
		return nil
	case 1:
		return malformed("the token has no dots in it, a signed one has 3 parts between dots").WithHint("Send a signed JSON Web Token.")
	case 5:
		return malformed("the token is encrypted (5 parts), this broker wants a signed one (3 parts)").WithHint("Issue a signed token (JWS).")
	default:
		return malformed("the token has %d parts between dots, a signed one has 3", n).WithHint("Send a signed JSON Web Token.")
	}
}

func readPart(name, part string) (map[string]any, error) {
	b, err := strictBase64.DecodeString(part)
	if err != nil {
		return nil, malformed("the %s is not base64url without padding", name).WithHint("Send the token exactly as it was issued.")
	}
	object, err := readObject(b)
	if err != nil {
		return nil, malformed("the %s %s", name, err.Error())
	}
	return object, nil
}

// headerNames are the header members that are looked at.
var headerNames = []string{"alg", "kid", "typ", "crit", "b64"}

func (t *token) readHeader() error {
	if err := checkNames("header", t.header, headerNames); err != nil {
		return err
	}
	for _, name := range []string{"crit", "b64"} {
		if _, ok := t.header[name]; ok {
			return malformed("the header has %q, which this broker does not support", name).WithHint("Issue the token without it.")
		}
	}
	var ok bool
	if t.alg, ok = t.header["alg"].(string); !ok {
		return malformed("the header has no alg, or one that is no string")
	}
	if kid, has := t.header["kid"]; has {
		if t.kid, ok = kid.(string); !ok || t.kid == "" {
			return malformed("the header's kid is not a string, or empty")
		}
	}
	return nil
}

// checkNames refuses members that are one of names but for their case: what one reader takes for `exp`, another ignores.
func checkNames(where string, object map[string]any, names []string) error {
	for got := range object {
		for _, want := range names {
			if got != want && strings.EqualFold(got, want) {
				return malformed("the %s has %s, want %q", where, quote(got), want).WithHint("Write the names of claims in lower case.")
			}
		}
	}
	return nil
}

func malformed(format string, a ...any) *protocol.Error {
	return protocol.Errorf(protocol.CodeTokenMalformed, format, a...)
}
