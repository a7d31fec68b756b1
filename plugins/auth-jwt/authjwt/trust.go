package authjwt

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
)

// trust is an Issuer, made ready.
type trust struct {
	name, audience, userPrefix string
	ring                       keyring    // when there is no key set
	source                     *keySource // nil without a key set
	grants                     []template
}

// newTrust reads the files of i, whose configuration stands under path. everyone are the grants of all issuers' tokens.
func newTrust(path string, i Issuer, everyone []template, log *slog.Logger) (*trust, error) {
	made := &trust{name: i.Issuer, audience: i.Audience, userPrefix: i.UserPrefix}
	own, err := templatesOf(path, i.Grants, i.GrantsFor)
	if err != nil {
		return nil, err
	}
	made.grants = slices.Concat(everyone, own)
	if made.ring, err = newKeyring(path, i.Keys, log); err != nil {
		return nil, err
	}
	if !i.JWKS.set() {
		if len(i.Keys) == 0 {
			return nil, fmt.Errorf("%skeys: at least one is needed, or jwks", path)
		}
		return made, nil
	}
	for n, k := range i.Keys {
		if k.ID == "" {
			return nil, fmt.Errorf("%skeys[%d]: needs a kid beside jwks, or it would take the tokens of the set's keys", path, n)
		}
	}
	if err := i.JWKS.check(path + "jwks"); err != nil {
		return nil, err
	}
	if made.source, err = newSource(i.Issuer, i.JWKS, made.ring, log); err != nil {
		return nil, fmt.Errorf("%sjwks: %w", path, err)
	}
	return made, nil
}

// newSource reads the file of j, if it names one; a URL is left for later.
func newSource(name string, j JWKS, fixed keyring, log *slog.Logger) (*keySource, error) {
	algs := j.Algorithms
	if len(algs) == 0 {
		algs = publicAlgorithms
	}
	s := newKeySource(name, fixed, log)
	if j.File != "" {
		file := &watchedFile{path: j.File, most: maxSetBytes}
		s.refresh, s.again = pollEvery, 0
		s.load = func(context.Context) (keySet, error) {
			content, changed, err := file.read()
			if err != nil {
				return keySet{}, err
			}
			if !changed {
				return keySet{}, errUnchanged
			}
			set, err := parseKeySet(content, algs)
			if err != nil {
				err = fmt.Errorf("%s: %w", j.File, err)
			}
			return set, err
		}
		s.try()
		return s, s.err
	}
	from, err := newFetcher(j)
	if err != nil {
		return nil, err
	}
	s.refresh, s.keep = cmp.Or(j.Refresh, defaultRefresh), cmp.Or(j.Keep, defaultKeep)
	s.load = func(ctx context.Context) (keySet, error) {
		content, err := from.fetch(ctx)
		if err != nil {
			return keySet{}, err
		}
		set, err := parseKeySet(content, algs)
		if err != nil {
			err = fmt.Errorf("GET %s: %w", j.URL, err)
		}
		return set, err
	}
	return s, nil
}

// key finds the key that t has to fit, among this issuer's.
func (i *trust) key(ctx context.Context, t *token) (key, error) {
	if i.source != nil {
		return i.source.find(ctx, t)
	}
	return i.ring.find(t)
}
