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
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/plugins/internal/wire/commonv1pb"
	"github.com/carillon-mq/carillon/plugins/internal/wire/storev1pb"
	"github.com/carillon-mq/carillon/protocol"
)

func keyPut(key, value string, expect uint64) broker.KeyPut {
	return broker.KeyPut{Key: key, Value: []byte(value), Expect: expect, Write: broker.NewWriteID()}
}

func TestAKeyspaceCrossesTheWire(t *testing.T) {
	client, _ := connectStore(t, brokertest.NewStore())
	ctx := t.Context()
	put := keyPut("a/1", "one", 0)
	first, err := client.PutKey(ctx, put)
	if err != nil || first.Revision == 0 || string(first.Value) != "one" || first.Write != put.Write {
		t.Fatalf("found %+v, %v", first, err)
	}
	again, err := client.PutKey(ctx, put)
	if d := cmp.Diff(first, again); d != "" || err != nil {
		t.Errorf("the same put again: %v: %s", err, d)
	}
	present, err := client.PutKey(ctx, keyPut("a/1", "two", 0))
	if d := cmp.Diff(first, present); d != "" || !errors.Is(err, broker.ErrKeyChanged) {
		t.Errorf("a put of what is there: %v: %s", err, d)
	}
	lease := broker.NewLeaseID()
	under := keyPut("a/2", "", broker.AnyRevision)
	under.Lease = lease
	if _, err := client.PutKey(ctx, under); !errors.Is(err, broker.ErrNoLease) {
		t.Errorf("a put under no lease: %v", err)
	}
	if err := errors.Join(client.GrantLease(ctx, lease, time.Hour), client.RenewLease(ctx, lease)); err != nil {
		t.Fatal(err)
	}
	second, err := client.PutKey(ctx, under)
	if err != nil || second.Lease != lease {
		t.Fatalf("found %+v, %v", second, err)
	}
	page, err := client.ListKeys(ctx, broker.KeyQuery{Prefix: "a/", Limit: 1})
	if d := cmp.Diff(broker.KeyPage{Entries: []broker.KeyEntry{first}}, page); d != "" || err != nil {
		t.Errorf("first page: %v: %s", err, d)
	}
	page, err = client.ListKeys(ctx, broker.KeyQuery{Prefix: "a/", After: "a/1"})
	if d := cmp.Diff(broker.KeyPage{Entries: []broker.KeyEntry{second}, Done: true}, page); d != "" || err != nil {
		t.Errorf("second page: %v: %s", err, d)
	}
	if err := errors.Join(client.RevokeLease(ctx, lease), client.RevokeLease(ctx, lease)); err != nil {
		t.Fatal(err)
	}
	if err := client.RenewLease(ctx, lease); !errors.Is(err, broker.ErrNoLease) {
		t.Errorf("renewed after its end: %v", err)
	}
	if e, err := client.GetKey(ctx, "a/2"); err != nil || e.Revision != 0 {
		t.Errorf("found %+v, %v", e, err)
	}
	if e, err := client.DeleteKey(ctx, "a/1", first.Revision+1); !errors.Is(err, broker.ErrKeyChanged) || e.Revision != first.Revision {
		t.Errorf("found %+v, %v", e, err)
	}
	for range 2 {
		if _, err := client.DeleteKey(ctx, "a/1", first.Revision); err != nil {
			t.Error(err)
		}
	}
}

func TestAFeedOfKeysCrossesTheWire(t *testing.T) {
	store := brokertest.NewStore()
	client, _ := connectStore(t, store)
	if _, err := client.PutKey(t.Context(), keyPut("a", strings.Repeat("x", broker.MaxKeyValueBytes), 0)); err != nil {
		t.Fatal(err)
	}
	enough, step := errors.New("enough"), 0
	var found []string
	err := client.WatchKeys(t.Context(), "", func(f broker.KeyFeed) error {
		for _, e := range f.Entries {
			found = append(found, e.Key)
			if e.Deleted {
				found = append(found, "deleted")
			}
		}
		if len(f.Entries) > 0 && !f.CaughtUp && step == 0 {
			return nil // the records before the word that these were all
		}
		switch step++; step {
		case 1:
			_, err := store.PutKey(t.Context(), keyPut("b", "", 0))
			return err
		case 2:
			_, err := store.DeleteKey(t.Context(), "a", broker.AnyRevision)
			return err
		}
		return enough
	})
	if want := []string{"a", "b", "a", "deleted"}; !cmp.Equal(found, want) || !errors.Is(err, enough) {
		t.Errorf("found %v, want %v: %v", found, want, err)
	}
}

func TestWhatIsOutOfTheKeyspacesBoundsNeverReachesTheStore(t *testing.T) {
	client, _ := connectStore(t, brokertest.NewStore())
	ctx := t.Context()
	large := keyPut("a", strings.Repeat("x", broker.MaxKeyValueBytes+1), 0)
	for name, call := range map[string]func() error{
		"an empty key":   func() error { _, err := client.PutKey(ctx, keyPut("", "", 0)); return err },
		"a long key":     func() error { _, err := client.DeleteKey(ctx, strings.Repeat("k", 256), 1); return err },
		"a dot":          func() error { _, err := client.ListKeys(ctx, broker.KeyQuery{Prefix: "a.b"}); return err },
		"a large value":  func() error { _, err := client.PutKey(ctx, large); return err },
		"a put unnamed":  func() error { _, err := client.PutKey(ctx, broker.KeyPut{Key: "a"}); return err },
		"a short lease":  func() error { return client.GrantLease(ctx, broker.NewLeaseID(), time.Millisecond) },
		"a lease for no": func() error { return client.GrantLease(ctx, broker.LeaseID{}, time.Minute) },
	} {
		if err := call(); !errors.Is(err, broker.ErrKeyBounds) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := client.rpc.PutKey(ctx, &storev1pb.PutKeyRequest{Key: "a b", Write: make([]byte, 16)})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("a plugin was asked for nonsense and said %v", err)
	}
	_, err = client.rpc.DeleteKey(ctx, &storev1pb.DeleteKeyRequest{Key: "a", Expect: new(uint64)})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("a plugin was asked to delete what is not there and said %v", err)
	}
}

// rawKeys answers with what it is told to.
type rawKeys struct {
	storev1pb.UnimplementedStoreServiceServer
	get    *storev1pb.GetKeyResponse
	list   *storev1pb.ListKeysResponse
	put    *storev1pb.PutKeyResponse
	delete *storev1pb.DeleteKeyResponse
	feeds  []*storev1pb.WatchKeysResponse
}

func (r *rawKeys) GetKey(context.Context, *storev1pb.GetKeyRequest) (*storev1pb.GetKeyResponse, error) {
	return r.get, nil
}

func (r *rawKeys) ListKeys(context.Context, *storev1pb.ListKeysRequest) (*storev1pb.ListKeysResponse, error) {
	return r.list, nil
}

func (r *rawKeys) PutKey(context.Context, *storev1pb.PutKeyRequest) (*storev1pb.PutKeyResponse, error) {
	return r.put, nil
}

func (r *rawKeys) DeleteKey(context.Context, *storev1pb.DeleteKeyRequest) (*storev1pb.DeleteKeyResponse, error) {
	return r.delete, nil
}

func (r *rawKeys) WatchKeys(_ *storev1pb.WatchKeysRequest, stream grpc.ServerStreamingServer[storev1pb.WatchKeysResponse]) error {
	for _, m := range r.feeds {
		if err := stream.Send(m); err != nil {
			return err
		}
	}
	return nil
}

func TestAnswersOfAKeyspaceThatBreakTheContractAreNoAnswers(t *testing.T) {
	ctx, write, id := t.Context(), broker.NewWriteID(), broker.NewLeaseID()
	entry := func(key string, revision uint64) *storev1pb.KeyEntry {
		return &storev1pb.KeyEntry{Key: key, Revision: revision, Write: id[:]}
	}
	mine := &storev1pb.KeyEntry{Key: "a", Revision: 1, Write: write[:]}
	gone := &storev1pb.KeyEntry{Key: "a", Revision: 1, Deleted: true}
	get := func(c *StoreClient) error { _, err := c.GetKey(ctx, "a"); return err }
	list := func(c *StoreClient) error {
		_, err := c.ListKeys(ctx, broker.KeyQuery{Prefix: "a", After: "a1", Limit: 2})
		return err
	}
	put := func(c *StoreClient) error {
		_, err := c.PutKey(ctx, broker.KeyPut{Key: "a", Write: write, Expect: 7})
		return err
	}
	remove := func(c *StoreClient) error { _, err := c.DeleteKey(ctx, "a", 7); return err }
	watch := func(c *StoreClient) error {
		return c.WatchKeys(ctx, "a", func(broker.KeyFeed) error { return nil })
	}
	end := &storev1pb.WatchKeysResponse{CaughtUp: true}
	feed := func(entries ...*storev1pb.KeyEntry) *storev1pb.WatchKeysResponse {
		return &storev1pb.WatchKeysResponse{Entries: entries}
	}
	feeds := func(m ...*storev1pb.WatchKeysResponse) *rawKeys { return &rawKeys{feeds: m} }
	listed := func(done bool, entries ...*storev1pb.KeyEntry) *rawKeys {
		return &rawKeys{list: &storev1pb.ListKeysResponse{Entries: entries, Done: done}}
	}
	for _, test := range []struct {
		name string
		raw  *rawKeys
		call func(*StoreClient) error
	}{
		{"another key", &rawKeys{get: &storev1pb.GetKeyResponse{Entry: entry("b", 1)}}, get},
		{"no revision", &rawKeys{get: &storev1pb.GetKeyResponse{Entry: entry("a", 0)}}, get},
		{"a deleted key", &rawKeys{get: &storev1pb.GetKeyResponse{Entry: gone}}, get},
		{"no write", &rawKeys{get: &storev1pb.GetKeyResponse{Entry: &storev1pb.KeyEntry{Key: "a", Revision: 1}}}, get},
		{"half an id", &rawKeys{get: &storev1pb.GetKeyResponse{Entry: &storev1pb.KeyEntry{Key: "a", Revision: 1, Write: id[:8]}}}, get},
		{"a page out of order", listed(true, entry("a3", 1), entry("a2", 2)), list},
		{"a page that repeats", listed(true, entry("a1", 1)), list},
		{"a page of another prefix", listed(true, entry("b", 1)), list},
		{"a page that is too long", listed(true, entry("a2", 1), entry("a3", 2), entry("a4", 3)), list},
		{"a page that comes to nothing", listed(false), list},
		{"applied without an entry", &rawKeys{put: &storev1pb.PutKeyResponse{Applied: true}}, put},
		{"applied with the entry of another", &rawKeys{put: &storev1pb.PutKeyResponse{Applied: true, Entry: entry("a", 1)}}, put},
		{"applied and refused", &rawKeys{put: &storev1pb.PutKeyResponse{
			Applied: true, Entry: mine, Refusal: &commonv1pb.Refusal{Code: protocol.CodeQuota.String()},
		}}, put},
		{"not applied, and it is there", &rawKeys{put: &storev1pb.PutKeyResponse{Entry: mine}}, put},
		{"a lease that was not asked for", &rawKeys{put: &storev1pb.PutKeyResponse{NoLease: true}}, put},
		{"a code of something else", &rawKeys{put: &storev1pb.PutKeyResponse{
			Refusal: &commonv1pb.Refusal{Code: protocol.CodeTokenExpired.String()},
		}}, put},
		{"deleted and there", &rawKeys{delete: &storev1pb.DeleteKeyResponse{Applied: true, Entry: entry("a", 7)}}, remove},
		{"not deleted for no reason", &rawKeys{delete: &storev1pb.DeleteKeyResponse{Entry: entry("a", 7)}}, remove},
		{"neither deleted nor there", &rawKeys{delete: &storev1pb.DeleteKeyResponse{}}, remove},
		{"a feed that ends", feeds(end), watch},
		{"a feed that catches up twice", feeds(end, end), watch},
		{"a feed of another prefix", feeds(feed(entry("b", 1))), watch},
		{"a deletion before it has caught up", feeds(feed(gone)), watch},
		{"a feed that goes back", feeds(end, feed(entry("a", 2)), feed(entry("a", 2))), watch},
	} {
		t.Run(test.name, func(t *testing.T) {
			client, _ := run(t, NewStoreClient(connect(t, func(r grpc.ServiceRegistrar) { storev1pb.RegisterStoreServiceServer(r, test.raw) })))
			if err := test.call(client); !errors.Is(err, ErrMalformed) {
				t.Errorf("found %v", err)
			}
		})
	}
}
