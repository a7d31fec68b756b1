package broker

import (
	"context"
	"net/http"
	"time"

	"github.com/carillon-mq/carillon/broker/store"
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

// The port to a store, see package store.
type (
	// Store keeps what must outlive the broker.
	Store = store.Store
	// FollowFrom says where a feed of a Store starts.
	FollowFrom = store.FollowFrom
	// Feed is one step of a committed feed.
	Feed = store.Feed
	// Record is one message as the store keeps it.
	Record = store.Record
	// AppendResult is the outcome of one appended record.
	AppendResult = store.AppendResult

	// Power is something that a Store may be able to do beside what every Store does.
	Power = store.Power
	// PoweredStore is a Store whose powers are known only when it is there.
	PoweredStore = store.PoweredStore
	// TermLister is a Store that knows its terms.
	TermLister = store.TermLister
	// Term is one time that a store was open for writing.
	Term = store.Term
	// HistoryStore is a Store that keeps the history of topics by rules.
	HistoryStore = store.HistoryStore
	// RetentionRule says what is kept of each topic that it matches.
	RetentionRule = store.RetentionRule
	// HistoryQuery asks for records of the history.
	HistoryQuery = store.HistoryQuery
	// HistoryPage is the answer to a HistoryQuery.
	HistoryPage = store.HistoryPage
	// StatisticsReader is a Store that tells its figures.
	StatisticsReader = store.StatisticsReader
	// StoreStatistics are figures of a store.
	StoreStatistics = store.Statistics
	// BackupMaker is a Store that can be copied while it works.
	BackupMaker = store.BackupMaker
)

// The optional powers of a Store, each with the interface or the fields that it stands for.
const (
	PowerTerms      = store.PowerTerms      // TermLister
	PowerHistory    = store.PowerHistory    // HistoryStore
	PowerTTL        = store.PowerTTL        // Record.Expires
	PowerKeys       = store.PowerKeys       // Record.Key, Record.Digest, AppendResult.Repeats
	PowerStatistics = store.PowerStatistics // StatisticsReader
	PowerBackup     = store.PowerBackup     // BackupMaker
)

// Bounds of HistoryStore.
const (
	MaxRetentionRules = store.MaxRetentionRules
	MaxHistoryFilters = store.MaxHistoryFilters
	MaxHistoryRecords = store.MaxHistoryRecords // of one page
)

var (
	// ErrNoPower is returned by a call that needs a power which the store, or the Authenticator, does not have.
	ErrNoPower = store.ErrNoPower
	// ErrMalformed is wrapped by errors about an answer of a plugin that breaks its contract. Nothing of such an answer counts.
	ErrMalformed = store.ErrMalformed
	// ErrTrimmed is returned by Store.Follow when records after the asked offset are no longer held.
	ErrTrimmed = store.ErrTrimmed
)

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
