package workload

import (
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
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byTopic := map[string][]porcupine.Operation{}
		for _, op := range history {
			topic := op.Input.(access).topic
			byTopic[topic] = append(byTopic[topic], op)
		}
		var out [][]porcupine.Operation
		for _, ops := range byTopic {
			out = append(out, ops)
		}
		return out
	},
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
	history := r.accesses()
	if len(history) == 0 {
		return
	}
	switch porcupine.CheckOperationsTimeout(registerModel, history, registerTime) {
	case porcupine.Illegal:
		broken("the reads of retained topics fit no order of the publishes")
	case porcupine.Unknown:
		broken("no verdict on %d reads and publishes of retained topics within %s", len(history), registerTime)
	default:
	}
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
