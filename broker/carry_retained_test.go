package broker_test

import (
	"bytes"
	"testing"
	"testing/synctest"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
)

// K1: a plain message that comes first behind what was loaded at a start has the watermark of the retained one, and is not it.
func TestAPlannedRestartKeepsTheRetainedMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := brokertest.NewStore()
		one := run(t, store, broker.Options{})
		publish(t, one, "kept.a", "loaded")
		retain(t, one, "a", "retained")
		one.Close()
		two := run(t, store, broker.Options{})
		publish(t, two, "a", "plain")
		var log bytes.Buffer
		if err := two.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := two.WriteLog(&log); err != nil {
			t.Fatal(err)
		}
		two.Close()
		three := run(t, store, broker.Options{Log: &log})
		if three.Epoch() != two.Epoch() {
			t.Fatal("found a new epoch")
		}
		if m, err := three.Retained(broker.Everybody(), "a"); err != nil || string(m.Payload) != "retained" {
			t.Errorf("found %q, %v", m.Payload, err)
		}
	})
}
