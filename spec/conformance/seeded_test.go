package conformance

import (
	"bytes"
	"compress/flate"
	"encoding/hex"
	"os"
	"slices"
	"strings"
	"testing"
)

// serverFaults are seeded one at a time. README.md lists them.
var serverFaults = []*serverFault{
	{name: "any-subprotocol", rule: "TRA-1", run: "^transport/subprotocol", granted: true},
	{name: "answers-apart", rule: "TRA-5", run: "^transport/answers-together", apart: true},
	{name: "token-in-url-taken", rule: "TRA-6", run: "^transport/token", blind: true},
	{name: "unknown-type-ends-it", rule: "ENC-9", run: "^encoding/unknown-types", server: func(p packet) []packet {
		if p.name == "Error" && p.values["name"] == "unknown_type" {
			return []packet{{"Disconnect", map[string]any{"code": 4200, "name": "bad_packet", "detail": ""}}}
		}
		return []packet{p}
	}},
	{name: "unknown-options-refused", rule: "ENC-8", run: "^encoding/options-to-come", client: on("Subscribe", func(p packet) []packet {
		if _, known := p.values["example.com.trace"]; known {
			p.values["filter"] = ""
		}
		return []packet{p}
	})},
	{name: "session-without-name", rule: "CON-6", run: "^session/connected", server: set("Connected", "session", "s")},
	{name: "second-connect-taken", rule: "CON-1", run: "^session/connect-twice", server: on("Disconnect", none), closes: 1000},
	{name: "refresh-keeps-expiry", rule: "REF-1", run: "^refresh/refreshed", server: set("Refreshed", "expires", 1)},
	{name: "revoked-comes-back", rule: "RGT-1", run: "^rights/revoked", server: on("Disconnect", func(p packet) []packet {
		p.values["reconnect"] = true
		return []packet{p}
	})},
	{name: "withdrawn-without-a-word", rule: "RGT-4", run: "^rights/a-subscription-ends", server: on("Error", func(p packet) []packet {
		if p.values["name"] == "forbidden" {
			return nil
		}
		return []packet{p}
	})},
	{name: "durability-lies", rule: "PUB-3", run: "^publish/acknowledged", server: set("Published", "durability", 1)},
	{name: "publishes-twice", rule: "PUB-7", run: "^publish/repeated$", client: on("Publish", func(p packet) []packet {
		delete(p.values, "mid")
		return []packet{p}
	})},
	{name: "order-lost", rule: "PUB-10", run: "^publish/in-order", late: true},
	{name: "headers-lost", rule: "PUB-6", run: "^publish/type-and-headers", server: on("Message", func(p packet) []packet {
		delete(p.values, "headers")
		return []packet{p}
	})},
	{name: "rights-not-asked", rule: "SUB-3", run: "^subscribe/refused", server: on("Error", func(p packet) []packet {
		if p.values["name"] != "forbidden" {
			return []packet{p}
		}
		return []packet{{"Subscribed", map[string]any{"id": p.values["id"], "position": "0102030405060708 1 0000000000000000 0"}}}
	})},
	{name: "message-twice", rule: "MSG-2", run: "^subscribe/once-per-session", server: on("Message", twice)},
	{name: "message-lost", rule: "SUB-4", run: "^subscribe/live", server: on("Message", none)},
	{name: "unsubscribe-forgotten", rule: "SUB-8", run: "^subscribe/unsubscribe", server: on("Error", func(p packet) []packet {
		return []packet{{"Unsubscribed", map[string]any{"id": p.values["id"]}}}
	})},
	{name: "retained-not-marked", rule: "MSG-1", run: "^retained/snapshot", server: set("Message", "retain", false)},
	{name: "snapshot-without-end", rule: "RET-1", run: "^retained/none", server: on("RetainedEnd", none)},
	{name: "snapshot-does-not-replace", rule: "RET-2", run: "^retained/after-a-gap", server: set("RetainedEnd", "reset", false)},
	{name: "gap-not-told", rule: "RES-1", run: "^resume/another-run", server: on("Gap", none)},
	{name: "resume-from-now", rule: "RES-2", run: "^resume/exact", client: on("Subscribe", func(p packet) []packet {
		delete(p.values, "position")
		p.values["retained"] = false
		return []packet{p}
	})},
	{name: "history-without-places", rule: "HIS-3", run: "^history/pages", server: set("Histories", "more", false)},
	{name: "ping-not-answered", rule: "PNG-3", run: "^end/ping-of-the-client", server: on("Pong", none)},
	{name: "error-without-id", rule: "ERR-1", run: "^end/an-error", server: set("Error", "id", nil)},
	{name: "cookie-not-read", rule: "CON-5", run: "^session/token-of-a-cookie", sweeps: true},
	{name: "window-not-told", rule: "RES-5", run: "^resume/without-history$", server: on("Gap", none)},
	{name: "another-compression", rule: "CON-12", run: "^compress/agreed", server: set("Connected", "compress", "example.com.zip")},
	{
		name: "compresses-unasked", rule: "MSG-5", run: "^compress/another-name",
		client: set("Connect", "compress", "deflate-raw"),
		server: on("Connected", func(p packet) []packet {
			delete(p.values, "compress")
			return []packet{p}
		}),
	},
	{name: "compression-cut", rule: "MSG-5", run: "^compress/beside", server: compressed(func(payload string) string { return payload[:len(payload)-2] })},
	{name: "compression-with-more-behind", rule: "MSG-5", run: "^compress/from", server: compressed(func(payload string) string { return payload + "00" })},
	{name: "compression-of-too-much", rule: "MSG-5", run: "^compress/beside", server: compressed(func(string) string { return bomb(64<<10 + 1) })},
	{name: "compression-of-something-else", rule: "MSG-5", run: "^compress/from", server: compressed(func(string) string { return bomb(4096) })},
	{name: "close-code-lost", rule: "DIS-2", run: "^end/unreadable", closes: 1000},
}

// bomb is so many bytes that are 0, compressed, in hex.
func bomb(n int) string {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression) // the level is one that there is
	_, _ = w.Write(make([]byte, n))                    // memory takes it all
	_ = w.Close()
	return hex.EncodeToString(b.Bytes())
}

func TestFaultsOfAServerAreFound(t *testing.T) {
	t.Parallel()
	own := newOwn(t)
	for _, f := range serverFaults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			scripts, err := Sessions(f.run)
			if err != nil || len(scripts) == 0 {
				t.Fatal("no scripts", err)
			}
			sound := &serverFault{}
			if results := Play(t.Context(), sound.behind(t, own), scripts, nil); Count(results, Passed) != len(results) {
				for _, r := range results {
					r.Text(t.Output())
				}
				t.Fatal("it fails without the fault")
			}
			found(t, Play(t.Context(), f.behind(t, own), scripts, nil), f.rule)
		})
	}
}

// found checks that a script has failed that names the rule, with enough to see what is wrong.
func found(t *testing.T, results []*Result, rule string) {
	t.Helper()
	for _, r := range results {
		if r.Outcome == Failed && slices.Contains(r.Script.Rules, rule) {
			if r.Step == "" || r.Failure == "" || len(r.Log) == 0 {
				t.Errorf("%s tells step %q, failure %q and %d lines", r.Script.ID(), r.Step, r.Failure, len(r.Log))
			}
			return
		}
	}
	t.Errorf("no script about %s has failed: %s", rule, Summary(results))
}

// clientFaults are the names of what the driver of the Go SDK does wrong with -fault, each with the rule and the scripts.
var clientFaults = []struct{ name, rule, run string }{
	{"hide-gaps", "GAP-5", "^subscribe/gaps-in-order"},
	{"deliver-twice", "MSG-2", "^subscribe/each-subscription-once"},
	{"lose-first", "MSG-2", "^subscribe/each-subscription-once"},
	{"start-over", "POS-10", "^subscribe/live-messages-move"},
	{"no-message-id", "REC-5", "^reconnect/publishes-again"},
	{"publish-anew", "REC-5", "^reconnect/not-as-another-user"},
	{"slow-to-return", "REC-1", "^reconnect/at-once"},
	{"give-up", "REC-1", "^reconnect/again-and-again"},
	{"stale-token", "REC-3", "^reconnect/fresh-token"},
	{"token-in-url", "TRA-6", "^connect/first-packet"},
	{"never-silent", "PNG-4", "^reconnect/silence"},
	{"impatient", "PNG-4", "^reconnect/silence"},
	{"compressed-anyway", "CON-12", "^compress/not-asked-for"},
	{"insists", "RGT-5", "^rights/withdrawn"},
	{"asks-once", "PRE-5", "^presence/followed"},
	{"answers-in-order", "PUB-12", "^faults/published-the-other-way-round"},
	{"hears-too-late", "PUB-12", "^faults/given-up"},
	{"repeats-all", "REC-5", "^faults/cut-in-a-batch"},
	{"forgets-unconfirmed", "REC-4", "^faults/restart"},
}

func TestFaultsOfAnSDKAreFound(t *testing.T) {
	t.Parallel()
	driver := goDriver(t)
	for _, f := range clientFaults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			scripts, err := Clients(f.run)
			if err != nil || len(scripts) == 0 {
				t.Fatal("no scripts", err)
			}
			found(t, PlaySDK(t.Context(), []string{driver, "-fault", f.name}, scripts, nil), f.rule)
		})
	}
}

func TestTheReadmeListsTheFaults(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, f := range serverFaults {
		want[f.name] = f.rule
	}
	for _, f := range clientFaults {
		want[f.name] = f.rule
	}
	_, section, _ := strings.Cut(string(text), "## What they find")
	listed := 0
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 || !strings.Contains(cells[1], "`") {
			continue
		}
		listed++
		if name := strings.Trim(cells[1], " `"); want[name] == "" || want[name] != strings.TrimSpace(cells[2]) {
			t.Errorf("the table has %s for %s, and there is %q", cells[2], name, want[name])
		}
	}
	if listed != len(want) {
		t.Errorf("the table has %d faults, there are %d", listed, len(want))
	}
}
