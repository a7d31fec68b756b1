package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/carillon-mq/carillon/cmd/carillon/internal/bench"
	"github.com/carillon-mq/carillon/plugins/auth-jwt/authjwt"
)

const (
	benchIssuer   = "carillon-bench"
	benchLifetime = time.Hour
)

// authSides are a broker that asks auth-jwt about each connection, which has a token and a user of its own, and one that lets everybody in.
func authSides(scenario bench.Scenario) []benchSide {
	secret := rand.Text() + rand.Text()
	asked := func(ctx context.Context, s streams) (bench.Server, func(), error) {
		return startOwnBroker(ctx, s, "CARILLON_AUTH_PLUGIN=auth-jwt",
			fmt.Sprintf(`CARILLON_AUTH_CONFIG={"issuer":%q,"audience":%q,"keys":[{"alg":"HS256","secret":%q}]}`, benchIssuer, benchIssuer, secret))
	}
	anyone := func(ctx context.Context, s streams) (bench.Server, func(), error) { return startOwnBroker(ctx, s) }
	return []benchSide{
		{name: "auth-jwt", scenario: scenario, dialect: bench.Carillon{Tokens: benchTokens(secret)}, start: asked},
		{name: "anybody", scenario: scenario, dialect: bench.Carillon{}, start: anyone},
	}
}

// benchTokens makes tokens that may subscribe to the topics of benches, each of another user. A token takes microseconds; the client's
// CPU is not the server's.
func benchTokens(secret string) func() string {
	signer, err := authjwt.NewSigner("", []byte(secret))
	if err != nil {
		panic(err) // the secret is long enough
	}
	var users atomic.Int64
	return func() string {
		now := time.Now()
		token, err := signer.Sign(map[string]any{
			"iss": benchIssuer, "aud": benchIssuer, "sub": "bench-" + strconv.FormatInt(users.Add(1), 10),
			"iat": now.Unix(), "exp": now.Add(benchLifetime).Unix(), "carillon": map[string]any{"subscribe": []string{"bench.>"}},
		})
		if err != nil {
			panic(err) // these claims are an object
		}
		return token
	}
}
