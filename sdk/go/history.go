package carillon

import (
	"context"
	"fmt"

	"github.com/carillon-mq/carillon/protocol"
)

// HistoryPage is a page of what the broker's store keeps.
type HistoryPage struct {
	Messages []*Message // oldest first
	Cursor   Cursor     // where to go on: with History and After, or with Subscribe and From
	More     bool       // there was more behind Cursor
	Gap      GapReason  // why messages behind After's cursor are missing; "": none are
}

// HistoryOption is an option of Client.History.
type HistoryOption func(*protocol.History) error

// After begins the page behind cursor. An empty cursor is none: the page begins with the oldest message that is kept.
func After(cursor Cursor) HistoryOption {
	return func(p *protocol.History) error {
		if cursor == "" {
			return nil
		}
		at, err := protocol.ParseCursor(string(cursor))
		p.After = at.Append(nil)
		return err
	}
}

// Limit bounds the messages of the page, 1 to 1,024. The default is 100. The broker may send fewer.
func Limit(n int) HistoryOption {
	return func(p *protocol.History) error {
		p.Limit = uint64(max(n, 0))
		return checkPage("Limit", n)
	}
}

// Newest asks for the newest n messages, 1 to 1,024, instead of a page that begins somewhere. Of what does not fit one page it gets the
// first, and More.
func Newest(n int) HistoryOption {
	return func(p *protocol.History) error {
		p.Last = uint64(max(n, 0))
		return checkPage("Newest", n)
	}
}

func checkPage(option string, n int) error {
	if n < 1 || n > protocol.MaxLast {
		return protocol.Errorf(protocol.CodeBadArgs, "found %s(%d), wanted 1 to %d", option, n, protocol.MaxLast)
	}
	return nil
}

// History reads a page of the stored messages of the topics that filter matches. It needs the right to history on filter, and topics
// that the broker stores. While there is no connection it waits for the next one, until ctx ends; if the connection is lost it asks
// again.
func (c *Client) History(ctx context.Context, filter string, opts ...HistoryOption) (*HistoryPage, error) {
	h := &historyRequest{out: protocol.History{Filter: filter}, page: new(HistoryPage), verdict: pending()}
	err := protocol.ValidateFilter(filter)
	for _, o := range opts {
		if e := o(&h.out); err == nil {
			err = e
		}
	}
	if err == nil && h.out.After != nil && h.out.Last > 0 {
		err = protocol.Errorf(protocol.CodeBadArgs, "found After and Newest, wanted one of them")
	}
	if err == nil {
		err = c.ask(ctx, h)
	}
	if err != nil {
		return nil, fmt.Errorf("history of %q: %w", filter, err)
	}
	return h.page, nil
}

// historyRequest is a page that is being asked for. It outlives connections.
type historyRequest struct {
	out  protocol.History
	page *HistoryPage // guarded by Client.mu until done is closed
	*verdict
}

func (h *historyRequest) packet(id uint64) protocol.Packet {
	h.out.ID = id
	return &h.out
}

func (h *historyRequest) restart() { h.page.Messages = nil }

// historyLocked takes a message of the page that is being answered.
func (cn *connection) historyLocked(m *protocol.Message) {
	if h, ok := cn.inflight[cn.replay.id].(*historyRequest); ok {
		h.page.Messages = append(h.page.Messages, deliverable(m, false, protocol.Position{Offset: m.Offset}))
	}
}

// historiesLocked takes the end of a page.
func (c *Client) historiesLocked(cn *connection, p *protocol.Histories) {
	h, ok := c.answeredLocked(cn, p.ID).(*historyRequest)
	if !ok {
		return
	}
	for _, m := range h.page.Messages {
		m.position.Term = p.Position.Term
	}
	h.page.Cursor, h.page.More, h.page.Gap = cursorOf(p.Position), p.More, p.Gap
	c.endQueryLocked(h, nil)
}
