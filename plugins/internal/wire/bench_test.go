package wire

import (
	"context"
	"net"
	"path/filepath"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/carillon-mq/carillon/broker"
)

// BenchmarkRound is one round of 64 publishers between broker and store: a batch goes to the store, its answer and its records in the feed
// come back, over a socket, both sides in this process. The store commits nothing.
func BenchmarkRound(b *testing.B) {
	committed := make(chan []broker.Record, 1)
	client := connectBenchmark(b, &storeFuncs{
		append: func(batch []broker.Record, done func([]broker.AppendResult, error)) {
			elided, results := make([]broker.Record, len(batch)), make([]broker.AppendResult, len(batch))
			for i := range batch {
				r := &batch[i]
				elided[i] = broker.Record{Offset: r.Ref, Origin: r.Origin, Ref: r.Ref, Elided: true}
				results[i] = broker.AppendResult{Ref: r.Ref, Offset: r.Ref}
			}
			committed <- elided
			done(results, nil)
		},
		follow: func(ctx context.Context, _ broker.FollowFrom, on func(broker.Feed) error) error {
			for {
				select {
				case records := <-committed:
					if err := on(broker.Feed{Records: records}); err != nil {
						return err
					}
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		},
	})
	fed, answered := make(chan int, 1), make(chan error, 1)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		_ = client.Follow(ctx, broker.FollowFrom{Origin: run1}, func(f broker.Feed) error { // it ends with ctx
			fed <- len(f.Records)
			return nil
		})
	}()
	batch := make([]broker.Record, 64)
	for i := range batch {
		batch[i] = keyedRecord(uint64(i))
		batch[i].Headers, batch[i].Payload = nil, make([]byte, 128)
	}
	ref := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		for i := range batch {
			ref++
			batch[i].Ref = ref
		}
		client.Append(batch, func(_ []broker.AppendResult, err error) { answered <- err })
		if n := <-fed; n != len(batch) {
			b.Fatalf("the feed brought %d records", n)
		}
		if err := <-answered; err != nil {
			b.Fatal(err)
		}
	}
	cancel()
	<-followed
}

// connectBenchmark serves impl on a socket, as a plugin does.
func connectBenchmark(b *testing.B, impl broker.Store) *StoreClient {
	listener, err := net.Listen("unix", filepath.Join(b.TempDir(), "s"))
	if err != nil {
		b.Fatal(err)
	}
	server := grpc.NewServer(ServerOptions()...)
	RegisterStore(server, func() broker.Store { return impl })
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpc.NewClient("unix:"+listener.Addr().String(), append(DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		b.Fatal(err)
	}
	client := NewStoreClient(conn)
	ctx, cancel := context.WithCancelCause(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); client.Run(ctx) }()
	b.Cleanup(func() {
		cancel(nil)
		<-ended
		conn.Close()
		server.Stop()
		if err := <-served; err != nil {
			b.Error(err)
		}
	})
	return client
}
