package badinput

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/carillon-mq/carillon/protocol"
)

func topicInputs(t testing.TB) []input {
	t.Helper()
	var all []input
	publish := func(id, topic, code string) {
		all = append(all, input{id: id, name: "publish to " + topic, counts: once(code), send: fails(code, bytesOf(&protocol.Publish{ID: 1, Topic: topic, Payload: []byte(marker)}))})
	}
	subscribe := func(id, filter, code string, r rights) {
		all = append(all, input{id: id, name: "subscribe to " + filter, counts: once(code), send: failsAs(r, code, bytesOf(&protocol.Subscribe{ID: 1, Filter: filter}), noMessages)})
	}
	for _, topic := range []string{".", "a..b", ".a", "a.", ""} {
		publish("T2", topic, "bad_topic")
	}
	for _, r := range []string{"\u202e", "\u200d", "\ufeff", "\u00ad", "\x00", "\u0085", " ", "\u2028", "\n"} {
		publish("T4", "a"+r+"b", "bad_topic")
	}
	for _, topic := range []string{"*", ">", "a.*", "a.>", "a*b", "a>"} {
		publish("T9", topic, "bad_topic")
	}
	for _, filter := range []string{"a>", "a.>.b", "a*", "*a.b", ">>", ">.", "a.*b", "**", ".", "a..>"} {
		subscribe("T10", filter, "bad_filter", everything)
	}
	for _, filter := range []string{">", "*", "*.>", "tenant2.>", "tenant2.*.>", "public.>"} {
		subscribe("T11", filter, "forbidden", narrow)
	}
	for _, filter := range []string{"*.secret", "tenant2.*.x", "*.a.>", "tenant2.a"} {
		subscribe("T12", filter, "forbidden", narrow)
	}
	for _, topic := range []string{"$sys.x", "$x", "$", "$SYS.x", "$share", "$user.other.x"} {
		publish("T15", topic, "forbidden")
		subscribe("T15", topic, "forbidden", everything)
	}
	for filter, code := range map[string]string{
		"$share..a": "bad_filter", "$share.g.": "bad_filter", "$share.*.a": "forbidden", "$share.g1": "forbidden", "$share.g.$sys.>": "forbidden",
	} {
		subscribe("T16", filter, code, everything)
	}
	return append(all,
		input{id: "T6", name: "composed and decomposed", accepted: 2, send: retains([]string{"caf\u00e9", "cafe\u0301"}, "caf\u00e9", "caf\u00e9")},
		input{id: "T7", name: "wide wildcards and separators", accepted: 4, send: retains([]string{"t7.＊", "t7.＞", "t7．x", "t7.x"}, "t7.*", "t7.x", "t7.＊", "t7.＞")},
		input{id: "T21", name: "keys that begin alike", accepted: 7, send: retains([]string{"t21", "t21.b", "t21b", "t21!", "t210", "t21\u00ff", "t21.b.c"}, "t21.*", "t21.b")},
		input{id: "T14", name: "wildcards and the broker's own", accepted: 2, send: reservedUnseen},
		input{id: "T24", name: "wildcards of 16 levels", accepted: count(2000, 10_000), send: deepWildcards},
	)
}

// retains keeps a message in each of topics, and finds those that the filter matches.
func retains(topics []string, filter string, want ...string) func(*testing.T, *stand) {
	return func(t *testing.T, s *stand) {
		t.Helper()
		w := connected(t, s, token(t, "tester", everything))
		for i, topic := range topics {
			w.packets(&protocol.Publish{ID: uint64(i + 1), Topic: topic, Payload: []byte("1"), Retain: true})
			if h := w.until(protocol.TypePublished); h.ended || len(h.errors) > 0 {
				t.Fatalf("%q: found %q and errors %q", topic, h.code, h.errors)
			}
		}
		w.packets(&protocol.Subscribe{ID: 100, Filter: filter})
		found := w.until(protocol.TypeRetainedEnd).messages()
		slices.Sort(found)
		for i := range want {
			want[i] = strings.TrimSuffix(want[i], "=1") + "=1"
		}
		if slices.Sort(want); !slices.Equal(found, want) {
			t.Errorf("found %q, wanted %q", found, want)
		}
		w.nc.Close()
	}
}

// reservedUnseen publishes to a reserved topic, which no wildcard in the first level shows.
func reservedUnseen(t *testing.T, s *stand) {
	w := connected(t, s, token(t, "tester", rights{"publish": filters{"$user.>", ">"}, "subscribe": filters{">"}, "limits": unlimited}))
	for id, filter := range []string{">", "*.>", "*.x.a", "*.*.*"} {
		w.packets(&protocol.Subscribe{ID: uint64(id + 1), Filter: filter, NoRetained: true})
	}
	w.packets(&protocol.Publish{ID: 10, Topic: "$user.x.a", Payload: []byte("1")}, &protocol.Publish{ID: 11, Topic: "user.x.a", Payload: []byte("2")})
	var seen []string
	for len(seen) == 0 {
		h := w.until(protocol.TypeMessage)
		if h.ended || len(h.errors) > 0 {
			t.Fatalf("found %q and errors %q", h.code, h.errors)
		}
		seen = slices.DeleteFunc(h.messages(), func(m string) bool { return strings.HasPrefix(m, "canary") })
	}
	if !slices.Equal(seen, []string{"user.x.a=2"}) {
		t.Errorf("found messages %q", seen)
	}
	w.nc.Close()
}

// deepWildcards has 128 subscriptions match each of many messages, which come once.
func deepWildcards(t *testing.T, s *stand) {
	n := count(2000, 10_000)
	w := connected(t, s, token(t, "tester", rights{"publish": filters{"d.>"}, "subscribe": filters{"d.>"}, "limits": unlimited}))
	for id := range 128 {
		levels := strings.Split("d"+strings.Repeat(".*", 15), ".")
		for bit := range 7 {
			if id>>bit&1 == 1 {
				levels[2*bit+2] = "x"
			}
		}
		w.packets(&protocol.Subscribe{ID: uint64(id + 1), Filter: strings.Join(levels, "."), NoRetained: true})
		w.until(protocol.TypeSubscribed)
	}
	topic := "d" + strings.Repeat(".x", 15)
	go func() {
		for i := range n {
			w.packets(&protocol.Publish{Topic: topic, Payload: fmt.Append(nil, i)})
		}
	}()
	for got := 0; got < n; {
		h := w.until(protocol.TypeMessage)
		if h.ended || len(h.errors) > 0 {
			t.Fatalf("found %q and errors %q after %d messages", h.code, h.errors, got)
		}
		for _, m := range h.messages() {
			if want := fmt.Sprint(topic, "=", got); m != want {
				t.Fatalf("found %s, wanted %s", m, want)
			}
			got++
		}
	}
	w.nc.Close()
}
