package main

import (
	"log/slog"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/cmd/carillon/internal/config"
)

// brokerOptions are the core's options for a configuration, without its plugins.
func brokerOptions(c *config.Config, log *slog.Logger, refusals slog.Level) broker.Options {
	o := broker.Options{
		Anonymous: anonymous(c), Limits: limits(&c.Limits), RingBytes: int64(c.Limits.Ring),
		Logger: log, ServerName: "carillon/" + version, RefusalLevel: refusals,
		PingEvery: time.Duration(c.Limits.PingEvery), PongWait: time.Duration(c.Limits.PongWait), Stalled: time.Duration(c.Limits.Stalled),
		ResumeWindow: time.Duration(c.Limits.ResumeWindow), DrainSpread: time.Duration(c.Limits.DrainSpread), NoCompress: c.Compress == "off",
	}
	for _, t := range c.Topics {
		o.Topics = append(o.Topics, broker.TopicRule{
			Match: t.Match, Class: classes[t.Class], Sync: time.Duration(t.Sync.Interval),
			History: broker.History{
				Count: uint64(t.History.Count), Age: time.Duration(t.History.Age), Bytes: uint64(t.History.Bytes),
			},
		})
	}
	return o
}

var classes = map[string]broker.Class{"live": broker.ClassLive, "memory": broker.ClassMemory, "stored": broker.ClassStored}

// anonymous is the identity of clients without a token; nil when there are to be none. Beside a plugin it may do what the
// configuration lists, under the limits of every session.
func anonymous(c *config.Config) *broker.Identity {
	if !c.HasAuth() {
		return broker.Everybody()
	}
	if c.Auth.Anonymous != "allow" {
		return nil
	}
	id := &broker.Identity{}
	for _, f := range c.Auth.AnonymousPublish {
		id.Grants = append(id.Grants, broker.Grant{Actions: broker.ActionPublish, Filter: f})
	}
	for _, f := range c.Auth.AnonymousSubscribe {
		id.Grants = append(id.Grants, broker.Grant{Actions: broker.ActionSubscribe, Filter: f})
	}
	return id
}

// packetRoom is what a packet has beyond its payload: topic, headers, and the packet's own bytes.
const packetRoom = 8 << 10

// limits are the core's, in which Unlimited is the same number as the configuration's.
func limits(l *config.Limits) broker.Limits {
	return broker.Limits{
		Packet: int(l.Payload) + packetRoom, Payload: int(l.Payload), Headers: int(l.Headers), Pending: int(l.Pending),
		Subscriptions: int(l.Subscriptions), SubscribeRate: int(l.SubscribeRate), SubscribeBurst: int(l.SubscribeBurst),
		PublishRate: int(l.PublishRate), PublishBurst: int(l.PublishBurst), PublishBytes: int(l.PublishBytes),
		PingRate: int(l.PingRate), Inflight: int(l.Inflight),
		Sessions: int(l.Sessions), SubscriptionsIn: int(l.SubscriptionsTotal),
		SessionsOfUser: int(l.SessionsPerUser), SessionsOfAddr: int(l.SessionsPerAddress),
		Retained: int(l.Retained), RetainedBytes: int64(l.RetainedBytes), StorePending: int64(l.StorePending),
		MessageIDs:  int(l.MessageIDs),
		AuthTimeout: time.Duration(l.AuthTimeout), StoreTimeout: time.Duration(l.StoreTimeout),
		ConnectTimeout: time.Duration(l.ConnectTimeout),
	}
}
