package broker

import (
	"unicode/utf8"

	"github.com/carillon-mq/carillon/protocol"
)

func (b *Broker) checkPublish(id *Identity, r *PublishRequest) *protocol.Error {
	if err := asError(protocol.ValidateTopic(r.Topic)); err != nil {
		return err
	}
	free := false
	if r.Topic[0] == '$' {
		var err *protocol.Error
		if free, err = b.checkReserved(r); err != nil {
			return err
		}
	}
	if id.Ask != 0 {
		if err := b.askToPublish(id, r.Session, r.wants(free)); err != nil {
			return err
		}
	}
	if !free && !id.CanPublish(r.Topic) {
		return forbidPublish(id, r.Topic)
	}
	if exceeds(len(r.Payload), b.opt.Limits.Payload) {
		return protocol.Errorf(protocol.CodeTooLarge, "found a payload of %d bytes, the limit is %d", len(r.Payload), b.opt.Limits.Payload)
	}
	if len(r.MessageID) > maxMessageID || !utf8.ValidString(r.MessageID) {
		return protocol.Errorf(protocol.CodeBadArgs, "found a message id of %d bytes, wanted UTF-8 of at most %d", len(r.MessageID), maxMessageID)
	}
	size, err := b.checkHeaders(r)
	if err != nil {
		return err
	}
	if err := r.checkExclude(id); err != nil {
		return err
	}
	if b.draining.Load() {
		return protocol.Errorf(protocol.CodeNotReady, "the broker is going away")
	}
	if !r.Retain {
		return nil
	}
	if len(r.Payload) > 0 && !b.retained.Room(r.Topic, len(r.Payload)+size) {
		return protocol.Errorf(protocol.CodeQuota, "the broker holds its limit of retained messages")
	}
	return b.retainedReady()
}

// wants is what r needs of an identity; free says that it needs no grant to be published.
func (r *PublishRequest) wants(free bool) []right {
	wanted := []right{publishRight(r.Topic), excludeRight(r.Topic)}
	switch exclude := r.Exclude != "" && r.Exclude != r.Origin; {
	case free && exclude:
		return wanted[1:]
	case free:
		return nil
	case exclude:
		return wanted
	}
	return wanted[:1]
}

// MayPublish decides, all at once, whether id may publish to topics, which are valid, and exclude another origin there. An error is a
// *protocol.Error: that no decision could be had, or with the topic, that id may not publish to it.
func (b *Broker) MayPublish(id *Identity, topics []string, exclude bool) (denied string, err error) {
	var wanted []right
	for _, topic := range topics {
		wanted = append(wanted, publishRight(topic))
		if exclude {
			wanted = append(wanted, excludeRight(topic))
		}
	}
	if err := b.ask(id, "", wanted...); err != nil {
		return "", err
	}
	for _, topic := range topics {
		if err := checkOwn(topic); err != nil {
			return topic, err
		}
		if !id.CanPublish(topic) {
			return topic, forbidPublish(id, topic)
		}
		if exclude && !id.CanExclude(topic) {
			return topic, forbidExclude(id, topic)
		}
	}
	return "", nil
}

func forbidPublish(id *Identity, topic string) *protocol.Error {
	return id.uncovered("publishing to", topic, id.because(publishRight(topic)))
}

// checkHeaders checks what stands beside the payload and returns its bytes. Doors hand over what came by HTTP too: a string that is
// not UTF-8 would be a packet that every subscriber refuses.
func (b *Broker) checkHeaders(r *PublishRequest) (size int, err *protocol.Error) {
	if len(r.ContentType) > maxContentType || !utf8.ValidString(r.ContentType) {
		return 0, protocol.Errorf(protocol.CodeBadArgs, "found a content type of %d bytes, wanted UTF-8 of at most %d", len(r.ContentType), maxContentType)
	}
	if len(r.Headers) > protocol.MaxHeaders {
		return 0, protocol.Errorf(protocol.CodeTooLarge, "found %d headers, the limit is %d", len(r.Headers), protocol.MaxHeaders)
	}
	size = len(r.ContentType)
	for k, v := range r.Headers {
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return 0, protocol.Errorf(protocol.CodeBadArgs, "found a header that is not UTF-8")
		}
		size += len(k) + len(v)
	}
	if exceeds(size, b.opt.Limits.Headers) {
		return 0, protocol.Errorf(protocol.CodeTooLarge, "found headers of %d bytes, the limit is %d", size, b.opt.Limits.Headers)
	}
	return size, nil
}
