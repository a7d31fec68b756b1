package broker

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/carillon-mq/carillon/broker/internal/carry"
	"github.com/carillon-mq/carillon/broker/internal/commit"
	"github.com/carillon-mq/carillon/broker/internal/messageids"
	"github.com/carillon-mq/carillon/protocol"
)

// messageIDs are the publishes with a message id, so that a repetition is answered and not applied (log.md U2). Where a store knows the
// repetitions, they only say that an id is taken.
// A publish goes: begin -> appended -> answered. What is not appended after all is taken out by answered or withdraw.
type messageIDs struct {
	table  *messageids.Table[reply]
	logger *slog.Logger
	warned atomic.Int64 // that the table is full, in Unix seconds
}

func newMessageIDs(opt *Options) *messageIDs {
	return &messageIDs{table: messageids.New[reply](opt.Limits.MessageIDs), logger: opt.Logger}
}

func (r *PublishRequest) withID(user string) messageids.Publish {
	return messageids.Publish{
		User: user, ID: r.MessageID, Topic: r.Topic, ContentType: r.ContentType, Payload: r.Payload, Headers: r.Headers, Retain: r.Retain,
		Exclude: r.Exclude, TTL: r.TTL,
	}
}

// taken is what is known of a publish with a message id.
type taken struct {
	key      uint64 // of the first one in the table; 0: the store has to know it
	over     bool   // it does not go on
	answered bool   // with ack; without, and without err, it is told later
	ack      protocol.Published
	err      *protocol.Error
}

// begin takes in the publish r of user; kept says that the store knows its repetitions. The first one of its id goes on. A repetition is
// answered with the first one's places, or to is told when that is answered.
func (t *messageIDs) begin(user string, r *PublishRequest, kept bool, now time.Time, to reply) (is taken) {
	p := r.withID(user)
	var at messageids.Place
	var outcome messageids.Outcome
	if kept {
		is.key, at, outcome = t.table.Keep(&p, now, to)
	} else {
		is.key, at, outcome = t.table.Begin(&p, now, to)
	}
	is.over = outcome != messageids.First
	switch outcome {
	case messageids.Repeats:
		is.ack, is.answered = repeated(at), true
	case messageids.Unclear:
		is.err = commit.ErrUnknown
	case messageids.Differs:
		is.err = protocol.Errorf(protocol.CodeDuplicateID, "another message with this id was published less than %d minutes ago", messageids.Window/time.Minute)
	case messageids.Full:
		t.warn(now)
		is.err = protocol.Errorf(protocol.CodeQuota, "%d messages with an id were published in the last minutes, that is the limit", t.table.Len())
	case messageids.First, messageids.Waits:
	}
	return is
}

func repeated(at messageids.Place) protocol.Published {
	ack := protocol.Published{Seq: at.Seq, Offset: at.Offset, Receivers: -1, Duplicate: true}
	if at.Offset > 0 {
		ack.Durability = protocol.Committed
	}
	return ack
}

// warn says that the table is full, at most once a minute.
func (t *messageIDs) warn(now time.Time) {
	if last := t.warned.Load(); now.Unix()-last >= 60 && t.warned.CompareAndSwap(last, now.Unix()) {
		t.logger.Warn("publishes with a message id are refused: too many were published in the last minutes", "count", t.table.Len(), "hint", "raise limits.message_ids")
	}
}

func (p *publication) place() messageids.Place {
	at := messageids.Place{Seq: p.Seq, Offset: p.Offset}
	if p.Live {
		at.Seq = 0
	}
	return at
}

// appended notes the place of p, whose answer comes later.
func (t *messageIDs) appended(p *publication) { t.table.Appended(p.messageKey, p.place()) }

// answered answers who has joined the publish of the given key, as that is answered, and reports how many these were.
func (t *messageIDs) answered(key uint64, ack protocol.Published) int {
	joined := t.table.Answered(key, messageids.Place{Seq: ack.Seq, Offset: ack.Offset})
	ack.Receivers, ack.Duplicate = -1, true
	for _, to := range joined {
		to.tell(ack, nil)
	}
	return len(joined)
}

// refused answers them when it failed.
func (t *messageIDs) refused(key uint64, err *protocol.Error) {
	for _, to := range t.table.Refused(key, err == commit.ErrUnknown || err == commit.ErrPassedOver) {
		to.tell(protocol.Published{}, err)
	}
}

// withdraw takes p out: it was not appended and never will be.
func (t *messageIDs) withdraw(p *publication) { t.table.Withdraw(p.messageKey) }

func (t *messageIDs) size() int64 { return int64(t.table.Len()) }

// keyedRecord is a Record with room for its key and digest.
type keyedRecord struct {
	Record
	names [2 * messageids.NameBytes]byte
}

// name gives the record the key and the digest by which the store knows a repetition of it, in this run of the broker or another.
func (k *keyedRecord) name(user string, r *PublishRequest) {
	p := r.withID(user)
	k.Key, k.Digest = p.Names(&k.names)
}

// write writes the table down for the next run.
func (t *messageIDs) write(c *carry.Writer, now time.Time) {
	if err := t.table.Write(carryBytes{w: c}, now); c.Err == nil {
		c.Err = err
	}
}

// read takes what write wrote, elapsed ago.
func (t *messageIDs) read(c *carry.Reader, elapsed time.Duration) {
	if err := t.table.Read(carryBytes{r: c}, elapsed); err != nil {
		c.Fail(carry.ErrForm)
	}
}

// carryBytes is a log on its way over a restart, as a stream of bytes.
type carryBytes struct {
	w *carry.Writer
	r *carry.Reader
}

func (c carryBytes) Write(b []byte) (int, error) {
	c.w.Raw(b)
	return len(b), c.w.Err
}

func (c carryBytes) Read(b []byte) (int, error) {
	c.r.Raw(b)
	return len(b), c.r.Err
}

func (c carryBytes) ReadByte() (byte, error) { return c.r.ReadByte() }
