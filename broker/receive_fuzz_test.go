package broker_test

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// Whatever a session is sent, it answers or ends with a code of the protocol, and others publish as before.
func FuzzReceive(f *testing.F) {
	for _, kind := range []string{"packet", "message", "gate"} {
		text, err := os.ReadFile("../spec/vectors/" + kind + ".json")
		if err != nil {
			f.Fatal(err)
		}
		var vectors []struct{ Hex string }
		if err := json.Unmarshal(text, &vectors); err != nil {
			f.Fatal(err)
		}
		for _, v := range vectors {
			if b, err := hex.DecodeString(v.Hex); err == nil {
				f.Add(b)
			}
		}
	}
	b := start(f, broker.Options{RingBytes: 1 << 20, Limits: broker.Limits{Retained: 100}})
	f.Fuzz(func(t *testing.T, msg []byte) {
		c := brokertest.Dial(t, b, anyone())
		err := c.SendBytes(msg)
		if refusal, ok := errors.AsType[*protocol.Error](err); ok && refusal.Code == protocol.CodeInternal {
			t.Errorf("it ends with %v", refusal)
		} else if err != nil && !ok && !errors.Is(err, brokertest.ErrGone) && !strings.Contains(err.Error(), "closed") {
			t.Errorf("it ends with %v", err)
		}
		for _, p := range c.Packets() {
			if e, ok := p.(*protocol.ErrorPacket); ok && (e.Code == protocol.CodeInternal || e.Code.Closes()) {
				t.Errorf("it is answered with %+v", e)
			}
		}
		c.Leave()
		publish(t, b, "beside", "1")
	})
}
