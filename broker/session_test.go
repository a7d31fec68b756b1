package broker_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// CON-1, CON-2, CON-7, ERR-2, ENC-11, ENC-12, TRA-2, TRA-4: what ends a session, and what is done of a message before it does.
func TestASessionEndsWithTheCodeOfItsFault(t *testing.T) {
	bytes := func(packets ...protocol.Packet) []byte {
		var b []byte
		for _, p := range packets {
			b = p.Append(b)
		}
		return b
	}
	connect := &protocol.Connect{Version: 1}
	for name, test := range map[string]struct {
		msg  []byte
		want []string
	}{
		"anything before Connect":  {bytes(&protocol.Ping{}), []string{"disconnect bad_order"}},
		"a second Connect":         {bytes(connect, connect), []string{"connected", "disconnect bad_order"}},
		"another version":          {bytes(&protocol.Connect{Version: 2}), []string{"disconnect bad_version"}},
		"empty message":            {nil, []string{"disconnect bad_packet"}},
		"garbage":                  {[]byte{0xc1}, []string{"disconnect bad_packet"}},
		"garbage behind a packet":  {append(bytes(connect, &protocol.Ping{}), 0xc1), []string{"connected", "pong", "disconnect bad_packet"}},
		"a packet of brokers only": {bytes(connect, &protocol.Message{Topic: "a"}), []string{"connected", "disconnect bad_packet"}},
		"a wrong type of field":    {append(bytes(connect), 0x93, 0x03, 0xa1, 'x', 0xa1, 'a'), []string{"connected", "disconnect bad_packet"}},
		"an id of 0":               {append(bytes(connect), 0x93, 0x03, 0x00, 0xa1, 'a'), []string{"connected", "error 0 bad_args"}},
		"no id, and no content type": {
			append(bytes(connect), "\x95\x07\xc0\xa1a\xc4\x00\x81\xa4type\xa0"...), []string{"connected", "error 0 bad_args"},
		},
		"an unknown type":        {append(bytes(connect), 0x92, 0x7f, 0x09), []string{"connected", "error 9 unknown_type"}},
		"an unknown type, no id": {append(bytes(connect), 0x91, 0x7f), []string{"connected"}},
		"a reserved type":        {append(bytes(connect), 0x92, 0x0e, 0x04), []string{"connected", "error 4 unknown_type"}},
		"too much before it is connected": {
			bytes(connect, &protocol.Publish{ID: 1, Topic: "a", Payload: make([]byte, broker.ConnectBytes)}),
			[]string{"disconnect message_too_large"},
		},
		"pong":                   {bytes(connect, &protocol.Pong{}), []string{"connected"}},
		"unsubscribe of nothing": {bytes(connect, &protocol.Unsubscribe{ID: 3, Subscription: 1}), []string{"connected", "error 3 not_found"}},
		"a good one": {
			bytes(connect, &protocol.Subscribe{ID: 1, Filter: "a", NoRetained: true}, &protocol.Publish{Topic: "a"}, &protocol.Unsubscribe{ID: 2, Subscription: 1}),
			[]string{"connected", "subscribed 1 @0", `message 1 a ""`, "unsubscribed 2"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := start(t, broker.Options{Shards: 1})
				c := brokertest.Open(t, b, broker.ConnInfo{})
				err := c.SendBytes(test.msg)
				if ends := strings.HasPrefix(test.want[len(test.want)-1], "disconnect"); (err != nil) != ends {
					t.Errorf("found %v", err)
				}
				wantArrived(t, c, test.want...)
			})
		})
	}
}

// CON-7: what stands behind Connect in one message is answered behind Connected.
func TestConnectedComesFirst(t *testing.T) {
	b := start(t, broker.Options{})
	for range 300 {
		c := brokertest.Open(t, b, broker.ConnInfo{})
		c.Send(&protocol.Connect{Version: 1}, &protocol.Subscribe{ID: 1, Filter: "a"}, &protocol.Publish{ID: 2, Topic: "a"})
		brokertest.Expect[*protocol.Connected](c)
		c.Leave()
	}
}

// CON-6, CON-9
func TestConnectedTellsTheSessionsLimits(t *testing.T) {
	b := start(t, broker.Options{ServerName: "carillon/test", PingEvery: 30 * time.Second})
	expires := time.Now().Add(time.Hour)
	c := brokertest.Dial(t, b, &broker.Identity{User: "u", Expires: expires, Limits: broker.SessionLimits{PublishRate: 7, Subscriptions: broker.Unlimited}})
	got := c.Connected
	if got.User != "u" || got.Server != "carillon/test" || got.Ping != 30*time.Second || got.Expires != expires.UnixMilli() || got.Session != c.Session.ID() {
		t.Errorf("found %+v", got)
	}
	if _, told := got.Limits["subscriptions"]; told || got.Limits["publish_rate"] != 7 || got.Limits["payload"] != 64<<10 || got.Limits["publish_bytes"] != 256<<10 {
		t.Errorf("found limits %v", got.Limits)
	}
}

// U1
func TestAnAcknowledgementCountsReceivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{Shards: 4})
		pub := brokertest.Dial(t, b, nil)
		ask := func(topic string) []string {
			pub.Send(&protocol.Publish{ID: 1, Topic: topic, Receivers: true})
			return arrived(pub)
		}
		wantLines(t, ask("a"), "published 1 @1 receivers 0")
		for range 10 {
			c := brokertest.Dial(t, b, nil)
			c.Subscribe(1, "a")
			c.Subscribe(2, "*") // the same session
		}
		slow := brokertest.Dial(t, b, nil)
		slow.Subscribe(1, "a")
		slow.Shut()
		for range 200 {
			publish(t, b, "a", kib(1))
		}
		wantLines(t, ask("a"), "published 1 @202 receivers 11") // whoever lags will get it, too
		wantLines(t, ask("b"), "published 1 @203 receivers 10")
	})
}

// U1: when the shards take longer than a second the acknowledgement comes without the count.
func TestAnAcknowledgementWaitsASecondForItsCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{Shards: 1})
		pub := brokertest.Dial(t, b, nil)
		synctest.Wait()
		free := b.HoldShards()
		pub.Send(&protocol.Publish{ID: 1, Topic: "a", Receivers: true})
		time.Sleep(999 * time.Millisecond)
		wantArrived(t, pub)
		time.Sleep(time.Millisecond)
		wantArrived(t, pub, "published 1 @1")
		free()
		wantArrived(t, pub)
		if got := b.Stats().PublishSeconds.Count; got != 1 {
			t.Errorf("found the publish counted %d times", got)
		}
	})
}

// U1: and when they are quicker than the publisher can note, the count and the place are right all the same.
func TestAnAcknowledgementWithItsCountHasItsPlace(t *testing.T) {
	b := start(t, broker.Options{Shards: 4})
	for range 2000 {
		ack := publishAs(t, b, broker.PublishRequest{Topic: "a", Receivers: true})
		if ack.Seq == 0 || ack.Receivers != 0 {
			t.Fatalf("found %+v", ack)
		}
	}
}

// U1: committed and counted.
func TestARetainedPublishIsCountedAfterItsCommit(t *testing.T) {
	withStore(t, broker.Options{}, func(t *testing.T, x *stored) {
		x.store.Hold()
		x.pub.Send(&protocol.Publish{ID: 1, Topic: "a", Payload: []byte("x"), Retain: true, Receivers: true})
		x.pub.Send(&protocol.Publish{ID: 2, Topic: "a", Receivers: true})
		time.Sleep(3 * time.Second)
		wantArrived(t, x.pub)
		x.store.Release()
		wantArrived(t, x.pub, "published 1 @1 committed 1 receivers 1", "published 2 @2 receivers 1")
	})
}
