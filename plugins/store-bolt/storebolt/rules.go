package storebolt

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

var keyRules = []byte("rules")

// keepEpochs is how many changes of the topics that have a history are remembered. What was committed before that is in no
// history any more once there was another change to its topics.
const keepEpochs = 256

// rules are the rules of retention, and since when there was a history for which topics.
type rules struct {
	List   []broker.RetentionRule
	Epochs []epoch // oldest first; the last one is List's
}

// epoch is a time in which the same topics had a history: everything committed above From, up to the next one's.
type epoch struct {
	From  uint64
	Rules []epochRule
}

// epochRule is a rule as far as it decides whether a topic has a history.
type epochRule struct {
	Match string
	Keeps bool
}

// next is what r becomes when list is set and head is the highest offset.
func (r *rules) next(list []broker.RetentionRule, head uint64) *rules {
	now := epoch{From: head}
	for _, rule := range list {
		now.Rules = append(now.Rules, epochRule{rule.Match, rule.Keeps()})
	}
	n := &rules{List: slices.Clone(list), Epochs: slices.Clone(r.Epochs)}
	last := len(n.Epochs) - 1
	switch {
	case last >= 0 && slices.Equal(n.Epochs[last].Rules, now.Rules):
	default:
		n.Epochs = append(n.Epochs, now)
	}
	if len(n.Epochs) > keepEpochs {
		n.Epochs = slices.Delete(n.Epochs, 0, 1)
	}
	return n
}

// of returns the place of topic's rule, -1 if it has no history.
func (r *rules) of(topic string) int32 {
	for i := range r.List {
		if protocol.Match(r.List[i].Match, topic) {
			if r.List[i].Keeps() {
				return int32(i)
			}
			return -1
		}
	}
	return -1
}

func (e *epoch) keeps(topic string) bool {
	for _, r := range e.Rules {
		if protocol.Match(r.Match, topic) {
			return r.Keeps
		}
	}
	return false
}

// since is the offset above which topic's history goes without a break up to now.
func (r *rules) since(topic string) uint64 {
	for i := len(r.Epochs) - 1; i >= 0; i-- {
		if !r.Epochs[i].keeps(topic) {
			return r.fromOf(i + 1)
		}
	}
	return r.fromOf(0)
}

func (r *rules) fromOf(i int) uint64 {
	if i < len(r.Epochs) {
		return r.Epochs[i].From
	}
	return 0
}

// sinceAny is at least the since of every topic that filter matches and that has a history, known or not.
func (r *rules) sinceAny(filter string) uint64 {
	if protocol.IsLiteral(filter) {
		return r.since(filter)
	}
	for i := len(r.Epochs) - 1; i > 0; i-- {
		if !slices.Equal(r.Epochs[i].touching(filter), r.Epochs[i-1].touching(filter)) {
			return r.Epochs[i].From
		}
	}
	if len(r.Epochs) == 0 || !slices.ContainsFunc(r.Epochs[0].touching(filter), func(r epochRule) bool { return r.Keeps }) {
		return 0
	}
	return r.fromOf(0)
}

// touching are the rules of e that may match a topic that filter matches.
func (e *epoch) touching(filter string) []epochRule {
	var some []epochRule
	for _, r := range e.Rules {
		if overlap(r.Match, filter) {
			some = append(some, r)
		}
	}
	return some
}

// overlap reports whether there may be a topic that both filters match.
func overlap(a, b string) bool {
	for {
		var levelA, levelB string
		var moreA, moreB bool
		levelA, a, moreA = strings.Cut(a, ".")
		levelB, b, moreB = strings.Cut(b, ".")
		if levelA == ">" || levelB == ">" {
			return true
		}
		if levelA != levelB && levelA != "*" && levelB != "*" {
			return false
		}
		if !moreA || !moreB {
			return moreA == moreB
		}
	}
}

// seal encodes r with a CRC32C in front.
func (r *rules) seal() ([]byte, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	return append(binary.BigEndian.AppendUint32(nil, crc32.Checksum(b, castagnoli)), b...), nil
}

func unsealRules(v []byte) (*rules, error) {
	r := &rules{}
	if v == nil {
		return r, nil
	}
	if len(v) < 4 || binary.BigEndian.Uint32(v) != crc32.Checksum(v[4:], castagnoli) {
		return nil, fmt.Errorf("rules: %w: checksum mismatch", ErrDamaged)
	}
	if err := json.Unmarshal(v[4:], r); err != nil {
		return nil, errors.Join(fmt.Errorf("rules: %w", ErrDamaged), err)
	}
	return r, nil
}
