package httpapi

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// TestClientsOfEveryModeGetTheLog is G4 and G10 over HTTP: clients that read streams for a while and are cut, or poll, and change between the
// two, with a log that often passes them: each gets everything that matches its filters, in order and once, or is told of a gap around it.
func TestClientsOfEveryModeGetTheLog(t *testing.T) {
	d := newDoorWith(t, Options{SendBuffer: 8 << 10, StreamPing: 300 * time.Millisecond}, broker.Options{
		RingBytes: 128 << 10, PingEvery: time.Second, Limits: broker.Limits{Pending: 4 << 10},
	})
	const messages = 5000
	log := &history{}
	var clients sync.WaitGroup
	total := make(chan *receiver, 12)
	for i := range cap(total) {
		c := &receiver{t: t, d: d, rnd: rand.New(rand.NewPCG(uint64(i), 7)), got: map[uint64]bool{}}
		c.filters = [][]string{{"t.*"}, {"t.0", "t.1"}, {"t.>", "t.2"}, {"t.3"}}[i%4]
		c.cursor = d.Position()
		clients.Go(func() {
			for c.cursor.Seq < messages && !t.Failed() {
				if c.rnd.IntN(3) == 0 {
					c.poll()
				} else {
					c.stream(c.rnd.IntN(400))
				}
			}
			total <- c
		})
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for i := range messages {
		topic := fmt.Sprintf("t.%d", i*7%4)
		log.topics = append(log.topics, topic)
		d.putJSON(t, topic, fmt.Sprintf(`{"n":%d,"pad":%q}`, i+1, strings.Repeat("x", i%300)), false)
		if i%40 == 0 {
			<-tick.C
		}
	}
	clients.Wait()
	close(total)
	got, gaps := 0, 0
	for c := range total {
		got, gaps = got+len(c.got), gaps+len(c.gaps)
		c.check(log)
	}
	t.Logf("%d deliveries, %d gaps", got, gaps)
	if got < messages {
		t.Errorf("found %d deliveries, which is too few to tell anything", got)
	}
}

// history is what was published; the first has number 1.
type history struct{ topics []string }

// receiver is one client, over all its connections.
type receiver struct {
	t       *testing.T
	d       *door
	rnd     *rand.Rand
	filters []string
	cursor  protocol.Position
	last    uint64 // the last message
	got     map[uint64]bool
	gaps    [][2]uint64
}

func (c *receiver) ask(more string) *http.Response {
	query := url.Values{"filter": c.filters, "after": {c.cursor.Cursor()}, "retained": {"false"}}
	resp, err := http.Get(c.d.url + "/v1/subscribe?" + query.Encode() + more)
	if err != nil {
		c.t.Error(err)
		return nil
	}
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(resp.Body)
		c.t.Errorf("found %s %s", resp.Status, b)
	}
	return resp
}

// stream reads so many events of a stream, and leaves.
func (c *receiver) stream(n int) {
	resp := c.ask("")
	if resp == nil {
		return
	}
	defer resp.Body.Close()
	s := newEvents(c.t, resp)
	for range n {
		e, ok := s.next()
		if !ok {
			c.t.Error("found the end of a stream that nobody ended")
			return
		}
		switch e.name {
		case "message":
			c.message([]byte(e.data))
		case "gap":
			c.gap([]byte(e.data))
		}
		if e.hasID {
			c.move(e.id)
		}
		if e.name == "" && c.cursor.Seq == c.d.Position().Seq {
			return
		}
	}
}

func (c *receiver) poll() {
	resp := c.ask("&mode=poll&wait=1s")
	if resp == nil {
		return
	}
	defer resp.Body.Close()
	var p polled
	if err := json.NewDecoder(resp.Body).Decode(&p); err != nil {
		c.t.Error(err)
		return
	}
	for _, m := range p.Messages {
		c.message(m)
	}
	if p.Gap != nil {
		c.gap(p.Gap)
	}
	c.move(p.Cursor)
}

func (c *receiver) move(cursor string) {
	at, err := protocol.ParseCursor(cursor)
	if err != nil || at.Seq < c.cursor.Seq || at.Seq < c.last {
		c.t.Errorf("found cursor %v behind %v and message %d: %v", at, c.cursor, c.last, err)
	}
	c.cursor = at
}

func (c *receiver) message(b []byte) {
	var m struct {
		Topic string
		Data  struct{ N uint64 }
	}
	if err := json.Unmarshal(b, &m); err != nil {
		c.t.Error(err)
	}
	if m.Data.N <= c.last || c.got[m.Data.N] {
		c.t.Errorf("found message %d behind %d", m.Data.N, c.last)
	}
	c.last, c.got[m.Data.N] = m.Data.N, true
}

func (c *receiver) gap(b []byte) {
	var g struct{ From, To string }
	if err := json.Unmarshal(b, &g); err != nil {
		c.t.Error(err)
	}
	from, err1 := protocol.ParseCursor(g.From)
	to, err2 := protocol.ParseCursor(g.To)
	if err1 != nil || err2 != nil || from.Seq < c.last || to.Seq < from.Seq {
		c.t.Errorf("found a gap from %v to %v behind message %d", from, to, c.last)
	}
	c.gaps = append(c.gaps, [2]uint64{from.Seq, to.Seq})
}

// check fails unless everything that matches was delivered or told missing.
func (c *receiver) check(log *history) {
	for i, topic := range log.topics {
		n, wanted := uint64(i+1), false
		for _, f := range c.filters {
			wanted = wanted || protocol.Match(f, topic)
		}
		told := false
		for _, g := range c.gaps {
			told = told || g[0] < n && n <= g[1]
		}
		if c.got[n] != wanted && (c.got[n] || !told) {
			c.t.Errorf("message %d of %s for %v: delivered %v, told missing %v", n, topic, c.filters, c.got[n], told)
			return
		}
	}
}
