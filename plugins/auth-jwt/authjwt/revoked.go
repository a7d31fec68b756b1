package authjwt

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// The list of what is revoked is a file with a JSON object a line; blank lines and lines that begin with # are passed over:
//
//	{"jti": "t1"}                       one token
//	{"sub": "42"}                       every token of a user
//	{"sub": "42", "before": 1795275000} those issued before a second, which is what "sign out everywhere" needs
//
// `iss` bounds a line to one issuer, and `note` is for people.
const (
	maxRevokedBytes = 16 << 20
	maxRevoked      = 200_000
)

// named is what a line is about: a token or a user, of one issuer or, with "", of all.
type named struct{ iss, id string }

// revokedList is the file's content.
type revokedList struct {
	tokens map[named]struct{}
	users  map[named]float64 // tokens issued before that second; everyToken: all of them
}

const everyToken = -1

// revocations is the list in use. It is safe for concurrent use, except look.
type revocations struct {
	file watchedFile
	log  *slog.Logger
	list atomic.Pointer[revokedList]
	said string // the error that was logged last

	mu      sync.Mutex
	changed chan struct{} // closed when the list is another one
}

// newRevocations reads the file; "" is no list.
func newRevocations(path string, log *slog.Logger) (*revocations, error) {
	r := &revocations{file: watchedFile{path: path, most: maxRevokedBytes}, log: log, changed: make(chan struct{})}
	r.list.Store(&revokedList{})
	if path == "" {
		return r, nil
	}
	_, err := r.look()
	return r, err
}

// look reads the file if it has changed. With an error the list stays as it was: what was revoked stays so.
func (r *revocations) look() (changed bool, err error) {
	content, changed, err := r.file.read()
	if err != nil || !changed {
		return false, err
	}
	list, err := parseRevoked(content)
	if err != nil {
		return false, fmt.Errorf("%s: %w", r.file.path, err)
	}
	r.list.Store(list)
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.changed)
	r.changed = make(chan struct{})
	return true, nil
}

// current is the list in use, and what is closed when there is another one.
func (r *revocations) current() (*revokedList, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.list.Load(), r.changed
}

// poll is look for the background: it tells what has happened.
func (r *revocations) poll() {
	changed, err := r.look()
	switch {
	case err != nil && err.Error() != r.said:
		r.said = err.Error()
		r.log.Error("the list of what is revoked could not be read; the one before stays in force", "plugin", "auth-jwt", "path", r.file.path, "err", err)
	case changed:
		r.said = ""
		list := r.list.Load()
		r.log.Info("the list of what is revoked was read", "plugin", "auth-jwt", "path", r.file.path, "count", len(list.tokens)+len(list.users))
	}
}

// parseRevoked reads the file's content. The errors name the line.
func parseRevoked(content []byte) (*revokedList, error) {
	list := &revokedList{tokens: map[named]struct{}{}, users: map[named]float64{}}
	n := 0
	for line := range bytes.Lines(content) {
		n++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if err := list.add(line); err != nil {
			return nil, fmt.Errorf("line %d %w", n, err)
		}
		if len(list.tokens)+len(list.users) > maxRevoked {
			return nil, fmt.Errorf("line %d is one too many, the limit is %d: remove what has expired", n, maxRevoked)
		}
	}
	return list, nil
}

func (l *revokedList) add(line []byte) error {
	object, err := readObject(line)
	if err != nil {
		return err
	}
	texts := map[string]string{}
	before := float64(everyToken)
	for name, v := range object {
		if name == "before" {
			number, _ := v.(json.Number)
			if before, err = number.Float64(); err != nil || before < 0 || before > lastSecond {
				return fmt.Errorf("has a member before that is not a time in seconds since 1970")
			}
			continue
		}
		s, ok := v.(string)
		if !slices.Contains([]string{"jti", "sub", "iss", "note"}, name) {
			return fmt.Errorf("has a member %s, want jti or sub, and perhaps iss, before and note", quote(name))
		}
		if !ok || s == "" {
			return fmt.Errorf("has a member %s that is not a string, or empty", name)
		}
		if name != "note" && name != "iss" && (len(s) > maxSubjectBytes || strings.ContainsFunc(s, isControl)) {
			return fmt.Errorf("has a member %s that no token has: it is longer than %d bytes, or has a control character in it", name, maxSubjectBytes)
		}
		texts[name] = s
	}
	jti, sub := named{texts["iss"], texts["jti"]}, named{texts["iss"], texts["sub"]}
	switch {
	case (jti.id == "") == (sub.id == ""):
		return fmt.Errorf("wants either jti or sub")
	case jti.id != "" && before != everyToken:
		return fmt.Errorf("has before with a jti, it goes with sub")
	case jti.id != "":
		l.tokens[jti] = struct{}{}
		return nil
	}
	if old, has := l.users[sub]; has && (old == everyToken || before != everyToken && old > before) {
		return nil // a line before goes further
	}
	l.users[sub] = before
	return nil
}

// check refuses a token that is revoked.
func (l *revokedList) check(c claims, issuer string) error {
	sub, _ := c["sub"].(string)
	jti, _ := c["jti"].(string)
	for _, iss := range []string{"", issuer} {
		if _, is := l.tokens[named{iss, jti}]; is && jti != "" {
			return revoked("the token with the jti %s has been revoked", quote(jti))
		}
		before, is := l.users[named{iss, sub}]
		if !is {
			continue
		}
		if before == everyToken {
			return revoked("all tokens of the sub %s have been revoked", quote(sub))
		}
		at := time.Unix(int64(before), 0)
		issued, has, err := c.time("iat")
		switch {
		case err != nil:
			return err
		case !has:
			return revoked("tokens of the sub %s from before %s have been revoked, and this one has no iat", quote(sub), stamp(at))
		case float64(issued.UnixNano())/1e9 < before:
			return revoked("tokens of the sub %s from before %s have been revoked, and this one is of %s", quote(sub), stamp(at), stamp(issued))
		}
	}
	return nil
}

func revoked(format string, a ...any) error {
	return protocol.Errorf(protocol.CodeRevoked, format, a...).WithHint("Sign in again; the same token will not work.")
}
