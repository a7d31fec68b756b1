// Package floor is the least that a fan-out server of this design can cost: one log of recent messages, a goroutine per core that tails it and
// writes without waiting, and nothing else. No rights, no retained messages, no wildcards, no positions, no plugins.
//
// A bench runs it in turns with the broker, driven by the same client, so that a figure of the broker's can be told as a ratio.
// What a message goes through:
//
//	session.read -> session.commands -> ring.append -> tail.step -> session.send
//
// It speaks WebSocket with packets of its own, which are in packet.go. A session whose socket is full is served by a goroutine of its
// own until it has caught up (session.catchUp); one that the log has passed is closed, because a floor that loses measures nothing.
package floor
