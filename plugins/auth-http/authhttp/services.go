package authhttp

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/carillon-mq/carillon/broker"
)

const (
	minServiceToken = 32
	maxServiceToken = 8 << 10
)

// service is a Service, made ready.
type service struct {
	digest [sha256.Size]byte // of its token
	id     *broker.Identity
}

// newServices reads the files.
func newServices(all []Service) ([]service, error) {
	var out []service
	for i, s := range all {
		made, err := newService(s)
		if err != nil {
			return nil, fmt.Errorf("services[%d].%w", i, err)
		}
		for n, other := range out {
			if other.digest == made.digest {
				return nil, fmt.Errorf("services[%d]: it has the token of services[%d]", i, n)
			}
		}
		out = append(out, made)
	}
	return out, nil
}

func newService(s Service) (service, error) {
	if err := checkText("user", s.User, maxUserBytes); err != nil {
		return service{}, err
	}
	if (s.Secret == "") == (s.File == "") {
		return service{}, errors.New("secret: want either secret or file")
	}
	token := string(s.Secret)
	if s.File != "" {
		f, err := os.Open(s.File)
		if err != nil {
			return service{}, fmt.Errorf("file: %w", err)
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, maxServiceToken+1))
		if err != nil {
			return service{}, fmt.Errorf("file: %w", err)
		}
		token = strings.TrimRight(string(b), "\r\n")
	}
	switch {
	case len(token) < minServiceToken || len(token) > maxServiceToken:
		return service{}, fmt.Errorf("secret: the token has %d bytes, want %d to %d: make one with `openssl rand -hex 32`", len(token), minServiceToken, maxServiceToken)
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return service{}, errors.New("secret: the token has a blank, a control character or a letter with an accent in it")
	}
	grants, err := s.Grants.of(s.User)
	if err != nil {
		return service{}, err
	}
	return service{digest: sha256.Sum256([]byte(token)), id: &broker.Identity{User: s.User, Grants: grants}}, nil
}

// serviceOf is the identity of the service whose token it is; nil for nobody's. It takes as long for one as for another.
func (a *Auth) serviceOf(token string) *broker.Identity {
	if token == "" || len(a.services) == 0 {
		return nil
	}
	var found *broker.Identity
	digest := sha256.Sum256([]byte(token))
	for _, s := range a.services {
		if subtle.ConstantTimeCompare(digest[:], s.digest[:]) == 1 {
			found = s.id
		}
	}
	return found
}
