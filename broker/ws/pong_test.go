package ws_test

import (
	"runtime"
	"testing"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/ws"
	"github.com/carillon-mq/carillon/internal/rawws"
	"github.com/carillon-mq/carillon/protocol"
)

// A client that sends WebSocket pings and reads nothing has the broker keep a few KiB of pongs, and not one for each ping.
func TestPongsThatNobodyReadsTakeNoMemory(t *testing.T) {
	b, url := serve(t, broker.Options{}, ws.Options{ControlRate: 1 << 30, SendBuffer: 8 << 10})
	r := dialRaw(t, url, connectFrame()...)
	ping := rawws.Frame(0x89, make([]byte, 125))
	var pings []byte
	for range 512 {
		pings = append(pings, ping...)
	}
	before := heap()
	for range 256 { // 16 MiB of pings
		r.write(pings)
	}
	// What comes behind them is done: so they have been answered, or not.
	r.write(rawws.Frame(0x82, (&protocol.Publish{Topic: "done", Payload: []byte("x"), Retain: true}).Append(nil)))
	eventually(t, "found the publish behind the pings not done", func() bool {
		_, err := b.Retained(broker.Everybody(), "done")
		return err == nil
	})
	if after := heap(); after > before+8<<20 {
		t.Errorf("found %d KiB kept for a client that reads nothing", (after-before)>>10)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
