package plugintest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/auth-jwt/authjwt"
	"github.com/carillon-mq/carillon/plugins/kit"
	"github.com/carillon-mq/carillon/protocol"
)

const secret = "0123456789abcdef0123456789abcdef"

type decide func(broker.Credentials, *broker.Identity, error) (*broker.Identity, error)

var authFaults = map[string]decide{
	"allows on error": func(_ broker.Credentials, id *broker.Identity, err error) (*broker.Identity, error) {
		if err != nil {
			id = &broker.Identity{User: "john"}
		}
		return id, nil
	},
	"everybody is jane": func(_ broker.Credentials, id *broker.Identity, err error) (*broker.Identity, error) {
		if err == nil {
			id.User = "jane"
		}
		return id, err
	},
	"one code for everything": func(_ broker.Credentials, id *broker.Identity, err error) (*broker.Identity, error) {
		if err != nil {
			err = protocol.Errorf(protocol.CodeTokenMalformed, "no")
		}
		return id, err
	},
	"shows the token": func(c broker.Credentials, id *broker.Identity, err error) (*broker.Identity, error) {
		if err != nil {
			err = protocol.Errorf(protocol.CodeOf(err), "%s is no good", c.Token)
		}
		return id, err
	},
	"falls over a strange token": func(c broker.Credentials, id *broker.Identity, err error) (*broker.Identity, error) {
		if strings.Contains(c.Token, "[[") {
			os.Exit(1)
		}
		return id, err
	},
	"no refusal but an error": func(_ broker.Credentials, id *broker.Identity, err error) (*broker.Identity, error) {
		if err != nil {
			err = fmt.Errorf("no")
		}
		return id, err
	},
	"grants what is no filter": func(_ broker.Credentials, id *broker.Identity, err error) (*broker.Identity, error) {
		if err == nil {
			id.Grants = []broker.Grant{{Actions: broker.ActionPublish, Filter: "a..b"}}
		}
		return id, err
	},
}

// deciding is an authenticator with a say in the answers of another one.
type deciding struct {
	*authjwt.Auth
	decide decide
}

func (d deciding) Authenticate(ctx context.Context, c broker.Credentials) (*broker.Identity, error) {
	id, err := d.Auth.Authenticate(ctx, c)
	return d.decide(c, id, err)
}

func faultyAuthPlugin(fault string) kit.Plugin {
	return kit.Plugin{Name: "auth-faulty", Kind: kit.KindAuth, Capabilities: authjwt.Plugin().Capabilities, Auth: func(raw json.RawMessage) (broker.Authenticator, error) {
		if _, err := parse(raw); err != nil {
			return nil, err
		}
		a, err := authjwt.New(authjwt.Config{Issuer: "i", Audience: "a", Keys: []authjwt.Key{{Alg: authjwt.HS256, Secret: secret}}})
		if err != nil {
			return nil, err
		}
		if d, ok := authFaults[fault]; ok {
			return deciding{a, d}, nil
		}
		return a, nil
	}}
}
