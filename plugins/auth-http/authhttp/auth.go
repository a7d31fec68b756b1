package authhttp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/kit"
	"github.com/carillon-mq/carillon/protocol"
)

var _ broker.Authenticator = (*Auth)(nil)

var errClosed = errors.New("the plugin is ending")

// Auth asks the application. It is safe for concurrent use. Close ends it.
type Auth struct {
	asker    *asker
	memory   *memory
	services []service
}

// New checks the configuration and reads its files. The errors name the key that is wrong. Nobody is asked yet: an application that is away is
// no mistake.
func New(c Config) (*Auth, error) {
	c = c.withDefaults()
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("auth-http configuration: %w", err)
	}
	a, err := newAsker(c)
	if err != nil {
		return nil, fmt.Errorf("auth-http configuration: %w", err)
	}
	services, err := newServices(c.Services)
	if err != nil {
		return nil, fmt.Errorf("auth-http configuration: %w", err)
	}
	return &Auth{asker: a, memory: newMemory(c.Remember, a.ask), services: services}, nil
}

// Authenticate implements broker.Authenticator. A client that shows neither a token nor a header is refused without a question.
func (a *Auth) Authenticate(ctx context.Context, c broker.Credentials) (*broker.Identity, error) {
	if c.Token == "" && len(c.Header) == 0 {
		return nil, protocol.Errorf(protocol.CodeTokenMissing, "found neither a token nor a header that is handed on to the application").
			WithHint("Sign in to the application, and connect from its page; whoever runs the broker names what is handed on: auth.headers, such as [Cookie].")
	}
	if id := a.serviceOf(c.Token); id != nil {
		return id, nil
	}
	if err := checkSendable(c); err != nil {
		return nil, err
	}
	return a.memory.identity(ctx, c)
}

// maxHeaderBytes bounds what is handed on; web servers take no more than that either.
const maxHeaderBytes = 32 << 10

// checkSendable refuses what no HTTP request can carry: it would be no decision, and the client would come back with it.
func checkSendable(c broker.Credentials) error {
	if strings.ContainsFunc(c.Token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return protocol.Errorf(protocol.CodeTokenMalformed, "the token has a blank, a control character or a letter with an accent in it").
			WithHint("Send the token exactly as it was issued.")
	}
	size := 0
	for name, values := range c.Header {
		for _, value := range values {
			if size += len(name) + len(value); size > maxHeaderBytes {
				return protocol.Errorf(protocol.CodeTokenMalformed, "the headers have more than %d bytes", maxHeaderBytes).
					WithHint("Set fewer or shorter cookies.")
			}
			if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
				return protocol.Errorf(protocol.CodeTokenMalformed, "a header has a control character in it")
			}
		}
	}
	return nil
}

// Close implements io.Closer. Questions that are under way end without a decision.
func (a *Auth) Close() error {
	a.memory.close()
	a.asker.close()
	return nil
}

// Plugin is the package as a plugin, for kit.Serve. The version is the caller's to set.
func Plugin() kit.Plugin {
	return kit.Plugin{Name: "auth-http", Kind: kit.KindAuth, ConfigSchema: ConfigSchema, Auth: configured}
}

// configured refuses every mistake for good: a file that is missing now will not be there in a second.
func configured(config json.RawMessage) (broker.Authenticator, error) {
	c, err := ParseConfig(config)
	if err != nil {
		return nil, kit.BadConfig("%v", err)
	}
	a, err := New(c)
	if err != nil {
		return nil, kit.BadConfig("%v", err)
	}
	return a, nil
}
