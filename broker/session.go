package broker

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/carillon-mq/carillon/broker/internal/ring"
	"github.com/carillon-mq/carillon/protocol"
	"golang.org/x/time/rate"
)

// Session is one client's conversation with the broker, over one Conn. The transport's reader calls Receive, one call at a
// time, and Closed once at the end.
//
// Three goroutines meet in it: the reader (requests), the shard (live messages, what changes subscriptions, heartbeat) and,
// while something waits for the socket, the drainer. Fields are grouped by who may touch them.
type Session struct {
	// What a delivery touches lies together, for it is cold each time. First the shard's:
	pending      []*ring.Entry
	pendingBytes int
	seen         uint64 // seq of the last entry that matched, so that it is taken once
	lagging      bool
	follows      bool // sends nothing, and has one position for all: see Follow

	mu         sync.Mutex
	draining   bool // a drainer owns conn.Write and conn.Flush
	closed     bool
	pingDue    bool
	queueBytes int // of queue and of what the drainer is writing
	conn       Conn
	b          *Broker

	heart heart // the shard's

	// Guarded by mu.
	queue      []*Packet     // waits for the drainer, in order
	room       chan struct{} // closed when the queue has shrunk; nil when nobody waits
	subs       subscriptions
	subsEpoch  uint64 // changes whenever subs or their state does
	lag        *lag   // nil: live
	starting   []*subscription
	unanswered []uint64 // ids of requests without their answer, 0 for those that want none
	soon       *answers // in Broker.soon; nil: none
	cause      *protocol.Error
	fetches    int            // reads of the store on their way for subscriptions that are behind the log
	keptBytes  int            // of conflated subscriptions' fleeting messages
	histories  []historyQuery // the first is being read

	shard *shard
	info  ConnInfo
	id    string
	// origin is what messages exclude the session by ([CON-11]); "": it has none. Set before the first subscription.
	origin string

	// The reader's.
	acks       *answers // nil: none
	topic      string   // of its last publish
	connected  bool
	publishes  *rate.Limiter
	bytes      *rate.Limiter
	subscribes *rate.Limiter
	pings      *rate.Limiter
	floods     *rate.Limiter   // of requests refused by their rate
	identity   *Identity       // changed under mu
	undecided  *protocol.Error // why the rights of the packet that is being read could not be decided
}

// Open begins a session on conn. It fails with a *protocol.Error when the broker is draining or full, which the caller reports with
// Refused.
func (b *Broker) Open(conn Conn, info ConnInfo) (*Session, error) {
	s := &Session{b: b, conn: conn, info: info, id: newSessionID()}
	if err := b.registry.add(s); err != nil {
		return nil, err
	}
	s.shard = b.leastShard()
	s.shard.post(func() { s.shard.join(s) })
	return s, nil
}

// ID names the session, and is not reused. Whoever knows it may publish to the session's inbox, and nothing else ([REQ-2]).
func (s *Session) ID() string { return s.id }

// errClosed ends a reader whose session was closed by the broker.
var errClosed = errors.New("session is closed")

// Receive takes one transport message: one or more packets. more says that the next message has already been received, so
// that acknowledgements may wait for it and leave together. It blocks while too much waits for the client's own socket. An
// error means that the session is over; the client has been told.
func (s *Session) Receive(msg []byte, more bool) error {
	return s.received(s.receive(msg), more)
}

// received ends what Receive has done, with err or without.
func (s *Session) received(err error, more bool) error {
	if err == nil {
		err = s.awaitRoom()
	}
	if !more || err != nil {
		s.flushAcks()
	}
	if err == nil {
		return nil
	}
	if refusal, ok := errors.AsType[*protocol.Error](err); ok {
		s.Disconnect(refusal)
	}
	return err
}

// Refuse answers request id, a packet of type t that the transport could not read into one for Receive: id 0 is of none. why is an error after
// which the session goes on. It is to Receive as another message: more says the same, it may block, and an error means that the session is over.
func (s *Session) Refuse(t protocol.Type, id uint64, why *protocol.Error, more bool) error {
	err := s.checkOrder(t)
	if err == nil {
		s.answer(id, why)
	}
	return s.received(err, more)
}

// ConnectBytes is the most that a session takes before it is connected ([CON-7]).
const ConnectBytes = 16 << 10

func (s *Session) receive(msg []byte) error {
	if !s.connected && len(msg) > ConnectBytes {
		return protocol.Errorf(protocol.CodeMessageTooLarge, "found a message of %d bytes before Connected, wanted at most %d", len(msg), ConnectBytes)
	}
	if len(msg) == 0 {
		return protocol.Errorf(protocol.CodeBadPacket, "found an empty message, wanted at least one packet")
	}
	for n := 1; len(msg) > 0; n++ {
		raw, rest, err := protocol.Next(msg)
		if err == nil {
			err = s.dispatch(raw)
		}
		if err == nil && n%packetsAtOnce == 0 {
			err = s.awaitRoom()
		}
		if err != nil {
			return err
		}
		msg = rest
	}
	return nil
}

// packetsAtOnce is how many packets of one message are done before it is seen whether the client takes the answers: a packet may have 2 bytes, and
// its answer a hundred.
const packetsAtOnce = 128

// dispatch is the table of contents of a session: one line a packet. The error of a handler closes the session; a request
// that merely fails is answered with an Error packet.
func (s *Session) dispatch(raw protocol.Raw) error {
	if err := s.checkOrder(raw.Type); err != nil {
		return err
	}
	switch raw.Type {
	case protocol.TypeConnect:
		return s.handleConnect(raw)
	case protocol.TypeSubscribe:
		return s.handleSubscribe(raw)
	case protocol.TypeSubscribes:
		return s.handleSubscribes(raw)
	case protocol.TypeUnsubscribe:
		return s.handleUnsubscribe(raw)
	case protocol.TypePublish:
		return s.handlePublish(raw)
	case protocol.TypeRefresh:
		return s.handleRefresh(raw)
	case protocol.TypeHistory:
		return s.handleHistory(raw)
	case protocol.TypePresence:
		return s.handlePresence(raw)
	case protocol.TypePing:
		return s.handlePing(raw)
	case protocol.TypePong:
		return nil // any byte received is a sign of life
	case protocol.TypeConnected, protocol.TypeSubscribed, protocol.TypeUnsubscribed, protocol.TypePublished,
		protocol.TypeMessage, protocol.TypeReplay, protocol.TypeRetainedEnd, protocol.TypeResumed, protocol.TypeGap,
		protocol.TypeHistories, protocol.TypePresences, protocol.TypeRefreshed, protocol.TypeError, protocol.TypeDisconnect:
		return protocol.Errorf(protocol.CodeBadPacket, "found %s, which only a broker sends", raw.Type)
	default:
		return s.handleUnknown(raw)
	}
}

// checkOrder refuses a packet that comes before Connect ([CON-1]).
func (s *Session) checkOrder(t protocol.Type) error {
	if s.connected || t == protocol.TypeConnect {
		return nil
	}
	return protocol.Errorf(protocol.CodeBadOrder, "found %s before Connect, wanted Connect first", t)
}

// handleUnknown answers a type that this version does not know, or has only reserved, if it can be answered.
func (s *Session) handleUnknown(raw protocol.Raw) error {
	if id, ok := raw.ID(); ok {
		s.answer(id, protocol.Errorf(protocol.CodeUnknownType, "found packet type %s", raw.Type))
	} else {
		s.b.stats.reject(protocol.CodeUnknownType)
	}
	return nil
}

func (s *Session) handleConnect(raw protocol.Raw) error {
	if s.connected {
		return protocol.Errorf(protocol.CodeBadOrder, "found a second Connect, wanted one")
	}
	var p protocol.Connect
	if err := p.Decode(raw); err != nil {
		return err
	}
	if p.Version != 1 {
		return protocol.Errorf(protocol.CodeBadVersion, "found version %d, this broker speaks 1", p.Version)
	}
	id := s.info.Identity
	if p.Token != "" || id == nil {
		creds := Credentials{Token: p.Token, Transport: s.info.Transport, Remote: s.info.Remote, Header: s.info.Header}
		var err error
		if id, err = s.b.Authenticate(context.Background(), creds); err != nil {
			return err
		}
	}
	if err := s.b.registry.claimUser(id); err != nil {
		return err
	}
	s.mu.Lock()
	s.identity, s.connected, s.origin = id, true, p.Origin
	compress := s.startCompress(p.Compress)
	s.mu.Unlock()
	if why := s.b.revoked(id); why != nil { // since it was let in
		return why
	}
	s.info.Header = nil // it has served; a session lasts
	at := s.b.Position()
	s.send(s.connectedPacket(id, at, compress)) // at once: the shard may answer what follows before the reader has come to its end ([CON-7])
	s.shard.post(func() {
		s.shard.welcome(s, id)
		if s.b.positionAt(0, 0).Term != at.Term { // setTerm has passed over who was not welcome yet
			s.shard.ping(s)
		}
	})
	return nil
}

func (s *Session) connectedPacket(id *Identity, at protocol.Position, compress string) *Packet {
	p := protocol.Connected{
		Session: s.id, Position: at, Ping: s.b.opt.PingEvery, User: id.User, Expires: id.expires(), Server: s.b.opt.ServerName,
		Limits: s.b.limitsOf(id), Compress: compress,
	}
	return encode(&p)
}

// limitsOf are the limits that a session of id is told ([CON-9]).
func (b *Broker) limitsOf(id *Identity) map[string]int64 {
	general := &b.opt.Limits
	limits := map[string]int64{
		"packet":         int64(general.Packet),
		"payload":        int64(general.Payload),
		"headers":        int64(general.Headers),
		"inflight":       int64(general.Inflight),
		"subscriptions":  int64(or(id.Limits.Subscriptions, general.Subscriptions)),
		"subscribe_rate": int64(or(id.Limits.SubscribeRate, general.SubscribeRate)),
		"publish_rate":   int64(or(id.Limits.PublishRate, general.PublishRate)),
		"publish_bytes":  int64(or(id.Limits.PublishBytes, general.PublishBytes)),
	}
	for k, v := range limits {
		if v < 0 {
			delete(limits, k) // unlimited is told by silence
		}
	}
	return limits
}

func (s *Session) handlePing(raw protocol.Raw) error {
	var p protocol.Ping
	if err := p.Decode(raw); err != nil {
		return err
	}
	if !allow(&s.pings, time.Now(), s.b.opt.Limits.PingRate, 2*s.b.opt.Limits.PingRate, 1) {
		return protocol.Errorf(protocol.CodeFlooding, "found more than %d pings a second", s.b.opt.Limits.PingRate)
	}
	s.sendLater(&protocol.Pong{})
	return nil
}

// answer tells the client that its request id failed; the session goes on.
func (s *Session) answer(id uint64, err *protocol.Error) {
	s.b.refused(s, err)
	s.sendLater(err.Packet(id))
}

// A client that a rate has been told to and that goes on far above it is a load of its own: so many refusals of a rate a session
// gets per second, and at once, before it is sent away.
const (
	floodRate  = 100
	floodBurst = 1000
)

// refuse answers request id with err. Its own error ends the session.
func (s *Session) refuse(id uint64, err *protocol.Error) error {
	if flood := s.flooding(err); flood != nil {
		return flood
	}
	s.answer(id, err)
	return nil
}

// flooding counts a refusal, and returns an error if it ends the session.
func (s *Session) flooding(err *protocol.Error) error {
	if err.Code == protocol.CodeRateLimited && !allow(&s.floods, time.Now(), floodRate, floodBurst, 1) {
		return protocol.Errorf(protocol.CodeFlooding, "found requests going on beyond their rate: %s", err.Detail)
	}
	return nil
}

// Disconnect ends the session and tells the client why, in bounded time. It does not wait. Only the first call counts.
func (s *Session) Disconnect(why *protocol.Error) {
	if !s.shut(why) {
		return
	}
	s.b.refused(s, why)
	s.conn.Close(why.Disconnect())
}

// Revoke ends the session at once: nothing that still waits is delivered (log.md R6).
func (s *Session) Revoke(why *protocol.Error) {
	if !s.shut(why) {
		return
	}
	s.b.refused(s, why)
	s.conn.Abort()
}

// Closed takes the session out of the broker. The transport calls it once, when nothing will be received any more, with ErrLeft when the
// client has said that it leaves.
func (s *Session) Closed(err error) {
	if s.shut(nil) {
		s.conn.Abort()
	}
	s.b.registry.remove(s)
	s.shard.post(func() { s.shard.leave(s, err) })
}

// shut marks the session closed, drops what waits, and reports whether it was open.
func (s *Session) shut(why *protocol.Error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.closed, s.cause = true, why
	s.queue, s.starting, s.lag = nil, nil, nil
	s.releaseRoomLocked()
	return true
}

// or is an identity's own limit, or the broker's.
func or(own, general int) int {
	if own != 0 {
		return own
	}
	return general
}

// relimit has a limiter, if there is one, go on with what limit says now.
func relimit(l *rate.Limiter, limit func() (perSecond, burst int)) {
	perSecond, burst := limit()
	if l != nil && perSecond != Unlimited {
		l.SetLimit(rate.Limit(perSecond))
		l.SetBurst(burst)
	}
}

// allow takes n from a limiter of perSecond events with the given burst, made at its first use.
func allow(l **rate.Limiter, now time.Time, perSecond, burst, n int) bool {
	if perSecond == Unlimited {
		return true
	}
	if *l == nil {
		*l = rate.NewLimiter(rate.Limit(perSecond), burst)
	}
	return (*l).AllowN(now, n)
}
