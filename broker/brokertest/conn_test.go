package brokertest_test

import (
	"testing"
	"testing/synctest"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// ping returns some packets that a broker makes: the only way to have a broker.Packet is to be sent one.
func ping(t *testing.T) []*broker.Packet {
	t.Helper()
	b, err := broker.New(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b.Start()
	defer b.Close()
	kept := &keeper{}
	s, err := b.Open(kept, broker.ConnInfo{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Receive((&protocol.Connect{Version: 1}).Append(nil), false); err != nil {
		t.Fatal(err)
	}
	s.Closed(nil)
	return kept.packets
}

type keeper struct {
	brokertest.Sink
	packets []*broker.Packet
}

func (k *keeper) Write(batch []*broker.Packet) (bool, error) {
	k.packets = append(k.packets, batch...)
	return true, nil
}

func write(c *brokertest.Conn, packets []*broker.Packet) { _, _ = c.Write(packets) }

// A Conn that is used otherwise than its contract says tells so.
func TestAConnFindsWhatBreaksItsContract(t *testing.T) {
	packets := ping(t)
	for name, use := range map[string]func(c *brokertest.Conn){
		"a write of nothing": func(c *brokertest.Conn) { write(c, nil) },
		"a write without a flush": func(c *brokertest.Conn) {
			c.Shut()
			write(c, packets)
			write(c, packets)
		},
		"two at a time": func(c *brokertest.Conn) {
			c.Shut()
			write(c, packets)
			go func() { _ = c.Flush() }()
			synctest.Wait()
			write(c, packets)
			c.Open()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := brokertest.NewConn()
				use(c)
				synctest.Wait()
				if c.Fault() == nil {
					t.Error("found nothing wrong")
				}
			})
		})
	}
}

// A socket takes what it has room for, and a message arrives when it is there as a whole.
func TestASocketTakesWhatItHasRoomFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		packets := ping(t)
		size := int64(len(packets[0].Bytes()))
		c := brokertest.NewConn()
		c.Allow(size - 1)
		if done, err := c.Write(packets); done || err != nil || c.Waiting() != 1 || len(c.Packets()) != 0 {
			t.Fatalf("found done: %v, %v, %d bytes waiting", done, err, c.Waiting())
		}
		flushed := make(chan error, 1)
		go func() { flushed <- c.Flush() }()
		synctest.Wait()
		if len(flushed) != 0 {
			t.Fatal("found it flushed, a byte is missing")
		}
		c.Allow(1)
		if err := <-flushed; err != nil || c.Waiting() != 0 || len(c.Packets()) != 1 {
			t.Fatalf("found %v, %d bytes waiting", err, c.Waiting())
		}
		c.Abort()
		if _, err := c.Write(packets); err == nil || c.Flush() == nil || c.Fault() != nil {
			t.Errorf("found a write taken behind the end, or a fault: %v", c.Fault())
		}
	})
}
