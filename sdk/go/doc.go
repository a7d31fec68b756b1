// Package carillon is the Go client of a Carillon broker.
//
//	c, err := carillon.Dial(ctx, "wss://host/ws", carillon.WithToken(token))
//	ack, err := c.Publish(ctx, "orders.42", order, carillon.Retain())
//	for m, err := range c.Subscribe("orders.*").Messages(ctx) {
//		var gap *carillon.GapError
//		if errors.As(err, &gap) {
//			continue // told what is missing; the iteration goes on
//		}
//		if err != nil {
//			return err // the last one
//		}
//		...
//	}
//
// A Client keeps one connection. It reconnects by itself, for ever, with full jitter, until a code of the broker says that it is
// of no use; every subscription then goes on from where it was, or its stream says what is missing. It never runs the
// application's code on its read loop, and it never drops a message silently. A publish whose connection is lost is sent again with
// its id where that cannot apply it twice; where it could, the error says that the outcome is unknown.
//
// A request is a publish that waits for a reply; it is never sent twice:
//
//	reply, err := c.Request(ctx, "rpc.sum", []int{1, 2})
//	_, err = c.Reply(ctx, m, 3) // whoever got it as m
//
// A subscription with Join makes its user a member of the topic; Presence tells who is there, and WatchPresence all the time:
//
//	for who, err := range c.WatchPresence(ctx, "room.7") { ... }
//
// How it works inside: the run goroutine (client.go) makes a connection, reads it, and comes back after the backoff. What it
// reads goes through Client.handle (packets.go), a table with one case a packet, which moves the subscriptions' wire side
// (stream.go) and fills their inboxes (inbox.go), from which the application iterates (subscription.go). What is to be written
// is taken by the connection's writer (connection.go, fill.go): requests for subscriptions (together: subscribes.go) and questions that
// outlive connections (query.go: history.go, presence.go) first, then the publish queue (publish.go), as many packets as fit into one WebSocket message. Requests (request.go) wait
// outside that queue until their session has its inbox.
//
// Positions: the session has one, moved by every live message; a subscription has its own until it is live and the session has
// reached it, a conflated one (Latest, MaxRate) for good. Everything about the wire is guarded by Client.mu; an inbox has its own
// lock. Lock order: Client.mu, then inbox.mu. Nothing of the application is called with a lock held.
package carillon
