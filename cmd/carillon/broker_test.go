package main

import (
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/cmd/carillon/internal/config"
)

func TestCompressionIsOnUnlessItIsTurnedOff(t *testing.T) {
	c := config.Default()
	if brokerOptions(c, slog.Default(), slog.LevelInfo).NoCompress {
		t.Error("found it off by default")
	}
	c.Compress = "off"
	if !brokerOptions(c, slog.Default(), slog.LevelInfo).NoCompress {
		t.Error("found it on although it is turned off")
	}
}

func TestTopicRulesReachTheCoreWhole(t *testing.T) {
	c := config.Default()
	c.Topics = []config.Topic{
		{Match: "cursor.>", Class: "live"},
		{Match: "plain.>", Class: "memory"},
		{
			Match: "audit.>", Class: "stored",
			History: config.History{Count: 5, Age: config.Duration(time.Hour), Bytes: 3 * config.MiB},
			Sync:    config.Sync{Interval: config.Duration(20 * time.Millisecond)},
		},
	}
	want := []broker.TopicRule{
		{Match: "cursor.>", Class: broker.ClassLive},
		{Match: "plain.>", Class: broker.ClassMemory},
		{
			Match: "audit.>", Class: broker.ClassStored,
			History: broker.History{Count: 5, Age: time.Hour, Bytes: 3 << 20}, Sync: 20 * time.Millisecond,
		},
	}
	if d := cmp.Diff(want, brokerOptions(c, slog.Default(), slog.LevelInfo).Topics); d != "" {
		t.Error(d)
	}
}
