package protocol

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	epoch = RunID{1, 2, 3, 4, 5, 6, 7, 8}
	term  = RunID{9, 10, 11, 12, 13, 14, 15, 16}
	here  = Position{Epoch: epoch, Seq: 300, Term: term, Offset: 7}
)

// samples has every packet, bare and with everything set.
func samples() []Packet {
	return []Packet{
		&Connect{Version: 1},
		&Connect{Version: 1, Token: "t", Client: "go/1"},
		&Connected{Session: "s", Position: here},
		&Connected{
			Session: "s", Position: here, Ping: 25 * time.Second, User: "u", Expires: 1 << 41, Server: "carillon/1",
			Limits: map[string]int64{"packet": 65536, "inflight": 64},
		},
		&Subscribe{ID: 1, Filter: "a.>"},
		&Subscribe{ID: 1 << 40, Filter: "a.>", Position: here.Append(nil), NoRetained: true},
		&Subscribe{ID: 2, Filter: "a.>", Last: 1024, Latest: true, MaxRate: 1000},
		&Subscribed{ID: 1, Position: here},
		&Unsubscribe{ID: 2, Subscription: 1},
		&Unsubscribed{ID: 2},
		&Publish{Topic: "a", Payload: []byte{}},
		&Publish{
			ID: 3, Topic: "a.b", Payload: []byte("x"), Retain: true, ContentType: "application/json", Receivers: true, MessageID: "m",
			Headers: map[string]string{"b": "2", "a": "1", "": ""},
		},
		&Published{ID: 3, Receivers: -1},
		&Published{ID: 3, Seq: 9, Offset: 8, Durability: Committed, Receivers: 0, Duplicate: true},
		&Message{Topic: "a", Payload: []byte{}},
		&Message{
			Seq: MaxInt, Offset: 255, Topic: "a.b", Payload: []byte("x"), Time: 1 << 41, ContentType: "text/plain", Retain: true,
			Headers: map[string]string{"traceparent": "00"},
		},
		&Replay{Subscription: 1, Count: 20, Kind: ReplayRetained},
		&RetainedEnd{Subscription: 1},
		&RetainedEnd{Subscription: 1, Reset: true},
		&Resumed{Subscription: 1, Position: here},
		&Gap{Reason: GapTrimmed, To: here, Count: -1},
		&Gap{Subscription: 1, Reason: GapEpoch, From: &Position{Epoch: epoch}, To: here, Count: 12},
		&Ping{},
		&Ping{Position: &here},
		&Pong{},
		&Replay{Subscription: 5, Count: 3, Kind: ReplayHistory},
		&History{ID: 5, Filter: "a.>", Limit: DefaultHistory},
		&History{ID: 5, Filter: "a.>", After: here.Append(nil), Limit: 1},
		&History{ID: 5, Filter: "a.>", Limit: DefaultHistory, Last: 10},
		&Histories{ID: 5, Position: here},
		&Histories{ID: 5, Position: here, More: true, Gap: GapTrimmed},
		&ErrorPacket{Code: CodeForbidden, Name: "forbidden"},
		&ErrorPacket{ID: 4, Code: CodeRateLimited, Name: "rate_limited", Detail: "d", Hint: "h", RetryAfter: time.Second},
		&Disconnect{Code: CodeBadPacket, Name: "bad_packet"},
		&Disconnect{Code: CodeGoingAway, Name: "going_away", Detail: "d", Hint: "h", Reconnect: true, After: 1500 * time.Millisecond},
	}
}

func TestPacketsSurviveTheWire(t *testing.T) {
	for _, p := range samples() {
		b := p.Append(nil)
		r, rest, err := Next(append(b, 0x90))
		if err != nil || len(rest) != 1 || r.Type != p.Type() {
			t.Fatalf("Next(%T): %v, %d bytes left", p, err, len(rest))
		}
		got, err := DecodePacket(r)
		if err != nil {
			t.Fatalf("decode %T: %v", p, err)
		}
		if diff := cmp.Diff(p, got); diff != "" {
			t.Errorf("%T differs (-sent +received):\n%s", p, diff)
		}
	}
}

func TestFinishedMessageEqualsItsPlainEncoding(t *testing.T) {
	places := []uint64{0, 1, 127, 128, 255, 256, 65535, 65536, 1<<32 - 1, 1 << 32, MaxInt}
	for _, p := range samples() {
		m, ok := p.(*Message)
		if !ok {
			continue
		}
		buf := m.AppendTail(make([]byte, MessageHeadroom))
		for _, seq := range places {
			for _, offset := range places {
				m.Seq, m.Offset = seq, offset
				if diff := cmp.Diff(m.Append(nil), FinishMessage(buf, seq, offset)); diff != "" {
					t.Errorf("seq %d, offset %d (-plain +finished):\n%s", seq, offset, diff)
				}
			}
		}
	}
}

func TestErrorsMatchByCode(t *testing.T) {
	err := error(Errorf(CodeForbidden, "no grant covers %q", "a.>").WithHint("ask"))
	if !errors.Is(err, &Error{Code: CodeForbidden}) || errors.Is(err, &Error{Code: CodeBadArgs}) {
		t.Error("Is does not go by the code")
	}
	if CodeOf(err) != CodeForbidden || CodeOf(errors.New("x")) != CodeInternal {
		t.Error("CodeOf does not find the code")
	}
	if d := Errorf(CodeGoingAway, "").Disconnect(); !d.Reconnect || d.Hint == "" {
		t.Errorf("Disconnect() = %+v, wanted advice to reconnect", d)
	}
}
