package wire

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/internal/wire/authv1pb"
	"github.com/carillon-mq/carillon/plugins/internal/wire/commonv1pb"
	"github.com/carillon-mq/carillon/protocol"
)

// revoker is an Authenticator with the power to revoke.
type revoker struct {
	authFunc
	revocations func(context.Context, []byte, func([]broker.Revocation, []byte) error) error
}

func (r revoker) Revocations(ctx context.Context, cursor []byte, on func([]broker.Revocation, []byte) error) error {
	return r.revocations(ctx, cursor, on)
}

func connectRevoker(t *testing.T, f func(context.Context, []byte, func([]broker.Revocation, []byte) error) error) *AuthClient {
	impl := revoker{revocations: f}
	return NewAuthClient(connect(t, func(s grpc.ServiceRegistrar) { RegisterAuth(s, func() broker.Authenticator { return impl }) }))
}

var errEnough = errors.New("enough")

func TestRevocationsCrossUnchanged(t *testing.T) {
	now := time.Now().Truncate(time.Millisecond)
	want := []broker.Revocation{
		{User: "ünï", Until: now.Add(time.Hour)},
		{User: "u", IssuedBefore: now, Until: now.Add(-time.Hour)},
		{TokenID: "jti", Until: now.Add(9 * 365 * 24 * time.Hour), Why: protocol.Errorf(protocol.CodeTokenExpired, "rights have changed").WithHint("ask for another")},
		{Session: "s1", Why: protocol.Errorf(protocol.CodeKicked, "spam")},
	}
	client := connectRevoker(t, func(ctx context.Context, cursor []byte, on func([]broker.Revocation, []byte) error) error {
		if string(cursor) != "at 7" {
			t.Errorf("began at %q", cursor)
		}
		if err := on(want, []byte("at 11")); err != nil {
			return err
		}
		if err := on(nil, nil); err != nil {
			return err
		}
		<-ctx.Done() // the client has had enough
		return ctx.Err()
	})
	steps := 0
	err := client.Revocations(t.Context(), []byte("at 7"), func(batch []broker.Revocation, cursor []byte) error {
		if steps++; steps == 2 {
			if len(batch) != 0 || cursor != nil {
				t.Errorf("got %v at %q, wanted an empty step", batch, cursor)
			}
			return errEnough
		}
		if diff := cmp.Diff(want, batch); diff != "" || string(cursor) != "at 11" {
			t.Errorf("at %q (-sent +got):\n%s", cursor, diff)
		}
		return nil
	})
	if !errors.Is(err, errEnough) || steps != 2 {
		t.Errorf("%d steps, then %v", steps, err)
	}
}

// The cursor stands behind the last of a batch, so it must not arrive before it.
func TestALargeBatchComesInPartsAndItsCursorWithTheLast(t *testing.T) {
	client := connectRevoker(t, func(_ context.Context, _ []byte, on func([]broker.Revocation, []byte) error) error {
		batch := make([]broker.Revocation, 2*broker.MaxRevocations+1)
		for i := range batch {
			batch[i] = broker.Revocation{Session: "s"}
		}
		return on(batch, []byte("end"))
	})
	var sizes []int
	var cursors []string
	err := client.Revocations(t.Context(), nil, func(batch []broker.Revocation, cursor []byte) error {
		sizes, cursors = append(sizes, len(batch)), append(cursors, string(cursor))
		return nil
	})
	if diff := cmp.Diff([]int{1000, 1000, 1}, sizes); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"", "", "end"}, cursors); diff != "" {
		t.Error(diff)
	}
	if status.Code(err) != codes.Unavailable {
		t.Errorf("a stream that the plugin ends is %v, wanted UNAVAILABLE", err)
	}
}

// G-5: one revocation that breaks the contract spoils the answer, and the stream.
func TestMalformedRevocationsAreNone(t *testing.T) {
	later := time.Now().Add(time.Hour).UnixMilli()
	user := func(s string) *authv1pb.Revocation {
		return &authv1pb.Revocation{Subject: &authv1pb.Revocation_User{User: s}, UntilMs: later}
	}
	with := func(change func(*authv1pb.Revocation)) *authv1pb.Revocation {
		r := user("u")
		change(r)
		return r
	}
	session := func(s string) *authv1pb.Revocation {
		return &authv1pb.Revocation{Subject: &authv1pb.Revocation_Session{Session: s}}
	}
	cases := map[string]*authv1pb.RevocationsResponse{
		"a long cursor": {Cursor: make([]byte, 256)},
		"1,001":         {Revocations: make([]*authv1pb.Revocation, 1001)},
	}
	for name, bad := range map[string]*authv1pb.Revocation{
		"empty":                    {},
		"a user without a name":    user(""),
		"a user of 256 bytes":      user(strings.Repeat("u", 256)),
		"a user with NUL":          user("u\x00"),
		"a session of 65 bytes":    session(strings.Repeat("s", 65)),
		"no end":                   with(func(r *authv1pb.Revocation) { r.UntilMs = 0 }),
		"a negative end":           with(func(r *authv1pb.Revocation) { r.UntilMs = -1 }),
		"the year 9999":            with(func(r *authv1pb.Revocation) { r.UntilMs = 253402300800000 }),
		"issued before all time":   with(func(r *authv1pb.Revocation) { r.IssuedBeforeMs = -1 }),
		"issued in the far future": with(func(r *authv1pb.Revocation) { r.IssuedBeforeMs = 253402300800000 }),
		"a session with an end":    {Subject: &authv1pb.Revocation_Session{Session: "s"}, UntilMs: later},
		"a session with a time":    {Subject: &authv1pb.Revocation_Session{Session: "s"}, IssuedBeforeMs: 1},
		"a refusal without a code": with(func(r *authv1pb.Revocation) { r.Refusal = &commonv1pb.Refusal{} }),
		"a code of another kind":   with(func(r *authv1pb.Revocation) { r.Refusal = &commonv1pb.Refusal{Code: "too_large"} }),
		"a code that ends nothing": with(func(r *authv1pb.Revocation) { r.Refusal = &commonv1pb.Refusal{Code: "token_missing"} }),
		"a text with NUL":          with(func(r *authv1pb.Revocation) { r.Refusal = &commonv1pb.Refusal{Code: "revoked", Detail: "\x00"} }),
	} {
		cases[name] = &authv1pb.RevocationsResponse{Revocations: []*authv1pb.Revocation{user("good"), bad}}
	}
	plugin := &powers{}
	client := NewAuthClient(connect(t, func(s grpc.ServiceRegistrar) { authv1pb.RegisterAuthServiceServer(s, plugin) }))
	for name, m := range cases {
		t.Run(name, func(t *testing.T) {
			plugin.revocations = m
			err := client.Revocations(t.Context(), nil, func(batch []broker.Revocation, _ []byte) error {
				t.Errorf("told of %v", batch)
				return nil
			})
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("got %v, wanted ErrMalformed", err)
			}
		})
	}
	plugin.revocations = &authv1pb.RevocationsResponse{Revocations: []*authv1pb.Revocation{user("good"), session("s")}}
	told := 0
	err := client.Revocations(t.Context(), nil, func(batch []broker.Revocation, _ []byte) error {
		told += len(batch)
		return nil
	})
	if told != 2 || status.Code(err) != codes.Unavailable {
		t.Errorf("a good answer after all of them: told of %d, then %v", told, err)
	}
}

func TestAStreamOfRevocationsEndsWithItsContext(t *testing.T) {
	opened := make(chan struct{})
	client := connectRevoker(t, func(ctx context.Context, _ []byte, on func([]broker.Revocation, []byte) error) error {
		close(opened)
		<-ctx.Done()
		return ctx.Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- client.Revocations(ctx, nil, func([]broker.Revocation, []byte) error { return nil }) }()
	<-opened
	cancel()
	if err := <-ended; status.Code(err) != codes.Canceled {
		t.Errorf("got %v, wanted CANCELED", err)
	}
}
