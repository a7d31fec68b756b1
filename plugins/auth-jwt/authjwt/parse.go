package authjwt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// wireConfig is the configuration as JSON, as ConfigSchema describes it.
type wireConfig struct {
	Issuer      string          `json:"issuer"`
	Audience    string          `json:"audience"`
	Keys        []Key           `json:"keys"`
	JWKS        *wireJWKS       `json:"jwks"`
	Issuers     []wireIssuer    `json:"issuers"`
	Grants      Grants          `json:"grants"`
	GrantsFor   []wireGrantsFor `json:"grants_for"`
	Revoked     string          `json:"revoked"`
	MaxLifetime *string         `json:"max_lifetime"`
	Leeway      *string         `json:"leeway"`
}

type wireIssuer struct {
	Issuer     string          `json:"issuer"`
	Audience   string          `json:"audience"`
	Keys       []Key           `json:"keys"`
	JWKS       *wireJWKS       `json:"jwks"`
	UserPrefix string          `json:"user_prefix"`
	Grants     Grants          `json:"grants"`
	GrantsFor  []wireGrantsFor `json:"grants_for"`
}

type wireJWKS struct {
	URL        string   `json:"url"`
	File       string   `json:"file"`
	CA         string   `json:"ca"`
	Algorithms []string `json:"algorithms"`
	Refresh    *string  `json:"refresh"`
	Keep       *string  `json:"keep"`
}

type wireGrantsFor struct {
	Claim path   `json:"claim"`
	Value string `json:"value"`
	Grants
}

// path is the name of a claim, or several of them from the outside to the inside.
type path []string

// UnmarshalJSON reads a string or a list of strings.
func (p *path) UnmarshalJSON(b []byte) error {
	var name string
	if json.Unmarshal(b, &name) == nil {
		*p = path{name}
		return nil
	}
	var names []string
	if err := json.Unmarshal(b, &names); err != nil {
		return errors.New("claim: want the name of a claim, or a list of names that lead into it")
	}
	*p = names
	return nil
}

// ParseConfig reads a JSON object as ConfigSchema describes it. Unknown keys are errors that name them.
func ParseConfig(b []byte) (Config, error) {
	var w wireConfig
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&w); err != nil {
		return Config{}, fmt.Errorf("auth-jwt configuration: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Config{}, errors.New("auth-jwt configuration: something follows the object")
	}
	c, err := w.config()
	if err != nil {
		return Config{}, fmt.Errorf("auth-jwt configuration: %w", err)
	}
	return c, nil
}

func (w *wireConfig) config() (c Config, err error) {
	c = Config{
		Issuer: w.Issuer, Audience: w.Audience, Keys: w.Keys, Grants: w.Grants, GrantsFor: grantsFor(w.GrantsFor), Revoked: w.Revoked,
	}
	if c.JWKS, err = w.JWKS.jwks("jwks"); err != nil {
		return Config{}, err
	}
	for i, issuer := range w.Issuers {
		set, err := issuer.JWKS.jwks(fmt.Sprintf("issuers[%d].jwks", i))
		if err != nil {
			return Config{}, err
		}
		c.Issuers = append(c.Issuers, Issuer{
			Issuer: issuer.Issuer, Audience: issuer.Audience, Keys: issuer.Keys, JWKS: set,
			UserPrefix: issuer.UserPrefix, Grants: issuer.Grants, GrantsFor: grantsFor(issuer.GrantsFor),
		})
	}
	if c.MaxLifetime, err = parseDuration("max_lifetime", w.MaxLifetime, 1, maxLifetime); err != nil {
		return Config{}, err
	}
	if c.Leeway, err = parseDuration("leeway", w.Leeway, 1, maxLeeway); err != nil {
		return Config{}, err
	}
	return c, nil
}

func grantsFor(all []wireGrantsFor) []GrantsFor {
	var out []GrantsFor
	for _, g := range all {
		out = append(out, GrantsFor{Claim: g.Claim, Value: g.Value, Grants: g.Grants})
	}
	return out
}

// jwks is w, which stands under name in the configuration.
func (w *wireJWKS) jwks(name string) (j JWKS, err error) {
	if w == nil {
		return JWKS{}, nil
	}
	j = JWKS{URL: w.URL, File: w.File, CA: w.CA, Algorithms: w.Algorithms}
	if j.Refresh, err = parseDuration(name+".refresh", w.Refresh, minRefresh, maxRefresh); err != nil {
		return JWKS{}, err
	}
	if j.Keep, err = parseDuration(name+".keep", w.Keep, minRefresh, maxKeep); err != nil {
		return JWKS{}, err
	}
	return j, j.check(name)
}

func parseDuration(name string, s *string, least, most time.Duration) (time.Duration, error) {
	if s == nil {
		return 0, nil
	}
	d, err := time.ParseDuration(*s)
	switch {
	case err == nil && d >= least && d <= most:
		return d, nil
	case least > 1:
		return 0, fmt.Errorf("%q is %s, want a duration such as 10m, from %v to %v", name, quote(*s), least, most)
	}
	return 0, fmt.Errorf("%q is %s, want a duration such as 30s, more than 0 and at most %v", name, quote(*s), most)
}
