package broker

import (
	"io"
	"log/slog"
	"math"
	"runtime"
	"time"

	"github.com/carillon-mq/carillon/broker/internal/rules"
)

// Class says what the broker keeps of a topic's messages. It is chosen by the rules in Options.Topics, never by a publisher. String is its
// name in the configuration.
type Class = rules.Class

// The topic classes.
const (
	ClassMemory = rules.Memory // kept in the ring; the default
	ClassLive   = rules.Live   // never kept, never replayed
	ClassStored = rules.Stored // kept by the store
)

// TopicRule gives the topics that Match matches their class. The first rule that matches a topic wins.
type TopicRule struct {
	Match string // a filter
	Class Class

	// Of class stored.
	History History
	Sync    time.Duration // how long commits may be gathered; 0: each is handed to the store at once
}

// History bounds what the store keeps of each topic of a rule. A message goes when it is beyond any of the bounds; 0 is no bound.
// Without any it is DefaultHistory.
type History struct {
	Count uint64 // newest messages
	Age   time.Duration
	Bytes uint64 // newest bytes
}

// DefaultHistory is what is kept of a stored topic whose rule does not say.
var DefaultHistory = History{Count: 1000}

// Options are a broker's settings. The zero value is a broker in memory in which everybody may do everything.
type Options struct {
	Authenticator Authenticator
	// Anonymous is the identity of a client that shows no token. nil: it is refused if there is an Authenticator, and may do
	// everything if there is none.
	Anonymous  *Identity
	Store      Store
	Topics     []TopicRule
	Limits     Limits
	RingBytes  int64 // 64 MiB
	Shards     int   // one per CPU, at most 8
	Logger     *slog.Logger
	Log        io.Reader // what WriteLog wrote at the end of the last run: New reads it. nil: the log begins anew
	ServerName string    // told to clients in Connected
	NoCompress bool      // payloads are compressed for nobody ([CON-12])

	// RefusalLevel is the level at which refusals are logged: slog.LevelInfo (default) or, in production, slog.LevelWarn.
	RefusalLevel slog.Level

	PingEvery    time.Duration // 25 s
	PongWait     time.Duration // 10 s after the ping left, or after the socket last accepted bytes; at most PingEvery
	Stalled      time.Duration // 90 s without a byte accepted or received while something waits (log.md R3)
	ResumeWindow time.Duration // 10 min: how far back a resume reaches without the history action (R6)
	ExpiryLeeway time.Duration // 30 s: how long after its token has expired a session is closed
	DrainSpread  time.Duration // 10 s: clients are told to come back at a random time within it
}

// Limits bound what clients can make the broker hold or do. Zero is the default, Unlimited is none.
type Limits struct {
	Packet          int   // bytes of one transport message from a client: 72 KiB
	Payload         int   // bytes of one message's payload: 64 KiB
	Headers         int   // bytes of one message's headers and content type: 4 KiB
	Pending         int   // bytes waiting for one session's socket before it lags: 64 KiB
	Subscriptions   int   // of one session: 128
	SubscribeRate   int   // subscribes and unsubscribes of one session per second: 20
	SubscribeBurst  int   // 128
	PublishRate     int   // publishes of one session per second: 50
	PublishBurst    int   // 100
	PublishBytes    int   // payload bytes of one session per second: 256 KiB
	PingRate        int   // pings from a client per second: 10
	Inflight        int   // publishes of one session that wait for their acknowledgement: 64
	Sessions        int   // in all: 100,000
	SubscriptionsIn int   // subscriptions in all: 2,000,000
	SessionsOfUser  int   // of one user, anonymous not counted: 100
	SessionsOfAddr  int   // from one address, loopback not counted: 200
	Retained        int   // retained topics: 1,000,000
	RetainedBytes   int64 // with overhead: 512 MiB
	StorePending    int64 // bytes of publishes that wait for the store: 32 MiB
	MessageIDs      int   // message ids of the last minutes, those that the store does not know itself: 4,000,000, about 50 bytes each
	Revocations     int   // revocations of users and tokens that are remembered: 100,000
	AuthTimeout     time.Duration
	StoreTimeout    time.Duration
	ConnectTimeout  time.Duration // from the upgrade to a good Connect: 10 s
}

func (o Options) withDefaults() Options {
	setDefault(&o.RingBytes, 64<<20)
	setDefault(&o.Shards, min(runtime.GOMAXPROCS(0), 8))
	setDefault(&o.PingEvery, 25*time.Second)
	setDefault(&o.PongWait, 10*time.Second)
	o.PongWait = min(o.PongWait, o.PingEvery) // a ping is accepted bytes, too: it would begin the wait anew
	setDefault(&o.Stalled, 90*time.Second)
	setDefault(&o.ResumeWindow, 10*time.Minute)
	setDefault(&o.ExpiryLeeway, 30*time.Second)
	setDefault(&o.DrainSpread, 10*time.Second)
	setDefault(&o.ServerName, "carillon")
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Anonymous == nil && o.Authenticator == nil {
		o.Anonymous = Everybody()
	}
	o.Limits = o.Limits.withDefaults()
	return o
}

func (l Limits) withDefaults() Limits {
	setDefault(&l.Packet, 72<<10)
	setDefault(&l.Payload, 64<<10)
	setDefault(&l.Headers, 4<<10)
	setDefault(&l.Pending, 64<<10)
	setDefault(&l.Subscriptions, 128)
	setDefault(&l.SubscribeRate, 20)
	setDefault(&l.SubscribeBurst, 128)
	setDefault(&l.PublishRate, 50)
	setDefault(&l.PublishBurst, 100)
	setDefault(&l.PublishBytes, 256<<10)
	setDefault(&l.PingRate, 10)
	setDefault(&l.Inflight, 64)
	setDefault(&l.Sessions, 100_000)
	setDefault(&l.SubscriptionsIn, 2_000_000)
	setDefault(&l.SessionsOfUser, 100)
	setDefault(&l.SessionsOfAddr, 200)
	setDefault(&l.Retained, 1_000_000)
	setDefault(&l.RetainedBytes, 512<<20)
	setDefault(&l.StorePending, 32<<20)
	setDefault(&l.MessageIDs, 4_000_000)
	setDefault(&l.Revocations, 100_000)
	setDefault(&l.AuthTimeout, 2*time.Second)
	setDefault(&l.StoreTimeout, 5*time.Second)
	setDefault(&l.ConnectTimeout, 10*time.Second)
	setUnlimited(&l.Pending, math.MaxInt/4)
	setUnlimited(&l.AuthTimeout, unlimitedTime)
	setUnlimited(&l.StoreTimeout, unlimitedTime)
	setUnlimited(&l.ConnectTimeout, unlimitedTime)
	return l
}

// unlimitedTime is longer than anything runs, and far from the end of a time.Duration.
const unlimitedTime = 30 * 365 * 24 * time.Hour

// setUnlimited gives a limit that is reckoned with a number for none.
func setUnlimited[T int | time.Duration](field *T, none T) {
	if *field == Unlimited {
		*field = none
	}
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Everybody is the identity of a broker without authentication: it may publish, subscribe and read back everything but what
// belongs to the broker itself, and no rate holds it back.
func Everybody() *Identity {
	all := ActionPublish | ActionSubscribe | ActionHistory | ActionPresence | ActionExclude
	return &Identity{
		Grants: []Grant{{all, ">"}, {all, "$user.>"}, {ActionSubscribe, "$sys.>"}},
		Limits: SessionLimits{
			PublishRate: Unlimited, PublishBytes: Unlimited, Subscriptions: Unlimited, SubscribeRate: Unlimited,
		},
	}
}

// rules are o.Topics as they are asked for.
func (o *Options) rules() rules.Rules {
	list := make(rules.Rules, len(o.Topics))
	for i, r := range o.Topics {
		list[i] = rules.Rule{Class: r.Class, Keep: RetentionRule{Match: r.Match}, Sync: r.Sync}
		if keep := &list[i].Keep; r.Class == ClassStored {
			h := r.History
			setDefault(&h, DefaultHistory)
			keep.Count, keep.Age, keep.Bytes = h.Count, h.Age, h.Bytes
		}
	}
	return list
}
