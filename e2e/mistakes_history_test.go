package e2e

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/carillon-mq/carillon/protocol"
)

const historyMistakesConfig = mistakesConfig + `
topics:
  - {match: "orders.>", class: stored}
`

func openStoredDoors(t *testing.T) *doors {
	t.Helper()
	config := filepath.Join(t.TempDir(), "carillon.yaml")
	if err := os.WriteFile(config, []byte(historyMistakesConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBroker(t, "-c", config)
	b.start()
	return &doors{t, b, config}
}

// good sends an HTTP publish that has to succeed.
func (d *doors) good(path, body string, headers ...string) {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), "POST", "http://"+d.b.listen+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Add(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		d.t.Fatalf("POST %s: %s", path, resp.Status)
	}
}

// history is `carillon history`, which has to be refused.
func (d *doors) history(token string, args ...string) told {
	d.t.Helper()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(d.t.Context(), carillonBinary, append([]string{"history", "--server", d.b.url(), "--token", token}, args...)...)
	cmd.Stderr = &stderr
	if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != 3 {
		d.t.Fatalf("exit code %d: %s", cmd.ProcessState.ExitCode(), stderr.String())
	}
	m := regexp.MustCompile(`^carillon: history of "[^"]*": ([a-z_]+): (.*)\n    (.*)\n$`).FindStringSubmatch(stderr.String())
	if m == nil {
		d.t.Fatalf("history said %q", stderr.String())
	}
	return told{code: m[1], detail: m[2], hint: m[3]}
}

func TestEveryMistakeWithAHistoryIsExplainedThroughEveryDoor(t *testing.T) {
	d := openStoredDoors(t)
	subscriber := token(t, "main", mistakesSecret, nil)
	reader := token(t, "main", mistakesSecret, map[string]any{"carillon": map[string]any{
		"publish": []string{"orders.*"}, "subscribe": []string{">"}, "history": []string{">"},
	}})
	asSubscriber, bearer := "Authorization: Bearer "+subscriber, "Authorization: Bearer "+reader
	at := protocol.Position{Term: protocol.NewRunID(), Offset: 7}
	const history = "/v1/topics/orders.1/history"
	for _, tc := range []struct {
		name, code, detail string
		status             int
		ways               map[string]func(*doors) told
	}{
		{"no right to history", "forbidden", `no grant of "42" covers reading the history of "orders\.1"`, 403, map[string]func(*doors) told{
			"HTTP":    func(d *doors) told { return d.request("GET", history, "", asSubscriber) },
			"History": func(d *doors) told { return d.packet(subscriber, &protocol.History{ID: 1, Filter: "orders.1"}) },
			"last": func(d *doors) told {
				return d.packet(subscriber, &protocol.Subscribe{ID: 1, Filter: "orders.1", Last: 5})
			},
			"command": func(d *doors) told { return d.history(subscriber, "orders.1") },
		}},
		{"not stored", "unsupported", `no topic that "news\.>" matches is stored`, 501, map[string]func(*doors) told{
			"HTTP":    func(d *doors) told { return d.request("GET", "/v1/topics/news.%3E/history", "", bearer) },
			"History": func(d *doors) told { return d.packet(reader, &protocol.History{ID: 1, Filter: "news.>"}) },
			"command": func(d *doors) told { return d.history(reader, "news.>") },
		}},
		{"both a cursor and the newest", "bad_args", `both "last" and "after" are given|.*found last and after, wanted one of them`, 400, map[string]func(*doors) told{
			"HTTP": func(d *doors) told { return d.request("GET", history+"?last=1&after="+at.Cursor(), "", bearer) },
			"History": func(d *doors) told {
				return d.packet(reader, &protocol.History{ID: 1, Filter: "orders.1", Last: 1, After: at.Append(nil)})
			},
		}},
		{"a subscription with both", "bad_args", `.*last.*position.*`, 400, map[string]func(*doors) told{
			"Subscribe": func(d *doors) told {
				return d.packet(reader, &protocol.Subscribe{ID: 1, Filter: "orders.1", Last: 1, Position: at.Append(nil)})
			},
		}},
		{"a cursor that is none", "bad_position", `parameter "after" is "nonsense", which is no cursor|found 8 bytes of another form, wanted a token of form 1|found 6 bytes of another form.*`, 400, map[string]func(*doors) told{
			"HTTP": func(d *doors) told { return d.request("GET", history+"?after=nonsense", "", bearer) },
			"History": func(d *doors) told {
				return d.packet(reader, &protocol.History{ID: 1, Filter: "orders.1", After: []byte("nonsense")})
			},
			"command": func(d *doors) told { return d.history(reader, "orders.1", "--after", "nonsense") },
		}},
		{"more than a page", "bad_args", `parameter "limit" is "1025", want a whole number from 1 to 1024|.*limit.*1024.*`, 400, map[string]func(*doors) told{
			"HTTP": func(d *doors) told { return d.request("GET", history+"?limit=1025", "", bearer) },
			"History": func(d *doors) told {
				return d.packet(reader, &protocol.History{ID: 1, Filter: "orders.1", Limit: 1025})
			},
		}},
		{"more of the newest than there are", "bad_args", `parameter "last" is "1025", want a whole number from 1 to 1024|.*last.*1024.*`, 400, map[string]func(*doors) told{
			"HTTP": func(d *doors) told { return d.request("GET", history+"?last=1025", "", bearer) },
			"Subscribe": func(d *doors) told {
				return d.packet(reader, &protocol.Subscribe{ID: 1, Filter: "orders.1", Last: 1025})
			},
		}},
		{"a rate beyond the highest", "bad_args", `.*max_rate.*1000.*`, 400, map[string]func(*doors) told{
			"Subscribe": func(d *doors) told {
				return d.packet(reader, &protocol.Subscribe{ID: 1, Filter: "orders.1", MaxRate: 1001})
			},
		}},
		{"a history of no filter", "bad_filter", `.*wanted.*`, 400, map[string]func(*doors) told{
			"HTTP":    func(d *doors) told { return d.request("GET", "/v1/topics/orders..1/history", "", bearer) },
			"History": func(d *doors) told { return d.packet(reader, &protocol.History{ID: 1, Filter: "orders..1"}) },
		}},
		{"an id with another message", "duplicate_id", `another message with this id was published less than 2 minutes ago`, 409, map[string]func(*doors) told{
			"HTTP": func(d *doors) told {
				d.good("/v1/topics/orders.1?id=h", "1", bearer)
				return d.request("POST", "/v1/topics/orders.1?id=h", "2", bearer)
			},
			"header": func(d *doors) told {
				d.good("/v1/topics/orders.1", "1", bearer, "Idempotency-Key: k")
				return d.request("POST", "/v1/topics/orders.1", "2", bearer, "Idempotency-Key: k")
			},
			"Publish": func(d *doors) told {
				b := (&protocol.Publish{ID: 1, Topic: "orders.1", Payload: []byte("1"), MessageID: "p"}).Append(nil)
				b = (&protocol.Publish{ID: 2, Topic: "orders.1", Payload: []byte("2"), MessageID: "p"}).Append(b)
				return d.send(reader, websocket.MessageBinary, b)
			},
			"through two doors": func(d *doors) told {
				d.good("/v1/topics/orders.1?id=d", "1", bearer)
				return d.packet(reader, &protocol.Publish{ID: 1, Topic: "orders.1", Payload: []byte("2"), MessageID: "d"})
			},
		}},
		{"an id that is too long", "bad_args", `parameter "id" has 65 bytes; a message id has 1 to 64|.*mid.*65 bytes.*64.*`, 400, map[string]func(*doors) told{
			"HTTP": func(d *doors) told {
				return d.request("POST", "/v1/topics/orders.1?id="+strings.Repeat("x", 65), "1", bearer)
			},
			"Publish": func(d *doors) told {
				return d.packet(reader, &protocol.Publish{ID: 1, Topic: "orders.1", MessageID: strings.Repeat("x", 65)})
			},
		}},
		{"two ids", "bad_args", `the header Idempotency-Key is "2" and (parameter "id"|"id" in the body) is "1"; a message has one id`, 400, map[string]func(*doors) told{
			"HTTP": func(d *doors) told {
				return d.request("POST", "/v1/topics/orders.1?id=1", "1", bearer, "Idempotency-Key: 2")
			},
			"envelope": func(d *doors) told {
				return d.request("POST", "/v1/publish", `{"topic":"orders.1","data":1,"id":"1"}`, bearer, "Idempotency-Key: 2", "Content-Type: application/json")
			},
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
}

func TestMistakesWithStoredTopicsInTheConfigurationAreExplained(t *testing.T) {
	for _, tc := range []struct{ name, yaml, want string }{
		{
			"stored without a store", "store: {plugin: none}\ntopics:\n  - {match: a, class: stored}\n",
			`:3:23: topics[0].class: stored needs a store, and store.plugin is none; write store.plugin: store-bolt, or class: memory`,
		},
		{
			"a history of what is not stored", "topics:\n  - {match: a, class: memory, history: {count: 5}}\n",
			`:2:40: topics[0].history: is for class stored; this rule is of class memory, whose topics have no history: write class: stored, or leave it out`,
		},
		{
			"a history of nothing", "topics:\n  - {match: a, class: stored, history: {count: 0}}\n",
			`:2:48: topics[0].history.count: 0 is below the least, 1`,
		},
		{
			"a mistyped class", "topics:\n  - {match: a, class: persisted}\n",
			`:2:23: topics[0].class: "persisted" is not known; want live or memory or stored`,
		},
		{
			"sync as a duration", "topics:\n  - {match: a, class: stored, sync: 20ms}\n",
			`:2:37: topics[0].sync: "20ms" is not known; write {interval: 20ms}, or always`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			config := filepath.Join(t.TempDir(), "c.yaml")
			if err := os.WriteFile(config, []byte(tc.yaml), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, verb := range []string{"config check", "serve"} {
				var stderr bytes.Buffer
				cmd := exec.CommandContext(t.Context(), carillonBinary, append(strings.Fields(verb), "-c", config)...)
				cmd.Stderr = &stderr
				if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != 2 || stderr.String() != "carillon: "+config+tc.want+"\n" {
					t.Errorf("%s: exit code %d\n%s", verb, cmd.ProcessState.ExitCode(), stderr.String())
				}
			}
		})
	}
}
