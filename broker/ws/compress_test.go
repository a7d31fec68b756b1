package ws_test

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/broker/ws"
	"github.com/carillon-mq/carillon/protocol"
)

// dialCompressed connects a client that takes payloads compressed, if the server does that.
func dialCompressed(t *testing.T, url string) (c *client, told string) {
	t.Helper()
	raw := dialSubprotocol(t, url, protocol.Subprotocol).c
	c = &client{t: t, c: raw}
	c.send(&protocol.Connect{Version: 1, Compress: protocol.CompressDeflate})
	return c, expect[*protocol.Connected](c).Compress
}

// nextPayload takes messages up to the next one of a topic, and its payload as it was published.
func (c *client) nextPayload(topic string) (payload string, compressed bool) {
	c.t.Helper()
	for {
		m, ok := c.next().(*protocol.Message)
		if !ok || m.Topic != topic {
			continue
		}
		if m.Encoding == "" {
			return string(m.Payload), false
		}
		in := bytes.NewReader(m.Payload)
		plain, err := io.ReadAll(flate.NewReader(in))
		if err != nil || in.Len() > 0 || m.Encoding != protocol.CompressDeflate {
			c.t.Fatalf("%q: %v, %d bytes behind the stream", m.Encoding, err, in.Len())
		}
		return string(plain), true
	}
}

func list(i int) string {
	return fmt.Sprintf(`{"n":%d,"list":[%s0]}`, i, strings.Repeat(`{"a":1},`, 200))
}

// [CON-12], [MSG-5]: whichever way a message comes, it is compressed for who asked for that, and for nobody else.
func TestPayloadsAreCompressedForThoseWhoAsk(t *testing.T) {
	b, url := serve(t, broker.Options{Store: brokertest.NewStore(), Topics: []broker.TopicRule{{Match: "s.>", Class: broker.ClassStored}}}, ws.Options{})
	publish := func(topic string, i int, retain bool) {
		t.Helper()
		deadline := time.Now().Add(10 * time.Second)
		for {
			_, err := b.Publish(t.Context(), broker.Everybody(), broker.PublishRequest{Topic: topic, Payload: []byte(list(i)), ContentType: "application/json", Retain: retain})
			if err == nil {
				return
			}
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
		}
	}
	c, told := dialCompressed(t, url)
	if told != protocol.CompressDeflate {
		t.Fatalf("found %q", told)
	}
	want := func(c *client, way, topic string, i int, compressed bool) {
		t.Helper()
		if got, was := c.nextPayload(topic); got != list(i) || was != compressed {
			t.Errorf("%s: compressed is %t, and the payload the same: %t", way, was, got == list(i))
		}
	}
	publish("s.kept", 1, true)
	publish("s.b", 2, false)
	c.send(&protocol.Subscribe{ID: 1, Filter: "s.>"})
	want(c, "retained", "s.kept", 1, true)
	publish("s.b", 3, false)
	want(c, "live", "s.b", 3, true)
	c.send(&protocol.History{ID: 2, Filter: "s.b", Last: 2, Limit: 2})
	want(c, "history", "s.b", 2, true)
	want(c, "history", "s.b", 3, true)
	c.send(&protocol.Subscribe{ID: 3, Filter: "s.b", Last: 1, NoRetained: true})
	want(c, "replay", "s.b", 3, true)

	plain, text := dial(t, url), dialSubprotocol(t, url, protocol.SubprotocolJSON)
	plain.send(&protocol.Subscribe{ID: 1, Filter: "s.b", NoRetained: true})
	expect[*protocol.Subscribed](plain)
	text.send(`[1,1,null,{"compress":"deflate-raw"}][3,1,"s.b",{"retained":false}]`)
	if line := text.next(); strings.Contains(line, "compress") {
		t.Errorf("JSON was told %s", line)
	}
	text.want(`[4,1,"*"]`)
	publish("s.b", 4, false)
	want(plain, "nobody asked", "s.b", 4, false)
	text.want(`[9,*,"s.b",` + list(4) + `,*,{"type":"application/json"}]`)
	if b.Stats().Saved == 0 {
		t.Error("found no bytes saved")
	}
}

// A client that reads slowly lags, and gets all of what it missed.
func TestCompressedPayloadsReachALaggingReader(t *testing.T) {
	b, url := serve(t, broker.Options{}, ws.Options{SendBuffer: 8 << 10})
	c, _ := dialCompressed(t, url)
	c.send(&protocol.Subscribe{ID: 1, Filter: "m", NoRetained: true})
	expect[*protocol.Subscribed](c)
	const messages = 3000
	for i := range messages {
		if _, err := b.Publish(t.Context(), broker.Everybody(), broker.PublishRequest{Topic: "m", Payload: append(fmt.Append(nil, i), list(i)...)}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range messages {
		if got, _ := c.nextPayload("m"); got != fmt.Sprint(i)+list(i) {
			t.Fatalf("message %d is another", i)
		}
	}
}

// What nobody asked for costs nothing: the option off is the protocol of before.
func TestCompressionTurnedOff(t *testing.T) {
	b, url := serve(t, broker.Options{NoCompress: true}, ws.Options{})
	c, told := dialCompressed(t, url)
	if told != "" {
		t.Errorf("found %q", told)
	}
	c.send(&protocol.Subscribe{ID: 1, Filter: "m", NoRetained: true})
	expect[*protocol.Subscribed](c)
	if _, err := b.Publish(t.Context(), broker.Everybody(), broker.PublishRequest{Topic: "m", Payload: []byte(list(1))}); err != nil {
		t.Fatal(err)
	}
	if _, was := c.nextPayload("m"); was {
		t.Error("found it compressed")
	}
}
