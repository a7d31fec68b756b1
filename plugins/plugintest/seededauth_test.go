package plugintest_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/internal/wire/authv1pb"
	"github.com/carillon-mq/carillon/plugins/internal/wire/commonv1pb"
	"github.com/carillon-mq/carillon/plugins/internal/wire/storev1pb"
	"github.com/carillon-mq/carillon/protocol"
)

// The tokens that the handmade plugin knows.
const (
	tokenOfJohn = "john-7f3c1a9be2d04c65"
	tokenOfJane = "jane-0b61d6e8a95f4e27"
	tokenPassed = "past-59c1b7f2e0a34d88"
)

// tokens accepts tokenOfJohn and tokenOfJane. Its fault, if it has one, is a row of testdata/faults.md.
type tokens struct {
	fault string
	file  string // a revoked user a line
	from  int    // first of these lines that counts
	one   sync.Mutex
	mu    sync.Mutex
	last  string
	seen  map[string]bool
	end   context.CancelFunc // of one-broker
}

func newTokens(dir, fault string) *tokens {
	k := &tokens{fault: fault, file: filepath.Join(dir, "revoked"), seen: map[string]bool{}}
	if fault == "revoked-until-restart" {
		k.from = len(k.revoked())
	}
	return k
}

// Authenticate implements broker.Authenticator.
func (k *tokens) Authenticate(ctx context.Context, c broker.Credentials) (*broker.Identity, error) {
	token := c.Token
	switch k.fault {
	case "one-at-a-time":
		k.one.Lock()
		defer k.one.Unlock()
		time.Sleep(50 * time.Millisecond)
	case "hangs-on-a-long-token":
		if len(token) > 4<<10 {
			<-ctx.Done()
			return nil, ctx.Err()
		}
	case "dies-of-a-token":
		if strings.Contains(token, "[[") {
			os.Exit(1)
		}
	case "cut-at-nul":
		token, _, _ = strings.Cut(token, "\x00")
	case "prefix-compared":
		for _, good := range []string{tokenOfJohn, tokenOfJane} {
			if strings.HasPrefix(token, good) {
				token = good
			}
		}
	case "crosstalk":
		k.mu.Lock()
		k.last = token
		k.mu.Unlock()
		time.Sleep(time.Millisecond)
		k.mu.Lock()
		token = k.last
		k.mu.Unlock()
	}
	return k.decide(token)
}

func (k *tokens) decide(token string) (*broker.Identity, error) {
	id := &broker.Identity{Grants: []broker.Grant{{Actions: broker.ActionSubscribe, Filter: "news.>"}}, Expires: time.Now().Add(time.Hour)}
	switch {
	case token == tokenOfJohn, token == tokenOfJane:
		id.User, _, _ = strings.Cut(token, "-")
		id.Issued, id.Ask = time.Now().Add(-time.Minute), broker.ActionPublish|broker.ActionSubscribe
		if slices.Contains(k.revoked(), id.User) && k.fault != "told-and-let-in" && (k.fault != "told-of-who-is-not" || id.User != "john") {
			return nil, protocol.Errorf(protocol.CodeRevoked, "all that %s was given has been taken back", id.User)
		}
	case k.fault == "allow-on-error" && token != "":
		id.User = "guest"
	case token == "":
		return nil, protocol.Errorf(protocol.CodeTokenMissing, "there is no token")
	case token == tokenPassed:
		return nil, protocol.Errorf(protocol.CodeTokenExpired, "it was good until yesterday")
	case k.fault == "shows-the-token":
		return nil, protocol.Errorf(protocol.CodeTokenMalformed, "%q is no token", token)
	default:
		return nil, protocol.Errorf(protocol.CodeTokenMalformed, "nobody has such a token")
	}
	if k.fault == "accepts-once" {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.seen[token] {
			return nil, protocol.Errorf(protocol.CodeRevoked, "it has been used")
		}
		k.seen[token] = true
	}
	return id, nil
}

// unary changes what an auth plugin answers, and gives a store calls that it has not announced.
func (h *handmade) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if h.fault == "power-not-announced" && info.FullMethod == storev1pb.StoreService_ListTerms_FullMethodName {
		return &storev1pb.ListTermsResponse{Terms: []*storev1pb.Term{{Id: []byte("12345678"), First: 1}}}, nil
	}
	if questions, ok := request.(*authv1pb.AuthorizeRequest); ok {
		return h.authorize(ctx, questions, next)
	}
	asked, ok := request.(*authv1pb.AuthenticateRequest)
	if !ok {
		return next(ctx, request)
	}
	if h.fault == "deaf-while-busy" {
		h.busy.Lock()
		defer h.busy.Unlock()
		time.Sleep(30 * time.Millisecond)
	}
	answer, err := next(ctx, request)
	if err != nil {
		return nil, err
	}
	response := answer.(*authv1pb.AuthenticateResponse)
	if refusal := response.GetRefusal(); refusal != nil {
		return response, h.spoilRefusal(refusal, asked)
	}
	h.spoilIdentity(response.GetIdentity())
	return response, nil
}

func (h *handmade) spoilRefusal(r *commonv1pb.Refusal, asked *authv1pb.AuthenticateRequest) error {
	switch h.fault {
	case "refusal-as-error":
		return status.Error(codes.PermissionDenied, r.GetDetail())
	case "unknown-code":
		r.Code = "go_away"
	case "nul-in-detail":
		if strings.HasPrefix(asked.GetToken(), "\x00") { // else it is also what shows-the-token is
			r.Detail = asked.GetToken()
		}
	}
	return nil
}

func (h *handmade) spoilIdentity(id *authv1pb.Identity) {
	switch h.fault {
	case "no-expiry":
		id.ExpiresAtMs = 0
	case "expiry-in-seconds":
		id.ExpiresAtMs /= 1000
	case "bad-filter":
		id.Grants[0].Filter = "news..>"
	}
}
