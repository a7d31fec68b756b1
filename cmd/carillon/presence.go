package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"github.com/carillon-mq/carillon/protocol"
	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// presenceCmd is `carillon presence`.
type presenceCmd struct {
	clientFlags
	Topic  string `arg:"" help:"Topic whose members to print."`
	Follow bool   `short:"f" help:"Go on, and print them again whenever they change."`
	JSON   bool   `name:"json" help:"Print a JSON object a line."`
}

// Validate is called by kong.
func (c *presenceCmd) Validate() error {
	if err := protocol.ValidateTopic(c.Topic); err != nil {
		return fmt.Errorf("topic %q: %w", c.Topic, err)
	}
	return nil
}

// Run prints who is there, once or until a signal.
func (c *presenceCmd) Run(ctx context.Context, s streams) error {
	return c.read(ctx, s, c.print)
}

func (c *presenceCmd) print(ctx context.Context, client *carillon.Client, s streams) error {
	p := printer{out: bufio.NewWriter(s.out), err: s.err, form: formOf(c.JSON, false)}
	if !c.Follow {
		m, err := client.Presence(ctx, c.Topic)
		if err != nil {
			return err
		}
		p.members(c.Topic, m)
		return p.flush()
	}
	for m, err := range client.WatchPresence(ctx, c.Topic) {
		if err != nil {
			return err
		}
		p.members(c.Topic, m)
		if err := p.flush(); err != nil {
			return err
		}
	}
	return nil
}

// members prints who is there on one line: their number and, unless there are too many, the users.
func (p *printer) members(topic string, m carillon.Members) {
	if p.form == formJSON {
		p.object(struct {
			Topic string   `json:"topic"`
			Count int      `json:"count"`
			Users []string `json:"users,omitempty"` // absent when there are more than 1,000
		}{topic, m.Count, m.Users})
		return
	}
	line := fmt.Sprint(m.Count)
	if len(m.Users) > 0 {
		line += " " + oneLine(strings.Join(m.Users, ", "))
	}
	p.write([]byte(line + "\n"))
}
