//go:build unix

package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/host"
	"github.com/carillon-mq/carillon/plugins/plugintest"
	"github.com/carillon-mq/carillon/plugins/store-bolt/storebolt"
)

var discard = slog.New(slog.DiscardHandler)

// BenchmarkRetainedPublish is what the boundary of the process costs: publishes of 64 publishers with one in flight each, to a topic of
// their own, acknowledged after fsync, with the store as a plugin and with the same store called in this process.
func BenchmarkRetainedPublish(b *testing.B) {
	b.Run("plugin", func(b *testing.B) {
		h, err := host.New(host.Options{Logger: discard})
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = h.Close(context.Background()) }()
		spec := host.Spec{Name: "store-bolt", Path: plugintest.Build(b, "."), Bundled: true, Config: fmt.Appendf(nil, `{"dir":%q}`, b.TempDir())}
		s, err := h.Store(spec)
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Wait(b.Context()); err != nil {
			b.Fatal(err)
		}
		publishRetained(b, s)
	})
	b.Run("in-process", func(b *testing.B) {
		s, err := storebolt.Open(storebolt.Config{Dir: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		publishRetained(b, s)
	})
}

func publishRetained(b *testing.B, s broker.Store) {
	br, err := broker.New(broker.Options{Store: s, Logger: discard})
	if err != nil {
		b.Fatal(err)
	}
	br.Start()
	defer br.Close()
	if err := br.WaitReady(b.Context()); err != nil {
		b.Fatal(err)
	}
	payload := make([]byte, 128)
	var next atomic.Int64
	var publishers sync.WaitGroup
	b.ResetTimer()
	for i := range 64 {
		publishers.Go(func() {
			r := broker.PublishRequest{Topic: fmt.Sprintf("bench.%d", i), Payload: payload, Retain: true}
			for next.Add(1) <= int64(b.N) {
				if _, err := br.Publish(b.Context(), broker.Everybody(), r); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	publishers.Wait()
}
