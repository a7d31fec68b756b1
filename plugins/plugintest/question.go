package plugintest

import (
	"fmt"
	"strings"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

var actions = []struct {
	name   string
	action broker.Action
}{
	{"publish", broker.ActionPublish},
	{"subscribe", broker.ActionSubscribe},
	{"history", broker.ActionHistory},
	{"presence", broker.ActionPresence},
	{"exclude", broker.ActionExclude},
}

// ParseQuestion reads an action and a filter with a blank between: "publish orders.1", "subscribe news.>". The actions are publish,
// subscribe, history, presence and exclude.
func ParseQuestion(text string) (q broker.Question, err error) {
	name, filter, _ := strings.Cut(text, " ")
	for _, a := range actions {
		if a.name == name {
			q.Action = a.action
		}
	}
	if q.Action == 0 {
		return q, fmt.Errorf("%q does not begin with publish, subscribe, history, presence or exclude", text)
	}
	if err := protocol.ValidateFilter(filter); err != nil {
		return q, fmt.Errorf("%q: %w", text, err)
	}
	q.Filter = filter
	return q, nil
}

func actionName(action broker.Action) string {
	for _, a := range actions {
		if a.action == action {
			return a.name
		}
	}
	return "?"
}
