package authjwt

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// Config says which tokens are good, and what they allow besides what they claim.
type Config struct {
	Issuer   string // the only iss that is accepted
	Audience string // what aud has to be, or to contain
	Keys     []Key
	JWKS     JWKS // a key set, beside Keys or instead of them

	// Issuers are several that are accepted, in place of the four fields above.
	Issuers []Issuer

	// Grants are given to every token. A level `{claim}` of a filter stands for that claim's value, written as one level; a
	// token without the claim does not get the grant. GrantsFor are given to the tokens that have a role or a scope.
	Grants    Grants
	GrantsFor []GrantsFor

	Revoked string // file that lists what is revoked: see revoked.go; "": nothing is

	MaxLifetime time.Duration // from iat, or now, to exp; 0: 24 h
	Leeway      time.Duration // how far clocks may differ; 0: 30 s

	Logger *slog.Logger     // slog.Default()
	Now    func() time.Time // time.Now
}

// Issuer is who signs tokens. Its keys verify its own tokens and nobody else's.
type Issuer struct {
	Issuer   string
	Audience string
	Keys     []Key
	JWKS     JWKS

	// UserPrefix stands in front of sub in the user's id, so that one sub of two issuers is two users.
	UserPrefix string

	// Grants and GrantsFor are for this issuer's tokens, beside those of Config.
	Grants    Grants
	GrantsFor []GrantsFor
}

// Key is a key to verify signatures with: a Secret or a File for HS256, a File with a public key or a certificate in PEM for
// the others.
type Key struct {
	ID     string `json:"kid"`
	Alg    string `json:"alg"`
	Secret Secret `json:"secret"`
	File   string `json:"file"`
}

// JWKS is where the issuer's public keys are, as a JSON Web Key Set (RFC 7517). The zero value is nowhere.
type JWKS struct {
	URL        string        // https, or http to this machine
	File       string        // read again when it has changed
	CA         string        // file with certificates (PEM) of authorities to trust beside the system's, for URL
	Algorithms []string      // that the keys may be used with; empty: RS256, ES256 and EdDSA
	Refresh    time.Duration // between two questions to URL; 0: 15 m
	Keep       time.Duration // how long the last good set is used while URL does not answer; 0: 24 h
}

func (j JWKS) set() bool { return j.URL != "" || j.File != "" }

// Secret is a text that is printed as *** by whatever prints it.
type Secret string

// String is ***.
func (Secret) String() string { return "***" }

// GoString is ***.
func (Secret) GoString() string { return "***" }

// MarshalText is ***.
func (Secret) MarshalText() ([]byte, error) { return []byte("***"), nil }

// Grants are filters by action. They are what a token's claim `carillon` holds beside limits and attributes.
type Grants struct {
	Publish   []string `json:"publish"`
	Subscribe []string `json:"subscribe"`
	History   []string `json:"history"`
	Presence  []string `json:"presence"`
	Exclude   []string `json:"exclude"`
}

// GrantsFor gives Grants to the tokens whose Claim is Value or is a list that contains it. The claims scope and scp may also be a
// text of several values with blanks between them (RFC 8693 section 4.2).
type GrantsFor struct {
	Claim []string // the name of a claim; several are a path into objects
	Value string
	Grants
}

const (
	defaultLifetime = 24 * time.Hour
	maxLifetime     = 366 * 24 * time.Hour
	defaultLeeway   = 30 * time.Second
	maxLeeway       = 5 * time.Minute
	defaultRefresh  = 15 * time.Minute
	minRefresh      = 10 * time.Second
	maxRefresh      = 24 * time.Hour
	defaultKeep     = 24 * time.Hour
	maxKeep         = 30 * 24 * time.Hour
)

func (c Config) withDefaults() Config {
	if c.MaxLifetime == 0 {
		c.MaxLifetime = defaultLifetime
	}
	if c.Leeway == 0 {
		c.Leeway = defaultLeeway
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// AllIssuers are the issuers that are accepted, however they were given. The error names the key that is wrong.
func (c Config) AllIssuers() ([]Issuer, error) {
	all := []Issuer{{Issuer: c.Issuer, Audience: c.Audience, Keys: c.Keys, JWKS: c.JWKS}}
	if len(c.Issuers) > 0 {
		if c.Issuer != "" || c.Audience != "" || len(c.Keys) > 0 || c.JWKS.set() {
			return nil, errors.New("issuers: with it, issuer, audience, keys and jwks stand in its entries and not beside it")
		}
		all = c.Issuers
	}
	for i, issuer := range all {
		path := c.path(i)
		if issuer.Issuer == "" {
			return nil, fmt.Errorf("%sissuer is missing", path)
		}
		if issuer.Audience == "" {
			return nil, fmt.Errorf("%saudience is missing", path)
		}
		for _, other := range all[:i] {
			if other.Issuer == issuer.Issuer {
				return nil, fmt.Errorf("%sissuer: %s is there already", path, quote(issuer.Issuer))
			}
			if other.UserPrefix == issuer.UserPrefix {
				return nil, fmt.Errorf("%suser_prefix: %s and %s have the same one, so the same sub of both would be one user; give one of them a prefix, such as \"partner-\"",
					path, quote(other.Issuer), quote(issuer.Issuer))
			}
		}
		if len(issuer.UserPrefix) > maxUserPrefix || strings.ContainsFunc(issuer.UserPrefix, isControl) {
			return nil, fmt.Errorf("%suser_prefix: want at most %d bytes without control characters", path, maxUserPrefix)
		}
	}
	return all, nil
}

// path is what stands before the keys of issuer i in the configuration.
func (c Config) path(i int) string {
	if len(c.Issuers) == 0 {
		return ""
	}
	return fmt.Sprintf("issuers[%d].", i)
}

const maxUserPrefix = 64
