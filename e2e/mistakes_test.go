package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/carillon-mq/carillon/protocol"
)

const (
	subscribePath = "/v1/subscribe?filter=orders.%3E"
	eventStream   = "Accept: text/event-stream"
)

func TestEveryMistakeWithATokenIsExplainedThroughEveryDoor(t *testing.T) {
	d := openDoors(t)
	hour := func(n int) int64 { return time.Now().Add(time.Duration(n) * time.Hour).Unix() }
	const instant = `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`
	for _, tc := range []struct {
		name, token, code, detail string
	}{
		{"missing", "", "token_missing", `found no token, and this broker lets in nobody without one`},
		{"not a token", "abc", "token_malformed", `the token has no dots in it, a signed one has 3 parts between dots`},
		{
			"signed with another key", token(t, "main", "fedcba9876543210fedcba9876543210", nil),
			"token_bad_signature", `the signature does not fit the HS256 key "main"`,
		},
		{"signed with an unknown key", token(t, "old", mistakesSecret, nil), "token_unknown_key", `kid is "old", there is no such HS256 key`},
		{
			"expired", token(t, "main", mistakesSecret, map[string]any{"iat": hour(-3), "exp": hour(-2)}),
			"token_expired", `the token expired at ` + instant + `, 2h0m\d+s ago by this broker's clock`,
		},
		{
			"not yet valid", token(t, "main", mistakesSecret, map[string]any{"nbf": hour(2), "exp": hour(3)}),
			"token_not_yet_valid", `nbf is ` + instant + `, which by this broker's clock is in (2h0m0s|1h59m\d+s)`,
		},
		{"for somebody else", token(t, "main", mistakesSecret, map[string]any{"aud": "shop"}), "token_wrong_audience", `aud is "shop", this broker wants "carillon"`},
		{
			"from somebody else", token(t, "main", mistakesSecret, map[string]any{"iss": "https://shop.example"}),
			"token_wrong_issuer", `iss is "https://shop.example", this broker wants "https://app.example"`,
		},
		{"of nobody", token(t, "main", mistakesSecret, map[string]any{"sub": nil}), "token_bad_claims", `the token has no sub`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := d.with(t)
			bearer, cookie := "Authorization: Bearer "+tc.token, "Cookie: session="+tc.token
			ways := map[string]func() told{
				"HTTP":        func() told { return d.request("POST", "/v1/topics/orders.1", "1", bearer) },
				"retained":    func() told { return d.request("GET", "/v1/topics/orders.1", "", bearer) },
				"events":      func() told { return d.request("GET", subscribePath, "", bearer, eventStream) },
				"poll":        func() told { return d.request("GET", subscribePath+"&mode=poll", "", bearer) },
				"EventSource": func() told { return d.request("GET", subscribePath, "", cookie, eventStream) },
				"cookie":      func() told { return d.request("POST", "/v1/topics/orders.1", "1", cookie) },
				"upgrade":     func() told { return d.upgrade("/ws", bearer) },
				"WS cookie":   func() told { return d.upgrade("/ws", cookie) },
				"Connect":     func() told { return d.packet("", &protocol.Connect{Version: protocol.Version, Token: tc.token}) },
				"inspect":     func() told { return d.inspect(tc.token) },
			}
			if tc.token == "" { // an upgrade without a token is in order: Connect may bring one
				bearer, cookie = "X-Nothing: 1", "X-Nothing: 1"
				delete(ways, "upgrade")
				delete(ways, "WS cookie")
				delete(ways, "inspect")
			}
			for name, way := range ways {
				got := way()
				t.Logf("%s: %s: %s. %s", name, got.code, got.detail, got.hint)
				got.check(t, tc.code, tc.detail, http.StatusUnauthorized)
			}
		})
	}
	if log := d.b.said(); strings.Contains(log, "eyJ") {
		t.Errorf("the log holds a token")
	}
}

func TestEveryOtherMistakeIsExplainedThroughEveryDoor(t *testing.T) {
	d := openDoors(t)
	good := token(t, "main", mistakesSecret, nil)
	bearer, large := "Authorization: Bearer "+good, strings.Repeat("x", 64<<10+1)
	const foreign, rebound = "Origin: https://evil.test", "Host: evil.test"
	for _, tc := range []struct {
		name, code, detail string
		status             int
		ways               map[string]func(*doors) told
	}{
		{"forbidden topic", "forbidden", `no grant of "42" covers (publishing to|reading|subscribing to) "secret(\.>)?"`, 403, map[string]func(*doors) told{
			"HTTP":        func(d *doors) told { return d.request("POST", "/v1/topics/secret", "1", bearer) },
			"HTTP cookie": func(d *doors) told { return d.request("POST", "/v1/topics/secret", "1", "Cookie: session="+good) },
			"envelope": func(d *doors) told {
				return d.request("POST", "/v1/publish", `{"topic":"secret","data":1}`, bearer, "Content-Type: application/json")
			},
			"retained":  func(d *doors) told { return d.request("GET", "/v1/topics/secret", "", bearer) },
			"publish":   func(d *doors) told { return d.packet(good, &protocol.Publish{ID: 1, Topic: "secret"}) },
			"subscribe": func(d *doors) told { return d.packet(good, &protocol.Subscribe{ID: 1, Filter: "secret.>"}) },
			"events": func(d *doors) told {
				return d.request("GET", "/v1/subscribe?filter=secret.%3E", "", bearer, eventStream)
			},
			"poll": func(d *doors) told { return d.request("GET", "/v1/subscribe?filter=secret.%3E&mode=poll", "", bearer) },
		}},
		{"a topic of the broker's own", "forbidden", `topic "\$sys\.x" is one of the broker's own; nobody may publish to it`, 403, map[string]func(*doors) told{
			"HTTP":    func(d *doors) told { return d.request("POST", "/v1/topics/$sys.x", "1", bearer) },
			"publish": func(d *doors) told { return d.packet(good, &protocol.Publish{ID: 1, Topic: "$sys.x"}) },
		}},
		{"bad topic", "bad_topic", `level 2 (is empty|has .*), wanted .*`, 400, map[string]func(*doors) told{
			"HTTP":     func(d *doors) told { return d.request("POST", "/v1/topics/orders.*", "1", bearer) },
			"retained": func(d *doors) told { return d.request("GET", "/v1/topics/orders.%20x", "", bearer) },
			"publish":  func(d *doors) told { return d.packet(good, &protocol.Publish{ID: 1, Topic: "orders.*"}) },
		}},
		{"bad filter", "bad_filter", `.*wanted.*`, 400, map[string]func(*doors) told{
			"subscribe": func(d *doors) told { return d.packet(good, &protocol.Subscribe{ID: 1, Filter: "orders.>.x"}) },
			"events":    func(d *doors) told { return d.request("GET", subscribePath+".x", "", bearer, eventStream) },
			"poll":      func(d *doors) told { return d.request("GET", subscribePath+".x&mode=poll", "", bearer) },
		}},
		{"too large", "too_large", `(found a payload of 65537 bytes, the limit is 65536|the body is larger than 65536 bytes, the limit here)`, 413, map[string]func(*doors) told{
			"HTTP": func(d *doors) told { return d.request("POST", "/v1/topics/orders.1", large, bearer) },
			"publish": func(d *doors) told {
				return d.packet(good, &protocol.Publish{ID: 1, Topic: "orders.1", Payload: []byte(large)})
			},
		}},
		{"message too large", "message_too_large", `found a message of more than \d+ bytes`, 0, map[string]func(*doors) told{
			"WebSocket": func(d *doors) told { return d.send(good, websocket.MessageBinary, bytes.Repeat([]byte{0xc0}, 200<<10)) },
		}},
		{"bad packet", "bad_packet", `.*(wanted|expected|want).*`, 0, map[string]func(*doors) told{
			"WebSocket":      func(d *doors) told { return d.send(good, websocket.MessageBinary, []byte(`{"type":"publish"}`)) },
			"before Connect": func(d *doors) told { return d.send("", websocket.MessageBinary, []byte{0xc1}) },
		}},
		{"text where binary is spoken", "bad_frame", `found a text message, wanted binary messages of msgpack packets`, 0, map[string]func(*doors) told{
			"WebSocket": func(d *doors) told { return d.send(good, websocket.MessageText, []byte(`[1,1]`)) },
		}},
		{"another packet before Connect", "bad_order", `found .*, wanted Connect.*`, 0, map[string]func(*doors) told{
			"WebSocket": func(d *doors) told { return d.packet("", &protocol.Publish{ID: 1, Topic: "orders.1"}) },
		}},
		{"another version", "bad_version", `found version 9, .*1.*`, 0, map[string]func(*doors) told{
			"WebSocket": func(d *doors) told { return d.packet("", &protocol.Connect{Version: 9, Token: good}) },
		}},
		{"wrong subprotocol", "bad_subprotocol", `found subprotocol "(mqtt)?", wanted "carillon\.v1" or, for JSON, "carillon\.v1\.json"`, 400, map[string]func(*doors) told{
			"another": func(d *doors) told { return d.upgrade("/ws", "Sec-WebSocket-Protocol: mqtt") },
			"none":    func(d *doors) told { return d.upgrade("/ws", "Sec-WebSocket-Protocol: ") },
		}},
		{"plain HTTP to /ws", "upgrade_required", `found a plain HTTP request, wanted an upgrade to WebSocket`, 426, map[string]func(*doors) told{
			"GET": func(d *doors) told { return d.request("GET", "/ws", "", bearer) },
		}},
		{"foreign origin", "bad_origin", `pages of origin "https://evil\.test" may not use this broker`, 403, map[string]func(*doors) told{
			"HTTP":      func(d *doors) told { return d.request("POST", "/v1/topics/orders.1", "1", bearer, foreign) },
			"retained":  func(d *doors) told { return d.request("GET", "/v1/topics/orders.1", "", bearer, foreign) },
			"preflight": func(d *doors) told { return d.request("OPTIONS", "/v1/publish", "", foreign) },
			"cookie": func(d *doors) told {
				return d.request("POST", "/v1/topics/orders.1", "1", "Cookie: session="+good, foreign)
			},
			"upgrade":   func(d *doors) told { return d.upgrade("/ws", foreign) },
			"events":    func(d *doors) told { return d.request("GET", subscribePath, "", bearer, eventStream, foreign) },
			"poll":      func(d *doors) told { return d.request("GET", subscribePath+"&mode=poll", "", bearer, foreign) },
			"WS cookie": func(d *doors) told { return d.upgrade("/ws", "Cookie: session="+good, foreign) },
		}},
		{"foreign page with a cookie and no Origin", "bad_origin", `the token is in the cookie session, and the request comes from another site \(Sec-Fetch-Site: cross-site\)`, 403, map[string]func(*doors) told{
			"HTTP": func(d *doors) told {
				return d.request("POST", "/v1/topics/orders.1", "1", "Cookie: session="+good, "Sec-Fetch-Site: cross-site")
			},
			"retained": func(d *doors) told {
				return d.request("GET", "/v1/topics/orders.1", "", "Cookie: session="+good, "Sec-Fetch-Site: cross-site")
			},
			"upgrade": func(d *doors) told { return d.upgrade("/ws", "Cookie: session="+good, "Sec-Fetch-Site: cross-site") },
		}},
		{"bad host", "bad_host", `the request was sent to host "evil\.test", which is not one of this broker's names`, 421, map[string]func(*doors) told{
			"HTTP":     func(d *doors) told { return d.request("POST", "/v1/topics/orders.1", "1", bearer, rebound) },
			"retained": func(d *doors) told { return d.request("GET", "/v1/topics/orders.1", "", bearer, rebound) },
			"upgrade":  func(d *doors) told { return d.upgrade("/ws", rebound) },
			"events":   func(d *doors) told { return d.request("GET", subscribePath, "", bearer, eventStream, rebound) },
		}},
		{"a cookie that is too large", "headers_too_large", `found \d+ bytes of headers, the limit is 16384; Cookie has 200\d\d of them`, 431, map[string]func(*doors) told{
			"HTTP":    func(d *doors) told { return d.request("POST", "/v1/topics/orders.1", "1", "Cookie: "+large[:20000]) },
			"upgrade": func(d *doors) told { return d.upgrade("/ws", "Cookie: "+large[:20000]) },
			"events":  func(d *doors) told { return d.request("GET", subscribePath, "", "Cookie: "+large[:20000], eventStream) },
		}},
		{"token in the URL", "token_in_url", `the URL carries a token in parameter "(access_token|…|x)"; it was not looked at`, 400, map[string]func(*doors) told{
			"HTTP":     func(d *doors) told { return d.request("POST", "/v1/topics/orders.1?access_token="+good, "1") },
			"retained": func(d *doors) told { return d.request("GET", "/v1/topics/orders.1?x="+good, "") },
			"upgrade":  func(d *doors) told { return d.upgrade("/ws?" + good) },
			"events":   func(d *doors) told { return d.request("GET", subscribePath+"&access_token="+good, "", eventStream) },
			"poll":     func(d *doors) told { return d.request("GET", subscribePath+"&mode=poll&access_token="+good, "") },
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for name, way := range tc.ways {
				got := way(d.with(t))
				t.Logf("%s: %s: %s. %s", name, got.code, got.detail, got.hint)
				got.check(t, tc.code, tc.detail, tc.status)
			}
		})
	}
	if log := d.b.said(); strings.Contains(log, "eyJ") || strings.Contains(log, "xxxxx") {
		t.Errorf("the log holds a token or a payload")
	}
}

func TestAGoodTokenGoesThroughEveryDoor(t *testing.T) {
	d := openDoors(t)
	good := token(t, "main", mistakesSecret, nil)
	for name, header := range map[string]string{"header": "Authorization: Bearer " + good, "cookie": "Cookie: session=" + good} {
		req, err := http.NewRequestWithContext(t.Context(), "POST", fmt.Sprintf("http://%s/v1/topics/orders.1", d.b.listen), strings.NewReader("1"))
		if err != nil {
			t.Fatal(err)
		}
		key, value, _ := strings.Cut(header, ": ")
		req.Header.Set(key, value)
		req.Header.Set("Origin", "https://app.example")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 || resp.Header.Get("Access-Control-Allow-Credentials") != "true" {
			t.Errorf("HTTP by %s: status %d, %v", name, resp.StatusCode, resp.Header)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		c, _, err := websocket.Dial(ctx, d.b.url(), &websocket.DialOptions{
			Subprotocols: []string{protocol.Subprotocol}, HTTPHeader: http.Header{key: {value}, "Origin": {"https://app.example"}},
		})
		if err != nil {
			t.Fatalf("WebSocket by %s: %v", name, err)
		}
		defer c.CloseNow()
		if err := c.Write(ctx, websocket.MessageBinary, (&protocol.Connect{Version: protocol.Version}).Append(nil)); err != nil {
			t.Fatal(err)
		}
		_, b, err := c.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		raw, _, err := protocol.Next(b)
		if err != nil {
			t.Fatal(err)
		}
		p, err := protocol.DecodePacket(raw)
		if hello, ok := p.(*protocol.Connected); err != nil || !ok || hello.User != "42" {
			t.Errorf("WebSocket by %s: %#v, %v", name, p, err)
		}
	}
}
