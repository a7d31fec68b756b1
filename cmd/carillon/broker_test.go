package main

import (
	"log/slog"
	"reflect"
	"slices"
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

// Every limit of the configuration is handed to what keeps it: each has a value of its own here, and is found again.
func TestEveryLimitReachesTheCore(t *testing.T) {
	c := config.Default()
	limits := reflect.ValueOf(&c.Limits).Elem()
	for i := range limits.NumField() {
		limits.Field(i).SetInt(int64(1_000_003 + i))
	}
	found := map[int64]bool{int64(c.Limits.Payload) + packetRoom: true}
	collect := func(v reflect.Value) {
		for _, f := range v.Fields() {
			if f.CanInt() {
				found[f.Int()] = true
			}
		}
	}
	options := brokerOptions(c, slog.Default(), slog.LevelInfo)
	collect(reflect.ValueOf(options))
	collect(reflect.ValueOf(options.Limits))
	elsewhere := []string{"Drain", "AcceptRate", "AcceptBurst"} // of this command itself: server.drain, server.pace
	for i := range limits.NumField() {
		name := limits.Type().Field(i).Name
		if want := !slices.Contains(elsewhere, name); found[limits.Field(i).Int()] != want {
			t.Errorf("limits.%s: found it in the core's options: %t", name, !want)
		}
	}
}
