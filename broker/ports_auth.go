package broker

import (
	"context"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// AuthPower is something that an Authenticator may be able to do beside what every one does.
type AuthPower string

// The optional powers of an Authenticator, each with the interface that it stands for.
const (
	PowerAuthorize   AuthPower = "authorize"   // Authorizer
	PowerRevocations AuthPower = "revocations" // Revoker
)

// Principal is somebody an Authenticator has let in, in its own words of then.
type Principal struct {
	User       string // "" is anonymous
	TokenID    string
	Attributes map[string]string
	Session    string // "" where many may share the answer
}

// Authorizer is a power of an Authenticator: it decides what grants do not say already, for identities that say so (Identity.Ask).
//
// Authorize answers each of the questions, 1 to MaxQuestions, in their order. Any error means that no decision could be had about any of
// them, and nothing is allowed; ErrNoPower that it has not got the power after all. It is called concurrently and honours ctx,
// which carries the deadline.
type Authorizer interface {
	Authorize(ctx context.Context, who Principal, questions []Question) ([]Decision, error)
}

// MaxQuestions bounds one Authorize.
const MaxQuestions = 256

// Question asks for one action on one topic, or on all that a filter matches.
type Question struct {
	Action Action // one
	Filter string // to publish and to exclude: a topic
}

// Decision answers a Question for a time to live, of MinDecision to MaxDecision.
type Decision struct {
	Allowed bool
	TTL     time.Duration
	Reason  string // of a denial, for the client; may be ""
}

// How short and how long a Decision may hold.
const (
	MinDecision = time.Second
	MaxDecision = 24 * time.Hour
)

// Revoker is a power of an Authenticator: it takes back what it has granted.
//
// Revocations calls on at once with what is in force and was not told before cursor (nil: with everything in force), also if that is
// nothing, and then with each revocation as it is made. cursor stands for everything up to there; a nil one leaves the one before. It blocks until ctx ends,
// on fails, or the source goes away, and returns that error; ErrNoPower if it has not got the power.
type Revoker interface {
	Revocations(ctx context.Context, cursor []byte, on func(batch []Revocation, cursor []byte) error) error
}

// MaxRevocations bounds one batch of revocations.
const MaxRevocations = 1000

// Revocation takes back what was granted to a user, by a token, or to a session: exactly one of the three is named.
type Revocation struct {
	User, TokenID, Session string

	IssuedBefore time.Time       // what was issued then or later is spared; zero: nothing is
	Until        time.Time       // it is over then; zero for a session
	Why          *protocol.Error // what clients are told; nil: revoked
}
