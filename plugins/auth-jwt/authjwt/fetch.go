package authjwt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/carillon-mq/carillon/plugins/internal/webclient"
)

const (
	maxSetBytes  = 256 << 10
	fetchTimeout = 5 * time.Second
)

// check reports what is wrong with j, which stands under name in the configuration. It opens nothing.
func (j JWKS) check(name string) error {
	switch {
	case j.URL == "" && j.File == "":
		return fmt.Errorf("%s: want url or file", name)
	case j.URL != "" && j.File != "":
		return fmt.Errorf("%s: want either url or file, not both", name)
	case j.URL == "" && (j.CA != "" || j.Refresh != 0 || j.Keep != 0):
		return fmt.Errorf("%s: ca, refresh and keep go with url; a file is read again when it has changed", name)
	}
	if refresh, keep := cmp.Or(j.Refresh, defaultRefresh), cmp.Or(j.Keep, defaultKeep); keep < refresh {
		return fmt.Errorf("%s.keep: %v is less than the %v between two questions (%s.refresh)", name, keep, refresh, name)
	}
	for i, alg := range j.Algorithms {
		if alg == HS256 {
			return fmt.Errorf("%s.algorithms[%d]: %s is for secrets, and a key set is public", name, i, HS256)
		}
		if !slices.Contains(publicAlgorithms, alg) {
			return fmt.Errorf("%s.algorithms[%d]: %s, want one of %s", name, i, quote(alg), strings.Join(publicAlgorithms, ", "))
		}
	}
	if j.URL != "" {
		if err := checkSetURL(j.URL); err != nil {
			return fmt.Errorf("%s.url: %w", name, err)
		}
	}
	return nil
}

// checkSetURL wants https: who can change the answer on its way can sign tokens. Only this machine may be asked in the clear.
func checkSetURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return fmt.Errorf("%s is not a URL; write it like https://id.example.com/.well-known/jwks.json", quote(text))
	case u.User != nil:
		return errors.New("there is a user name or a password in it; a key set is public")
	case u.Fragment != "":
		return errors.New("there is a fragment (#…) in it, which no server is sent")
	case u.Scheme == "https":
		return nil
	case u.Scheme != "http":
		return fmt.Errorf("%s is of the scheme %s, want https", quote(text), quote(u.Scheme))
	case !webclient.IsLoopback(u.Hostname()):
		return fmt.Errorf("%s is http to another machine: who can change the answer on its way could sign tokens; write https", quote(text))
	}
	return nil
}

// fetcher asks a URL for a key set.
type fetcher struct {
	url    string
	client *http.Client
}

// newFetcher reads the file of j.CA.
func newFetcher(j JWKS) (*fetcher, error) {
	client, err := webclient.New(webclient.Options{CA: j.CA, Handshake: fetchTimeout})
	if err != nil {
		return nil, err
	}
	client.Timeout = fetchTimeout
	return &fetcher{url: j.URL, client: client}, nil
}

// fetch is the set's bytes, at most maxSetBytes.
func (f *fetcher) fetch(ctx context.Context) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	request.Header.Set("User-Agent", "carillon-auth-jwt")
	answer, err := f.client.Do(request)
	if err != nil {
		return nil, err // it names method and URL
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 300 && answer.StatusCode < 400 {
		return nil, fmt.Errorf("GET %s: it redirects (%d) to %s; configure that URL", f.url, answer.StatusCode, quote(answer.Header.Get("Location")))
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: status %d, want 200", f.url, answer.StatusCode)
	}
	b, err := io.ReadAll(io.LimitReader(answer.Body, maxSetBytes+1))
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", f.url, err)
	}
	if len(b) > maxSetBytes {
		return nil, fmt.Errorf("GET %s: more than %d bytes are no key set", f.url, maxSetBytes)
	}
	return b, nil
}
