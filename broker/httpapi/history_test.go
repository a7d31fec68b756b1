package httpapi

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// storedDoor is a door to a broker that stores what is below `orders`.
func storedDoor(t *testing.T, opt broker.Options) *storedIn {
	t.Helper()
	store := brokertest.NewStore()
	opt.Store = store
	opt.Topics = []broker.TopicRule{{Match: "orders.>", Class: broker.ClassStored}}
	d := newDoorWith(t, Options{}, opt)
	if err := d.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &storedIn{d, store}
}

// storedIn is a door to a broker with a store.
type storedIn struct {
	*door
	store *brokertest.Store
}

// page is an answer of a history.
type page struct {
	Messages []struct {
		Topic string
		Data  any
		ID    string
	}
	Cursor string
	More   bool
	Gap    *struct{ Reason string }
}

func (d *door) history(t *testing.T, path string) page {
	t.Helper()
	got := d.do("GET", path, "")
	var p page
	if err := json.Unmarshal([]byte(got.body), &p); err != nil || got.status != 200 || p.Messages == nil || p.Cursor == "" {
		t.Fatalf("found %d %s (%v)", got.status, got.body, err)
	}
	if got.header.Get("Cache-Control") != "no-store" || got.header.Get("Content-Type") != typeJSON {
		t.Errorf("found headers %v", got.header)
	}
	return p
}

func (p page) data() []any {
	var data []any
	for _, m := range p.Messages {
		data = append(data, m.Data)
	}
	return data
}

func TestTheHistoryOfATopicIsReadInPages(t *testing.T) {
	d := storedDoor(t, broker.Options{})
	for _, data := range []string{"1", "2", "3", "4", "5"} {
		d.putJSON(t, "orders.1", data, false)
		d.putJSON(t, "orders.2", data+"0", false)
	}
	p := d.history(t, "/v1/topics/orders.1/history?limit=2")
	var read []any
	for p.More {
		if len(p.Messages) == 0 || len(p.Messages) > 2 {
			t.Fatalf("found a page %v", p)
		}
		if last := p.Messages[len(p.Messages)-1]; last.Topic != "orders.1" || last.ID == "" {
			t.Fatalf("found %v", last)
		}
		read = append(read, p.data()...)
		p = d.history(t, "/v1/topics/orders.1/history?limit=2&after="+p.Cursor)
	}
	if diff := cmp.Diff([]any{1.0, 2.0, 3.0, 4.0, 5.0}, append(read, p.data()...)); diff != "" {
		t.Error(diff)
	}
	p = d.history(t, "/v1/topics/orders.%3E/history?last=3")
	if diff := cmp.Diff([]any{40.0, 5.0, 50.0}, p.data()); diff != "" || p.More || p.Gap != nil {
		t.Errorf("the newest three, found %+v\n%s", p, diff)
	}
	// A message's cursor is one to go on from, for a history and for a subscription.
	after := p.Messages[1].ID
	if got := d.history(t, "/v1/topics/orders.*/history?after="+after).data(); !slices.Equal(got, []any{50.0}) {
		t.Errorf("behind 5 found %v", got)
	}
	d.poll(t, "filter=orders.*&after="+after).want(t, `{"topic":"orders.2","data":50}+`)
}

// A message has the form that it has everywhere, whatever its payload.
func TestAMessageOfAHistoryIsOneOfAStream(t *testing.T) {
	d := storedDoor(t, broker.Options{})
	d.do("POST", "/v1/publish", `{"topic":"orders.1","data_base64":"/w==","type":"image/png","headers":{"a":"b"},"retain":true}`, asJSON)
	got := d.do("GET", "/v1/topics/orders.1/history", "")
	object, _, _ := strings.Cut(noTimes(got.body), `,"id":"`)
	want := `{"messages":[{"topic":"orders.1","data_base64":"/w==","content_type":"image/png","headers":{"a":"b"},"retain":true`
	if object != want {
		t.Errorf("found %s\nwant  %s", object, want)
	}
	if head := d.do("HEAD", "/v1/topics/orders.1/history", ""); head.status != 200 || head.body != "" {
		t.Errorf("HEAD: %d %q", head.status, head.body)
	}
}

func TestAHistoryIsAnsweredAsTheCoreHasIt(t *testing.T) {
	d := newDoor(t, Options{})
	term := protocol.NewRunID()
	after := protocol.Position{Term: term, Offset: 4}
	var asked broker.HistoryRequest
	d.core.history = func(q broker.HistoryRequest) (broker.HistoryResult, error) {
		asked = q
		return broker.HistoryResult{
			Messages: []protocol.Message{{Topic: "a", Payload: []byte("1"), ContentType: typeJSON, Offset: 7, Time: 5}},
			After:    protocol.Position{Term: term, Offset: 9}, More: true, Gap: protocol.GapTrimmed,
		}, nil
	}
	got := d.do("GET", "/v1/topics/a.%3E/history?limit=1024&after="+after.Cursor(), "")
	want := `{"messages":[{"topic":"a","data":1,"ts":5,"id":"` + protocol.Position{Term: term, Offset: 7}.Cursor() + `"}],"cursor":"` +
		protocol.Position{Term: term, Offset: 9}.Cursor() + `","more":true,"gap":{"reason":"trimmed"}}` + "\n"
	if got.status != 200 || got.body != want {
		t.Errorf("found %d %s\nwant %s", got.status, got.body, want)
	}
	if diff := cmp.Diff(broker.HistoryRequest{Filter: "a.>", After: &after, Limit: 1024}, asked); diff != "" {
		t.Error(diff)
	}
	d.do("GET", "/v1/topics/a/history?last=3", "")
	if diff := cmp.Diff(broker.HistoryRequest{Filter: "a", Last: 3}, asked); diff != "" {
		t.Error(diff)
	}
}

func TestRefusalsOfAHistory(t *testing.T) {
	cursor := protocol.Position{Term: protocol.NewRunID(), Offset: 4}.Cursor()
	for _, tc := range []struct {
		name, method, path string
		status             int
		code, says         string
	}{
		{"no number", "GET", "/v1/topics/orders.1/history?limit=all", 400, "bad_args", `want a whole number from 1 to 1024`},
		{"a limit of nothing", "GET", "/v1/topics/orders.1/history?limit=0", 400, "bad_args", "from 1 to 1024"},
		{"a limit beyond a page", "GET", "/v1/topics/orders.1/history?limit=1025", 400, "bad_args", "from 1 to 1024"},
		{"a negative last", "GET", "/v1/topics/orders.1/history?last=-1", 400, "bad_args", "from 1 to 1024"},
		{"no cursor", "GET", "/v1/topics/orders.1/history?after=now", 400, "bad_position", "send a cursor exactly as an answer or an id had it"},
		{"two numbers", "GET", "/v1/topics/orders.1/history?last=1&limit=2", 400, "bad_args", "last=N reads the newest N messages; limit=N"},
		{"both", "GET", "/v1/topics/orders.1/history?last=1&after=" + cursor, 400, "bad_args", "last=N reads the newest N messages"},
		{"unknown parameter", "GET", "/v1/topics/orders.1/history?since=1", 400, "bad_args", "after, limit and last are"},
		{"no filter", "GET", "/v1/topics/orders..1/history", 400, "bad_filter", ""},
		{"another method", "POST", "/v1/topics/orders.1/history", 405, "method_not_allowed", "wanted GET or HEAD"},
		{"a topic in levels of a path", "GET", "/v1/topics/orders/1/history", 404, "not_found", "dots between them"},
		{"no topic", "GET", "/v1/topics//history", 404, "not_found", ""},
		{"a topic that is not stored", "GET", "/v1/topics/news.%3E/history", 501, "unsupported", `topics: [{match: \"news.>\", class: stored}]`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := storedDoor(t, broker.Options{})
			got := d.do(tc.method, tc.path, "")
			if got.status != tc.status || got.code(t) != tc.code || !strings.Contains(got.body, tc.says) {
				t.Errorf("found %d %s", got.status, got.body)
			}
		})
	}
}

func TestAHistoryNeedsARightOfItsOwn(t *testing.T) {
	d := storedDoor(t, broker.Options{})
	d.authenticate = func(broker.Credentials) (*broker.Identity, error) {
		return &broker.Identity{User: "alice", Grants: []broker.Grant{
			{Actions: broker.ActionSubscribe, Filter: ">"}, {Actions: broker.ActionHistory, Filter: "orders.1"},
		}}, nil
	}
	if got := d.do("GET", "/v1/topics/orders.1/history", ""); got.status != 200 {
		t.Errorf("found %d %s", got.status, got.body)
	}
	got := d.do("GET", "/v1/topics/orders.*/history", "")
	if got.status != 403 || got.code(t) != "forbidden" || !strings.Contains(got.body, `\"history\": [\"orders.*\"]`) {
		t.Errorf("found %d %s", got.status, got.body)
	}
}
