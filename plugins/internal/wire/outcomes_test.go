package wire

import (
	"context"
	"errors"
	"testing"

	"github.com/carillon-mq/carillon/broker"
)

func TestOutcomesComeInOrderAndWakeForTheFirstAlone(t *testing.T) {
	a := newOutcomes()
	all := make([]*outcome, 3)
	for i := range all {
		all[i] = &outcome{batch: uint64(i + 1)}
		if err := a.expect(t.Context(), all[i]); err != nil {
			t.Fatal(err)
		}
	}
	woken := func() bool {
		select {
		case <-a.ready:
			return true
		default:
			return false
		}
	}
	a.settle(all[2], nil)
	a.settle(all[1], []broker.AppendResult{{Offset: 2}})
	a.settle(all[1], []broker.AppendResult{{Offset: 9}, {Offset: 10}})
	if o, ended := a.take(); o != nil || ended || woken() {
		t.Errorf("took %+v, ended %v, before the first was settled", o, ended)
	}
	a.settle(all[0], nil)
	if !woken() {
		t.Error("nobody was woken for the first")
	}
	a.end()
	for i, want := range all {
		o, err := a.next(t.Context())
		if err != nil || o != want {
			t.Fatalf("outcome %d is %+v, %v", i, o, err)
		}
	}
	if all[1].results[0].Offset != 2 {
		t.Errorf("the second word counts: %+v", all[1].results)
	}
	if o, err := a.next(t.Context()); o != nil || err != nil {
		t.Errorf("behind the last: %+v, %v", o, err)
	}
}

func TestOutcomesHaveRoomForSoManyAndNoMore(t *testing.T) {
	a := newOutcomes()
	ctx, cancel := context.WithCancelCause(t.Context())
	first := &outcome{batch: 1}
	for i := range maxUnanswered {
		o := &outcome{batch: uint64(i + 1)}
		if i == 0 {
			o = first
		}
		if err := a.expect(ctx, o); err != nil {
			t.Fatal(err)
		}
	}
	expected := make(chan error, 1)
	go func() { expected <- a.expect(ctx, &outcome{}) }()
	a.settle(first, nil)
	if o, err := a.next(ctx); o != first || err != nil {
		t.Fatalf("%+v, %v", o, err)
	}
	if err := <-expected; err != nil { // there is room for it now
		t.Error(err)
	}
	cause := errors.New("over")
	cancel(cause)
	if err := a.expect(ctx, &outcome{}); !errors.Is(err, cause) {
		t.Errorf("expected one more: %v", err)
	}
	if _, err := a.next(ctx); !errors.Is(err, cause) {
		t.Errorf("waited with %v", err)
	}
}
