package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// Topic gives the topics that Match matches a class.
type Topic struct {
	Match   string  `key:"match" doc:"A filter."`
	Class   string  `key:"class" enum:"live,memory,stored" doc:"live: never kept; memory: kept in the ring; stored: committed by the store before anybody gets it, and kept there."`
	History History `key:"history" doc:"Of class stored: what the store keeps of each topic. A message goes from there when it is beyond any of the bounds; without history the newest 1000 are kept."`
	Sync    Sync    `key:"sync" doc:"Of class stored: always, or for how long commits may be gathered. A publish is acknowledged after its commit either way."`
}

// History bounds what the store keeps of each topic of a rule. What is 0 is no bound.
type History struct {
	Count Count    `key:"count" min:"1" doc:"Newest messages."`
	Age   Duration `key:"age" min:"1s" max:"87600h" doc:"Messages of this age and younger."`
	Bytes Size     `key:"bytes" min:"1KiB" doc:"Newest bytes."`
}

// Sync says when commits are made. It is written `always` when Interval is 0, else `{interval: 20ms}`.
type Sync struct {
	Interval Duration `key:"interval" min:"1ms" max:"1s" doc:"Commits are gathered for up to this long."`
}

// stored is the class whose topics have a history.
const stored = "stored"

// always is the word for a Sync without an interval.
const always = "always"

// word reads what is not a section.
func (s *Sync) word(t string) error {
	if t == always {
		*s = Sync{}
		return nil
	}
	if _, err := time.ParseDuration(t); err == nil {
		return fmt.Errorf("%q is not known; write {interval: %s}, or %s", t, t, always)
	}
	return fmt.Errorf("%q is not known%s; want %s, or {interval: 20ms}", t, suggest(t, []string{always}), always)
}

// bounds are the parts of h that bound something, as they are written.
func (h History) bounds() []string {
	var parts []string
	if h.Count != 0 {
		parts = append(parts, "count: "+h.Count.String())
	}
	if h.Age != 0 {
		parts = append(parts, "age: "+h.Age.String())
	}
	if h.Bytes != 0 {
		parts = append(parts, "bytes: "+h.Bytes.String())
	}
	return parts
}

// flow is the rule as one line of YAML.
func (t Topic) flow() string {
	parts := []string{"match: " + strconv.Quote(t.Match), "class: " + scalar(t.Class)}
	if bounds := t.History.bounds(); bounds != nil {
		parts = append(parts, "history: {"+strings.Join(bounds, ", ")+"}")
	}
	switch {
	case t.Sync.Interval != 0:
		parts = append(parts, "sync: {interval: "+t.Sync.Interval.String()+"}")
	case t.Class == stored:
		parts = append(parts, "sync: "+always)
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

func (c *checker) topics() {
	anyStored := false
	for i, t := range c.Topics {
		at := fmt.Sprintf("topics[%d]", i)
		_, hasMatch := c.set[at+".match"] // one that cannot be read has been told
		_, hasClass := c.set[at+".class"]
		switch {
		case !hasMatch:
			c.failf(at, "has no match; write match: and a filter")
		case !hasClass:
			c.failf(at, "has no class; write class: live, class: memory or class: stored")
		case t.Match != "":
			c.filter(at+".match", t.Match)
		}
		if t.Class == stored && (t.Match == "$sys" || strings.HasPrefix(t.Match, "$sys.")) {
			c.failf(at+".match", "%q is of the broker's own topics, to which nobody publishes: there is nothing to store; leave the rule out", t.Match)
		}
		anyStored = anyStored || t.Class == stored
		c.keeping(at, t)
	}
	if anyStored && len(c.Topics) > broker.MaxRetentionRules {
		c.failf("topics", "has %d rules, of which some are of class stored; a store takes at most %d: let one filter stand for several topics",
			len(c.Topics), broker.MaxRetentionRules)
	}
}

// IdleRules says which rules of a good configuration have no effect, because an earlier one matches all that they match.
func (c *Config) IdleRules() []string {
	var idle []string
	for i, t := range c.Topics {
		covers := func(earlier Topic) bool { return protocol.Covers(earlier.Match, t.Match) }
		if by := slices.IndexFunc(c.Topics[:i], covers); by >= 0 {
			idle = append(idle, fmt.Sprintf("topics[%d]: is never reached: topics[%d], %q, matches all that %q does, and the first match wins; put the narrower rule first",
				i, by, c.Topics[by].Match, t.Match))
		}
	}
	return idle
}

// keeping checks what only a stored topic has.
func (c *checker) keeping(at string, t Topic) {
	_, hasHistory := c.set[at+".history"]
	_, hasSync := c.set[at+".sync"]
	switch {
	case t.Class == stored:
		if !c.HasStore() {
			c.failf(at+".class", "stored needs a store, and store.plugin is none; write store.plugin: store-bolt, or class: memory")
		}
		if hasHistory && !c.tried(at+".history") {
			c.failf(at+".history", "bounds nothing; write count, age or bytes, such as {count: 1000, age: 168h}, or leave it out: the newest 1000 are kept then")
		}
		return
	case t.Class == "": // missing or not known, which has been told
		return
	}
	if hasHistory {
		c.failf(at+".history", "is for class stored; this rule is of class %s, whose topics have no history: write class: stored, or leave it out", t.Class)
	}
	if hasSync {
		c.failf(at+".sync", "is for class stored; this rule is of class %s, which nothing commits: write class: stored, or leave it out", t.Class)
	}
}

// tried reports whether a key of the section at path was written, be its value good or not.
func (c *checker) tried(path string) bool {
	for key := range c.set {
		if strings.HasPrefix(key, path+".") {
			return true
		}
	}
	return false
}

// sync decodes the word or the section.
func (d *decoder) sync(n ast.Node, v reflect.Value, path string) {
	if text, ok := scalarText(n); ok {
		if err := v.Addr().Interface().(*Sync).word(text); err != nil {
			d.fail(n, path, "%v", err)
		}
		return
	}
	before := len(d.problems)
	d.section(n, v, path+".")
	if len(d.problems) == before && v.IsZero() {
		d.fail(n, path, "is empty; want %s, or {interval: 20ms}", always)
	}
}
