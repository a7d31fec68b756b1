// Package broker moves messages between sessions.
//
// Everyone is a reader of one log. A publish goes
//
//	Session.Receive -> dispatch -> handlePublish -> Broker.publish -> [commit.Committer.Submit -> Store -> Log.Append] ->
//	Ring.Append -> shard.tail -> shard.deliver -> shard.push -> Session.offer -> Conn.Write
//
// and a subscription goes
//
//	handleSubscribe -> shard.subscribe -> begin -> startNow -> goLive            when little or nothing has to be sent first,
//	handleSubscribe -> shard.subscribe -> begin -> drain -> readStarting -> take when a cursor of its own has to catch up.
//
// A cursor that is behind the ring, or of another run, reads the Store first (past.go, lag_past.go, package archive) and joins the ring from
// there. A conflated subscription keeps its cursor for good (conflate.go).
//
// A session that only receives, over HTTP, goes Follow -> shard.follow -> drain -> readLag -> shard.takeBack: it begins as one that lags.
//
// The log of recent messages is a ring.Ring, and what is retained beside it a ring.Retained (package broker/internal/ring). A shard per CPU
// tails it for its sessions and writes to their sockets without waiting (shard.go). A session whose socket is full becomes a lagging
// reader: its drainer reads the log from its own cursor until the shard takes it back (outbox.go, lag.go). What must outlive the
// broker is committed by a Store first and comes back through one feed (package broker/internal/commit, which calls committed.go). Who is
// there in a topic is a presence.Table, whose changes are published like messages (presence.go); an inbox is a topic that needs no grant
// (inbox.go). The contract of a Store is package broker/store.
//
// The package opens no sockets and starts no processes: a transport gives it Conns, Options give it an Authenticator and a Store.
// Lock order: Committer.mu of package commit, Session.mu, Ring.forming, Ring.mu and Retained.mu of package ring; shard.mu, registry.mu,
// soon.mu, Broker.runMu, counters.mu and those of archive.Archive, messageids.Table and presence.Table are held alone or last. No lock is
// held while calling out, but for Conn.Write, which does not wait, and the encode of a Form, which computes.
package broker
