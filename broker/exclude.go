package broker

import (
	"unicode/utf8"

	"github.com/carillon-mq/carillon/broker/internal/ring"
	"github.com/carillon-mq/carillon/protocol"
)

// A message may exclude the sessions of one origin ([PUB-14], log.md R7). The origin is kept with its entry and with its record, and
// every reader of the log passes over what excludes it: shards, readers behind the end, and readers of the store. That is no gap.
// Retained messages and histories are the same for everybody.

// checkExclude checks the origin that r excludes, and the right to.
func (r *PublishRequest) checkExclude(id *Identity) *protocol.Error {
	if r.Exclude == "" {
		return nil
	}
	if err := checkOrigin(r.Exclude); err != nil {
		return err
	}
	if r.Exclude != r.Origin && !id.CanExclude(r.Topic) {
		return forbidExclude(id, r.Topic)
	}
	return nil
}

func forbidExclude(id *Identity, topic string) *protocol.Error {
	return protocol.Errorf(protocol.CodeForbidden, "no grant of %s covers excluding another origin from %q%s", id.name(), topic, id.because(excludeRight(topic))).
		WithHint("A session may exclude the origin that its own Connect named; another one needs the right to exclude.")
}

func checkOrigin(origin string) *protocol.Error {
	if len(origin) > protocol.MaxOrigin || !utf8.ValidString(origin) {
		return protocol.Errorf(protocol.CodeBadArgs, "found an origin of %d bytes, wanted UTF-8 of 1 to %d", len(origin), protocol.MaxOrigin)
	}
	return nil
}

// extra is what the log keeps of r, which expires at the given time, beside the message.
func (r *PublishRequest) extra(expires int64) *ring.Extra {
	if r.Exclude == "" && expires == 0 {
		return nil
	}
	if r.Exclude == r.Origin { // which is there as long as its session, and most exclude their own
		return &ring.Extra{Exclude: r.Origin, Expires: expires}
	}
	return &ring.Extra{Exclude: r.Exclude, Expires: expires}
}
