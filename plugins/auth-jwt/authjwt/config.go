package authjwt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Config says which tokens are good, and what they allow besides what they claim.
type Config struct {
	Issuer   string // the only iss that is accepted
	Audience string // what aud has to be, or to contain
	Keys     []Key

	// Grants are given to every token. A level `{claim}` of a filter stands for that claim's value, written as one level; a
	// token without the claim does not get the grant.
	Grants Grants

	MaxLifetime time.Duration // from iat, or now, to exp; 0: 24 h
	Leeway      time.Duration // how far clocks may differ; 0: 30 s

	Logger *slog.Logger     // slog.Default()
	Now    func() time.Time // time.Now
}

// Key is a key to verify signatures with: a Secret or a File for HS256, a File with a public key or a certificate in PEM for
// the others.
type Key struct {
	ID     string `json:"kid"`
	Alg    string `json:"alg"`
	Secret Secret `json:"secret"`
	File   string `json:"file"`
}

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

const (
	defaultLifetime = 24 * time.Hour
	maxLifetime     = 366 * 24 * time.Hour
	defaultLeeway   = 30 * time.Second
	maxLeeway       = 5 * time.Minute
)

// ConfigSchema is the JSON Schema of what ParseConfig reads.
const ConfigSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["issuer", "audience", "keys"],
  "properties": {
    "issuer": {"type": "string", "minLength": 1, "description": "The iss that every token has to have, exactly."},
    "audience": {"type": "string", "minLength": 1, "description": "What a token's aud has to be or to contain, exactly."},
    "keys": {"type": "array", "minItems": 1, "items": {
      "type": "object",
      "additionalProperties": false,
      "required": ["alg"],
      "oneOf": [{"required": ["secret"]}, {"required": ["file"]}],
      "properties": {
        "kid": {"type": "string", "minLength": 1, "description": "The kid of the tokens that this key signs."},
        "alg": {"enum": ["HS256", "RS256", "ES256", "EdDSA"], "description": "The only algorithm this key is used with."},
        "secret": {"type": "string", "minLength": 32, "writeOnly": true, "description": "HS256: at least 32 bytes of text."},
        "file": {"type": "string", "minLength": 1,
          "description": "HS256: a file with the secret. Others: a public key or a certificate in PEM."}
      }
    }},
    "grants": {
      "type": "object",
      "additionalProperties": false,
      "description": "Filters given to every token. A level {sub}, or {name} of another claim, stands for the claim's value.",
      "properties": {
        "publish": {"type": "array", "items": {"type": "string"}},
        "subscribe": {"type": "array", "items": {"type": "string"}},
        "history": {"type": "array", "items": {"type": "string"}},
        "presence": {"type": "array", "items": {"type": "string"}},
        "exclude": {"type": "array", "items": {"type": "string"}}
      }
    },
    "max_lifetime": {"type": "string", "default": "24h", "description": "Longest life of a token, such as 12h."},
    "leeway": {"type": "string", "default": "30s", "description": "How far the issuer's clock may differ, at most 5m."}
  }
}`

// ParseConfig reads a JSON object as ConfigSchema describes it. Unknown keys are errors that name them.
func ParseConfig(b []byte) (Config, error) {
	var c struct {
		Issuer      string  `json:"issuer"`
		Audience    string  `json:"audience"`
		Keys        []Key   `json:"keys"`
		Grants      Grants  `json:"grants"`
		MaxLifetime *string `json:"max_lifetime"`
		Leeway      *string `json:"leeway"`
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return Config{}, fmt.Errorf("auth-jwt configuration: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Config{}, errors.New("auth-jwt configuration: something follows the object")
	}
	out := Config{Issuer: c.Issuer, Audience: c.Audience, Keys: c.Keys, Grants: c.Grants}
	var err error
	if out.MaxLifetime, err = parseDuration("max_lifetime", c.MaxLifetime, maxLifetime); err != nil {
		return Config{}, err
	}
	if out.Leeway, err = parseDuration("leeway", c.Leeway, maxLeeway); err != nil {
		return Config{}, err
	}
	return out, nil
}

func parseDuration(name string, s *string, most time.Duration) (time.Duration, error) {
	if s == nil {
		return 0, nil
	}
	d, err := time.ParseDuration(*s)
	if err != nil || d <= 0 || d > most {
		return 0, fmt.Errorf("auth-jwt configuration: %q is %s, want a duration such as 30s, more than 0 and at most %v", name, quote(*s), most)
	}
	return d, nil
}

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
