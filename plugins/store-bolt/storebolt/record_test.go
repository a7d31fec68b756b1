package storebolt

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/carillon-mq/carillon/broker"
)

func anyRecord(t *rapid.T) broker.Record {
	text := rapid.StringN(0, 20, -1)
	r := broker.Record{
		Ref: rapid.Uint64().Draw(t, "ref"), Topic: text.Draw(t, "topic"), Retain: rapid.Bool().Draw(t, "retain"),
		Payload: rapid.SliceOf(rapid.Byte()).Draw(t, "payload"), ContentType: text.Draw(t, "type"), User: text.Draw(t, "user"),
		Headers: rapid.MapOfN(text, text, 0, 4).Draw(t, "headers"), Time: rapid.Int64().Draw(t, "time"),
	}
	if rapid.Bool().Draw(t, "has an end") {
		r.Expires = rapid.Int64().Draw(t, "expires")
	}
	if rapid.Bool().Draw(t, "excludes an origin") {
		r.Exclude = rapid.StringN(1, 20, -1).Draw(t, "exclude")
	}
	copy(r.Origin[:], rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(t, "origin"))
	return r
}

func TestRecordsAreReadAsTheyWereWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyRecord(t)
		want.Offset = rapid.Uint64().Draw(t, "offset")
		at := place{offset: want.Offset}
		if rapid.Bool().Draw(t, "stamped") {
			at.stamp = rapid.Int64().Draw(t, "stamp")
		}
		if rapid.Bool().Draw(t, "in a history") && at.offset > 0 {
			at.history, at.prev = true, rapid.Uint64Range(0, at.offset-1).Draw(t, "prev")
		}
		v := appendRecord(nil, &want, at)
		if len(v) > recordSize(&want) {
			t.Errorf("%d bytes, recordSize says %d", len(v), recordSize(&want))
		}
		got, err := decodeRecord(v)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got, ignoreEmpty); d != "" {
			t.Error(d)
		}
		p, err := peek(v)
		topic, topicErr := p.topic()
		if err != nil || topicErr != nil || p.place != at || string(topic) != want.Topic || p.expires != want.Expires {
			t.Errorf("peeked %+v, %q, %v, %v; want %+v", p.place, topic, err, topicErr, at)
		}
	})
}

func TestEveryFlippedBitOfARecordIsFound(t *testing.T) {
	r := retained("orders.42", `{"total":5}`)
	r.Headers, r.Expires, r.Exclude = map[string]string{"traceparent": "00-1-2-03"}, 1_800_000_000_000, "tab-1"
	v := appendRecord(nil, &r, place{offset: 9, stamp: 1_700_000_000_000, history: true, prev: 8})
	for bit := range 8 * len(v) {
		broken := bytes.Clone(v)
		broken[bit/8] ^= 1 << (bit % 8)
		if _, err := decodeRecord(broken); !errors.Is(err, ErrDamaged) {
			t.Errorf("bit %d: %v", bit, err)
		}
	}
	for n := range v {
		if _, err := decodeRecord(v[:n]); !errors.Is(err, ErrDamaged) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	r := retained("orders.42", "x")
	r.Headers = map[string]string{"a": "b"}
	f.Add(appendRecord(nil, &r, place{offset: 9}))
	f.Add(appendRecord(nil, &r, place{offset: 9, stamp: 5, history: true, prev: 3}))
	r.Exclude, r.Expires = "tab-1", 7
	f.Add(appendRecord(nil, &r, place{offset: 9, stamp: 5}))
	f.Fuzz(func(t *testing.T, v []byte) {
		if len(v) >= recordFixed { // the checksum would keep the fuzzer out
			v[0] = recordVersion
			putChecksum(v)
		}
		got, err := decodeRecord(v)
		if err != nil {
			return
		}
		p, err := peek(v)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeRecord(appendRecord(nil, &got, p.place))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(got, again, ignoreEmpty); d != "" {
			t.Error(d)
		}
	})
}
