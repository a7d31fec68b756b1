package broker

import (
	"context"
	"net/http"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// Authenticator decides who a client is. It is called once per connection (and per new token), never per message.
//
// Authenticate returns a *protocol.Error for a refusal that the client is to be told (token_expired, token_wrong_audience, …).
// Any other error means that no decision could be had: the client gets `unavailable`, nothing is granted. Implementations
// are called concurrently and honour ctx, which carries the deadline (Limits.AuthTimeout).
type Authenticator interface {
	Authenticate(ctx context.Context, c Credentials) (*Identity, error)
}

// Credentials is what a client showed: the token of Connect, or what came with the HTTP request when Connect had none.
type Credentials struct {
	Token     string      // bearer token; never logged
	Transport string      // "ws", "sse", "poll" or "http"
	Remote    string      // client address without port, after trusted proxies
	Header    http.Header // selected headers of the upgrade (Cookie, Origin, User-Agent, …); may be nil
	Previous  *Principal  // of a fresh token: who the session has been so far. nil: it begins
}

// Store keeps what must outlive the broker. Implementations are called concurrently.
//
// The store has one sequence of offsets (1, 2, 3, …, gaps allowed) over everything it commits. Every method fails at once with
// an error when the store is away; the broker tries again.
type Store interface {
	// LoadRetained calls page with every current retained record, in any order, and returns an offset H such that
	// LoadRetained followed by Follow(After: H) misses nothing. Pages are bounded (≤ 256 records or 1 MiB) and must not be kept.
	LoadRetained(ctx context.Context, page func([]Record) error) (head uint64, err error)

	// Follow is the feed of committed records with an offset above from.After, strictly increasing, whoever appended them.
	// First comes what is already committed, then one Feed with CaughtUp set, then each commit as it happens. It blocks
	// until ctx ends, on fails, or the store goes away, and returns that error. If records after from.After are no longer
	// held it returns ErrTrimmed.
	Follow(ctx context.Context, from FollowFrom, on func(Feed) error) error

	// Append commits batch, in order, and calls done once with one result per record after the commit is durable, or with
	// an error when the outcome is unknown. Batches are committed in the order of the calls. It does not wait for the
	// commit. batch must not be changed until done was called; done must not block. A record whose (Origin, Ref) was
	// committed before is not committed again and is answered with Duplicate. Refs of one origin arrive in increasing order.
	Append(batch []Record, done func([]AppendResult, error))
}

// FollowFrom says where a feed starts.
type FollowFrom struct {
	After uint64
	// Origin names this broker run: records appended by it may be sent Elided (without topic, payload and the rest),
	// because the broker still holds them.
	Origin protocol.RunID
}

// Feed is one step of a committed feed.
type Feed struct {
	Records  []Record
	CaughtUp bool           // everything committed when Follow began has been sent
	Term     protocol.RunID // the store's present term (log.md P2); set with CaughtUp
	Head     uint64         // highest committed offset; set with CaughtUp
}

// Record is one message as the store keeps it.
type Record struct {
	Offset uint64         // assigned by the store; 0 in Append
	Origin protocol.RunID // the broker run that appended it
	Ref    uint64         // that run's own number for it, increasing
	Elided bool           // only Offset, Origin and Ref are set

	Topic       string
	Retain      bool // replaces the topic's retained value; with an empty payload it clears it
	Payload     []byte
	ContentType string
	Headers     map[string]string
	Time        int64 // Unix milliseconds at which the broker accepted it
	User        string

	// Exclude is the origin whose sessions are not sent it ([PUB-14]); "" is none. Opaque to the store.
	Exclude string
	// Expires is when the record ends, in Unix milliseconds; 0 is never. PowerTTL.
	Expires int64
	// Key names the publish, 16 to 32 bytes, and Digest stands for its content, 8 to 32. In Append only. PowerKeys.
	Key, Digest []byte
}

// AppendResult is the outcome of one appended record: an offset, or a refusal.
type AppendResult struct {
	Ref       uint64 // the record's
	Offset    uint64
	Duplicate bool            // was committed before, at Offset if still known
	Repeats   bool            // with Duplicate: another record with its Key and Digest is at Offset; the feed never brings this one
	Err       *protocol.Error // refused (quota, too_large, …); nothing was committed
}

// Conn is one client's connection as the core sees it. The core calls Write and Flush from one goroutine at a time;
// the others from any.
type Conn interface {
	// Write sends batch as one message without waiting. It reports whether all of it was taken by the transport; what was
	// not is kept by the conn, and nothing more may be written until Flush has returned. batch is only valid during the call,
	// the packets in it are shared and must not be changed.
	Write(batch []*Packet) (done bool, err error)

	// Flush waits until everything written has been taken by the transport, or the connection is closed.
	Flush() error

	// Progress is the time of the last byte that the transport accepted from us or received from the client.
	Progress() time.Time

	// Received is the time of the last byte received from the client, or of the last sign that it is there, on a transport whose
	// clients do not answer pings.
	Received() time.Time

	// Close tells the client why and ends the connection, in bounded time, without blocking the caller.
	Close(d protocol.Disconnect)

	// Abort ends the connection at once; nothing that is buffered is sent any more.
	Abort()
}

// ConnInfo describes a new connection.
type ConnInfo struct {
	Transport string
	Remote    string
	// Identity is who the upgrade's own credentials were found to be; nil if it had none. A token in Connect goes before it.
	Identity *Identity
	Header   http.Header // selected headers of the upgrade, for the Authenticator; may be nil
	// PingEvery is how often the session is told its position, if that is to be more often than Options.PingEvery; 0: it is not.
	PingEvery time.Duration
}
