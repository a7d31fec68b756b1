package plugintest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/carillon-mq/carillon/plugins/internal/wire"
)

// finding is what was expected and what came, and how often.
type finding struct {
	text  string
	times int
}

// Sentence is one of the contract, as it stands in Where.
type Sentence struct {
	Where string `json:"where"`
	Says  string `json:"says"`
}

// mistake is the part of a finding that is the same each time when the same rule is broken: an answer that breaks the contract does so
// whoever it was about, and whichever part of it came first.
func mistake(text string) string {
	at := strings.Index(text, wire.ErrMalformed.Error())
	if at < 0 {
		return text
	}
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, text[at:])
}

// ownSentences are of findings that come up in cases about something else: words of the finding, and the sentence that it breaks.
var ownSentences = []struct {
	words    string
	sentence Sentence
}{
	{"neither expires_at_ms nor never_expires is set", Sentence{authProto, "True if the credentials do not expire."}},
	{"an identity that never expires has an expiry", Sentence{authProto, "must be 0 when never_expires is set"}},
	{": the expiry ", Sentence{authProto, "When the credentials expire, in Unix milliseconds"}},
	{": issued at ", Sentence{authProto, "When the token was issued, in Unix milliseconds; 0: not known."}},
	{"an identity needs a user", Sentence{authProto, "User id, 1 to 255 bytes; required unless anonymous is set."}},
	{"no action", Sentence{authProto, "At least one; each must be a known one."}},
	{"unknown action", Sentence{authProto, "At least one; each must be a known one."}},
	{": verdict ", Sentence{authProto, "Must be a known one."}},
	{"a time to live of", Sentence{authProto, "For how long the answer holds, either way: 1,000 (1 s) to 86,400,000 (24 h)."}},
	{"until_ms", Sentence{authProto, "Until when the broker has to remember it, in Unix milliseconds: the expiry of the last token that it is about"}},
	{": each opening begins one", Sentence{storeProto, newTerm}},
	{" is not a new one", Sentence{storeProto, newTerm}},
}

const newTerm = "Each time it opens for writing it durably starts a new term, a random id."

// sentence is what f breaks; c's own, unless another one is known.
func (f *finding) sentence(c *Case) Sentence {
	for _, own := range ownSentences {
		if strings.Contains(f.text, own.words) {
			return own.sentence
		}
	}
	return Sentence{c.Where, c.Says}
}

// told is what findings come to in a report: each mistake once, with how often it was made, and each sentence once.
func told(c *Case, findings []finding) (texts []string, reads []Sentence) {
	for i := range findings {
		f := &findings[i]
		text := f.text
		if f.times > 1 {
			text += fmt.Sprintf(" (x%d)", f.times)
		}
		texts = append(texts, text)
		if s := f.sentence(c); !slices.Contains(reads, s) {
			reads = append(reads, s)
		}
	}
	return texts, reads
}
