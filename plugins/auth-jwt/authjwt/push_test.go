package authjwt

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-mq/carillon/broker"
)

func TestTheListOfWhatIsRevokedIsPushedAndThenWhatIsNew(t *testing.T) {
	list := writeFile(t, []byte(`{"jti": "t1"}
{"sub": "jane"}
{"sub": "john", "before": 1799999000}
{"sub": "old", "before": 1700000000}
{"sub": "anna", "iss": "https://partner.example"}
`))
	a := newAuthOf(t, Config{Revoked: list, Issuers: []Issuer{
		{Issuer: issuer, Audience: "carillon", Keys: []Key{{Alg: HS256, Secret: secret1}}},
		{Issuer: partner, Audience: "carillon", Keys: []Key{{Alg: HS256, Secret: secret2}}, UserPrefix: "p-"},
	}})
	ctx, cancel := context.WithCancel(t.Context())
	batches := make(chan []broker.Revocation, 10)
	ended := make(chan error)
	go func() {
		ended <- a.Revocations(ctx, nil, func(batch []broker.Revocation, cursor []byte) error {
			slices.SortFunc(batch, func(x, y broker.Revocation) int { return strings.Compare(x.TokenID+x.User, y.TokenID+y.User) })
			batches <- batch
			return nil
		})
	}()
	at := func(seconds int64) time.Time { return time.Unix(seconds, 0) }
	const life = 24*3600 + 60
	want := []broker.Revocation{
		{User: "jane", IssuedBefore: at(now + 30), Until: at(now + 30 + life)},
		{User: "john", IssuedBefore: at(1799999000), Until: at(1799999000 + life)},
		{User: "p-anna", IssuedBefore: at(now + 30), Until: at(now + 30 + life)},
		{User: "p-jane", IssuedBefore: at(now + 30), Until: at(now + 30 + life)},
		{User: "p-john", IssuedBefore: at(1799999000), Until: at(1799999000 + life)},
		{TokenID: "p-t1", Until: at(now + life)},
		{TokenID: "t1", Until: at(now + life)},
	}
	if d := cmp.Diff(want, <-batches); d != "" {
		t.Error(d)
	}
	replaceFile(t, list, []byte(`{"sub": "jane"}
{"sub": "john", "before": 1799999500, "iss": "https://id.example"}
`))
	a.revoked.poll()
	if d := cmp.Diff([]broker.Revocation{{User: "john", IssuedBefore: at(1799999500), Until: at(1799999500 + life)}}, <-batches); d != "" {
		t.Error(d)
	}
	a.revoked.poll() // nothing has changed
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) || len(batches) > 0 {
		t.Errorf("%v, and %d batches more", err, len(batches))
	}
	none := newAuthOf(t, Config{Issuer: issuer, Audience: "carillon", Keys: []Key{{Alg: HS256, Secret: secret1}}})
	failed := errors.New("the broker is gone")
	if err := none.Revocations(t.Context(), nil, func(batch []broker.Revocation, _ []byte) error {
		if len(batch) > 0 {
			t.Errorf("nothing is revoked: %v", batch)
		}
		return failed
	}); !errors.Is(err, failed) {
		t.Error(err)
	}
	if err := a.Revocations(t.Context(), nil, func([]broker.Revocation, []byte) error { return failed }); !errors.Is(err, failed) {
		t.Error(err)
	}
}
