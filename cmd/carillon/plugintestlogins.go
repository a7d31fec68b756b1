package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/auth-jwt/authjwt"
	"github.com/carillon-mq/carillon/plugins/plugintest"
	"github.com/carillon-mq/carillon/protocol"
)

// login is one of the file that --logins names.
type login struct {
	Name    string
	Token   string
	Headers map[string][]string
	User    string
	Refused string
	May     []string // "publish orders.1"
	MayNot  []string `json:"may_not"`
	Revoke  string   // a command for sh; {dir} in it stands for the folder of the case
}

// logins are those of the flags, and one that has to be refused whatever the plugin is.
func (c *pluginTestCmd) logins(p *plugintest.Plugin) error {
	for i, token := range c.Token {
		p.Logins = append(p.Logins, plugintest.Login{Name: fmt.Sprintf("token %d", i+1), Credentials: broker.Credentials{Token: token, Transport: "ws"}})
	}
	if err := c.readLogins(p); err != nil {
		return usage("--logins %s: %v", c.Logins, err)
	}
	if len(p.Logins) > 0 {
		p.Logins = append(p.Logins, plugintest.Login{
			Name: "a token that nobody has made", AnyRefusal: true, Credentials: broker.Credentials{Token: "of-nobody." + rand.Text(), Transport: "ws"},
		})
	}
	return nil
}

func (c *pluginTestCmd) readLogins(p *plugintest.Plugin) error {
	if c.Logins == "" {
		return nil
	}
	text, err := os.ReadFile(c.Logins)
	if err != nil {
		return err
	}
	var list []login
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&list); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something behind the list")
	}
	for i, l := range list {
		if l.Name == "" {
			l.Name = fmt.Sprintf("login %d", i+1)
		}
		one, err := l.read()
		if err != nil {
			return fmt.Errorf("%s: %w", l.Name, err)
		}
		p.Logins = append(p.Logins, one)
	}
	return nil
}

func (l *login) read() (one plugintest.Login, err error) {
	one = plugintest.Login{Name: l.Name, User: l.User, AnyRefusal: l.Refused == "any"}
	one.Credentials = broker.Credentials{Token: l.Token, Transport: "ws", Remote: "192.0.2.1", Header: http.Header(l.Headers)}
	if l.Refused != "" && !one.AnyRefusal {
		code, ok := protocol.CodeByName(l.Refused)
		if !ok {
			return one, fmt.Errorf("%q is no code of the protocol", l.Refused)
		}
		one.Refused = code
	}
	for _, list := range []struct {
		texts []string
		to    *[]broker.Question
	}{{l.May, &one.May}, {l.MayNot, &one.MayNot}} {
		for _, text := range list.texts {
			q, err := plugintest.ParseQuestion(text)
			if err != nil {
				return one, err
			}
			*list.to = append(*list.to, q)
		}
	}
	if l.Revoke != "" {
		one.Revoke = func(ctx context.Context, dir string) error {
			return runShell(ctx, strings.ReplaceAll(l.Revoke, "{dir}", dir))
		}
	}
	return one, nil
}

// runShell runs a command that the user has written; what it prints is told if it fails.
func runShell(ctx context.Context, command string) error {
	out, err := exec.CommandContext(ctx, "sh", "-c", command).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", command, err, bytes.TrimSpace(out))
	}
	return nil
}

// bundledLogins gives the bundled auth plugin, if it was given nothing, a key and tokens of that.
func bundledLogins(name string, p *plugintest.Plugin) error {
	if name != "auth-jwt" || p.Config != "" || len(p.Logins) > 0 {
		return nil
	}
	secret := rand.Text() + rand.Text()
	p.Config = fmt.Sprintf(`{"issuer": "plugin-test", "audience": "carillon", "keys": [{"alg": "HS256", "secret": %q}], "revoked": "{dir}/revoked"}`, secret)
	p.Prepare = func(dir string) error { return os.WriteFile(filepath.Join(dir, "revoked"), nil, 0o600) }
	for _, l := range []struct {
		name    string
		secret  string
		left    time.Duration
		refused protocol.Code
	}{
		{"a good token", secret, time.Hour, 0},
		{"an expired token", secret, -time.Hour, protocol.CodeTokenExpired},
		{"a token of another key", rand.Text() + rand.Text(), time.Hour, protocol.CodeTokenBadSignature},
	} {
		signer, err := authjwt.NewSigner("", []byte(l.secret))
		if err != nil {
			return err
		}
		token, err := signer.Sign(map[string]any{
			"iss": "plugin-test", "aud": "carillon", "sub": "alice", "exp": time.Now().Add(l.left).Unix(), "carillon": map[string]any{"publish": []string{"a.>"}},
		})
		if err != nil {
			return err
		}
		one := plugintest.Login{Name: l.name, Refused: l.refused, Credentials: broker.Credentials{Token: token, Transport: "ws"}}
		if l.refused == 0 {
			one.User = "alice"
			one.Revoke = func(_ context.Context, dir string) error {
				return os.WriteFile(filepath.Join(dir, "revoked"), []byte("{\"sub\": \"alice\"}\n"), 0o600)
			}
		}
		p.Logins = append(p.Logins, one)
	}
	return nil
}
