package workload

import (
	"fmt"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// registerTime bounds the search for an order in which all that was seen makes sense.
const registerTime = 20 * time.Second

// access is one use of a register: a publish of value, or a read that found it.
type access struct {
	topic string
	write bool
	value Message
}

// registerModel is a retained topic: a read finds what was written last.
var registerModel = porcupine.Model{
	Init: func() any { return Message{} },
	Step: func(state, input, _ any) (bool, any) {
		a := input.(access)
		if a.write {
			return true, a.value
		}
		return state == a.value, state
	},
}

// registers: the retained topics are linearizable registers: there is one order of all publishes and reads of a topic, in which each
// lies between its beginning and its end, and every read finds what was published last. A publish without an outcome may come at
// any time after it was sent, or not at all.
func registers(r *run, broken func(string, ...any)) {
	byTopic := map[string][]porcupine.Operation{}
	for _, op := range r.accesses() {
		topic := op.Input.(access).topic
		byTopic[topic] = append(byTopic[topic], op)
	}
	for topic, history := range byTopic {
		switch porcupine.CheckOperationsTimeout(registerModel, history, registerTime) {
		case porcupine.Illegal:
			broken("%d reads and publishes of %s fit no order%s", len(history), topic, staleReads(history))
		case porcupine.Unknown:
			broken("no verdict on %d reads and publishes of %s within %s", len(history), topic, registerTime)
		default:
		}
	}
}

// staleReads names the reads that found what had been overwritten before they began, for whoever looks for the cause.
func staleReads(history []porcupine.Operation) string {
	writes := map[Message]porcupine.Operation{}
	for _, op := range history {
		if a := op.Input.(access); a.write {
			writes[a.value] = op
		}
	}
	var out strings.Builder
	for _, op := range history {
		a := op.Input.(access)
		found, ok := writes[a.value]
		if a.write || !ok {
			continue
		}
		for _, later := range writes {
			if found.Return < later.Call && later.Return < op.Call {
				v := later.Input.(access).value
				fmt.Fprintf(&out, "; a read (events %d to %d) found message %d of %s (%d to %d), overwritten by message %d of %s (%d to %d)",
					op.Call, op.Return, a.value.N, a.value.Publisher, found.Call, found.Return, v.N, v.Publisher, later.Call, later.Return)
				break
			}
		}
	}
	return out.String()
}

// accesses are the publishes and reads of those retained topics that were read.
func (r *run) accesses() []porcupine.Operation {
	var out []porcupine.Operation
	asked := map[string]int{}
	read := map[string]bool{}
	who := map[string]int{}
	for i, e := range r.events {
		switch e.Kind {
		case Asked:
			asked[e.Who] = i
		case Answered:
			if _, ok := who[e.Who]; !ok {
				who[e.Who] = len(who)
			}
			read[e.Topic] = true
			value := Message{}
			if e.Publisher != "" {
				value = e.Message
			}
			out = append(out, porcupine.Operation{
				ClientId: who[e.Who], Input: access{topic: e.Topic, value: value}, Call: int64(asked[e.Who]), Return: int64(i),
			})
		default:
		}
	}
	never := int64(len(r.events))
	for _, m := range r.sent {
		if m.class != Retained || !read[m.Topic] {
			continue
		}
		if _, ok := who[m.Publisher]; !ok {
			who[m.Publisher] = len(who)
		}
		op := porcupine.Operation{
			ClientId: who[m.Publisher], Input: access{topic: m.Topic, write: true, value: m.Message}, Call: int64(m.first), Return: int64(m.acked),
		}
		if m.acked < 0 {
			never++
			op.Return = never
		}
		out = append(out, op)
	}
	return out
}
