//go:build unix

package host

import (
	"context"
	"testing"

	"github.com/carillon-mq/carillon/broker"
)

// benchHost starts the plugin for a benchmark.
func benchHost(b *testing.B) *Host {
	h, err := New(Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = h.Close(context.Background()) })
	return h
}

func BenchmarkAuthenticate(b *testing.B) {
	a, err := benchHost(b).Auth(bundled("a", "auth"))
	if err != nil {
		b.Fatal(err)
	}
	if err := a.Wait(b.Context()); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := a.Authenticate(b.Context(), broker.Credentials{Token: "x"}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAppend sends batches of 64 records of 200 bytes, four at a time; an operation is one record.
func BenchmarkAppend(b *testing.B) {
	s, err := benchHost(b).Store(bundled("s", "store"))
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Wait(b.Context()); err != nil {
		b.Fatal(err)
	}
	batch := make([]broker.Record, 64)
	for i := range batch {
		batch[i] = broker.Record{Topic: "orders.42", Payload: make([]byte, 200)}
	}
	b.ReportAllocs() // on the broker's side
	window, failed := make(chan struct{}, 4), make(chan error, 1)
	for sent := 0; sent < b.N; sent += len(batch) {
		window <- struct{}{}
		s.Append(batch, func(_ []broker.AppendResult, err error) {
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
			<-window
		})
	}
	for range cap(window) {
		window <- struct{}{}
	}
	select {
	case err := <-failed:
		b.Fatal(err)
	default:
	}
}
