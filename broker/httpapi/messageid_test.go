package httpapi

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

func TestAMessageIDMayStandInSeveralPlaces(t *testing.T) {
	key := "Idempotency-Key: k 1"
	for _, tc := range []struct {
		name, method, path, body string
		headers                  []string
		want                     string
	}{
		{"none", "POST", "/v1/topics/a", "1", nil, ""},
		{"parameter", "POST", "/v1/topics/a?id=k%201", "1", nil, "k 1"},
		{"header", "POST", "/v1/topics/a", "1", []string{key}, "k 1"},
		{"header in quotes", "POST", "/v1/topics/a", "1", []string{`Idempotency-Key: "k 1"`}, "k 1"},
		{"both", "POST", "/v1/topics/a?id=k%201", "1", []string{key}, "k 1"},
		{"clearing", "DELETE", "/v1/topics/a", "", []string{key}, "k 1"},
		{"key of JSON", "POST", "/v1/publish", `{"topic":"a","data":1,"id":"k 1"}`, []string{asJSON}, "k 1"},
		{"null in JSON", "POST", "/v1/publish", `{"topic":"a","data":1,"id":null}`, []string{asJSON}, ""},
		{"header beside JSON", "POST", "/v1/publish", `{"topic":"a","data":1}`, []string{asJSON, key}, "k 1"},
		{"both beside JSON", "POST", "/v1/publish", `{"topic":"a","data":1,"id":"k 1"}`, []string{asJSON, key}, "k 1"},
		{"field of a form", "POST", "/v1/publish", `topic=a&data=1&id=k+1`, []string{form}, "k 1"},
		{"header beside a form", "POST", "/v1/publish", `topic=a&data=1`, []string{form, key}, "k 1"},
		{"one topic in a list", "POST", "/v1/publish", `{"topics":["a"],"data":1,"id":"k 1"}`, []string{asJSON}, "k 1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newDoor(t, Options{})
			if got := d.do(tc.method, tc.path, tc.body, tc.headers...); got.status != 200 {
				t.Fatalf("status %d: %s", got.status, got.body)
			}
			if got := d.published[0].MessageID; got != tc.want {
				t.Errorf("published with id %q, want %q", got, tc.want)
			}
		})
	}
}

// The messages of several topics are different ones; an id they shared would have the second refused as a repetition with other content.
func TestSeveralTopicsHaveIDsOfTheirOwnThatARepetitionHasToo(t *testing.T) {
	d := newDoor(t, Options{})
	var ids [2]map[string]string
	for i := range ids {
		d.published = nil
		if got := d.do("POST", "/v1/publish", `{"topics":["a","b"],"data":1,"id":"k"}`, asJSON); got.status != 200 {
			t.Fatalf("status %d: %s", got.status, got.body)
		}
		ids[i] = map[string]string{}
		for _, p := range d.published {
			ids[i][p.Topic] = p.MessageID
		}
	}
	if diff := cmp.Diff(ids[0], ids[1]); diff != "" {
		t.Errorf("ids of the repetition:\n%s", diff)
	}
	a, b := ids[0]["a"], ids[0]["b"]
	if a == b || len(a) == 0 || len(a) > protocol.MaxMessageID || len(b) != len(a) {
		t.Errorf("found ids %q and %q", a, b)
	}
}

func TestAnAcknowledgementOfARepetitionSaysSo(t *testing.T) {
	d := newDoor(t, Options{})
	at := d.Position()
	for _, tc := range []struct {
		name string
		ack  protocol.Published
		want map[string]any
	}{
		{
			"of this run",
			protocol.Published{Seq: 7, Offset: 3, Durability: protocol.Committed, Receivers: -1, Duplicate: true},
			map[string]any{
				"topic": "a", "epoch": at.Epoch.String(), "seq": 7.0, "offset": 3.0, "durability": "committed", "duplicate": true,
				"cursor": protocol.Position{Epoch: at.Epoch, Seq: 7, Term: at.Term, Offset: 3}.Cursor(),
			},
		},
		{
			"of an earlier run",
			protocol.Published{Offset: 3, Durability: protocol.Committed, Receivers: -1, Duplicate: true},
			map[string]any{
				"topic": "a", "seq": 0.0, "offset": 3.0, "durability": "committed", "duplicate": true,
				"cursor": protocol.Position{Term: at.Term, Offset: 3}.Cursor(),
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d.publish = func(broker.PublishRequest) (protocol.Published, error) { return tc.ack, nil }
			got := d.do("POST", "/v1/topics/a?id=1", "1", form)
			var ack map[string]any
			if err := json.Unmarshal([]byte(got.body), &ack); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, ack); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRefusedRepetitionsHaveTheirStatus(t *testing.T) {
	d := newDoor(t, Options{})
	for code, status := range map[protocol.Code]int{protocol.CodeDuplicateID: 409, protocol.CodeQuota: 507} {
		d.publish = func(broker.PublishRequest) (protocol.Published, error) {
			return protocol.Published{}, protocol.Errorf(code, "no")
		}
		got := d.do("POST", "/v1/topics/a?id=1", "1", form)
		if got.status != status || got.code(t) != code.String() {
			t.Errorf("%v: found %d %s", code, got.status, got.body)
		}
	}
}
