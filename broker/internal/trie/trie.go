// Package trie maps filters to values and finds the values whose filter matches a topic.
//
// It is not safe for concurrent use: in the broker each shard owns one and only that shard's goroutine touches it.
// Filters and topics are taken as valid (protocol.ValidateFilter, protocol.ValidateTopic); a wildcard in the first level
// does not match a topic that begins with `$`, as in protocol.Match.
package trie

import "strings"

// Trie holds values by filter. The zero value is empty and ready to use.
type Trie[V any] struct {
	root  node[V]
	items int
	nodes int
}

// node is one level. A value sits in the node that its filter ends in; for a filter that ends in `>` in rest of the node before.
type node[V any] struct {
	parent   *node[V]
	name     string
	children map[string]*node[V]
	star     *node[V]
	here     []*Item[V]
	rest     []*Item[V]
}

// Item is one value's place in a Trie; it makes Remove cost the same whatever the number of values.
type Item[V any] struct {
	Value V
	node  *node[V]
	index int
	rest  bool
}

// Len is the number of values held.
func (t *Trie[V]) Len() int { return t.items }

// Nodes is the number of levels held beside the root; it returns to 0 when every value was removed.
func (t *Trie[V]) Nodes() int { return t.nodes }

// Insert adds item under filter. An item is in at most one trie at a time.
func (t *Trie[V]) Insert(filter string, item *Item[V]) {
	n := &t.root
	for more := true; more; {
		var level string
		level, filter, more = strings.Cut(filter, ".")
		if level == ">" {
			item.place(n, &n.rest, true)
			t.items++
			return
		}
		n = t.child(n, level)
	}
	item.place(n, &n.here, false)
	t.items++
}

func (t *Trie[V]) child(n *node[V], level string) *node[V] {
	if level == "*" {
		if n.star == nil {
			n.star = &node[V]{parent: n, name: level}
			t.nodes++
		}
		return n.star
	}
	c := n.children[level]
	if c == nil {
		c = &node[V]{parent: n, name: strings.Clone(level)}
		if n.children == nil {
			n.children = make(map[string]*node[V], 1)
		}
		n.children[c.name] = c
		t.nodes++
	}
	return c
}

func (it *Item[V]) place(n *node[V], list *[]*Item[V], rest bool) {
	it.node, it.rest, it.index = n, rest, len(*list)
	*list = append(*list, it)
}

// Remove takes item out. It does nothing for an item that is in no trie.
func (t *Trie[V]) Remove(item *Item[V]) {
	n := item.node
	if n == nil {
		return
	}
	list := &n.here
	if item.rest {
		list = &n.rest
	}
	last := len(*list) - 1
	moved := (*list)[last]
	(*list)[item.index] = moved
	moved.index = item.index
	(*list)[last] = nil
	*list = (*list)[:last]
	if last == 0 {
		*list = nil
	}
	item.node = nil
	t.items--
	t.prune(n)
}

// prune drops the levels that hold nothing any more, from n upwards.
func (t *Trie[V]) prune(n *node[V]) {
	for n.parent != nil && n.here == nil && n.rest == nil && n.star == nil && len(n.children) == 0 {
		p := n.parent
		if n.name == "*" {
			p.star = nil
		} else {
			delete(p.children, n.name)
			if len(p.children) == 0 {
				p.children = nil
			}
		}
		t.nodes--
		n = p
	}
}

// Match calls visit with the values of every filter that matches topic, list by list. visit must not change the trie or keep
// the list. It allocates nothing.
func (t *Trie[V]) Match(topic string, visit func([]*Item[V])) {
	n := &t.root
	if topic[0] == '$' { // wildcards in the first level do not see reserved topics
		level, rest, more := strings.Cut(topic, ".")
		if c := n.children[level]; c != nil {
			c.match(rest, more, visit)
		}
		return
	}
	n.match(topic, true, visit)
}

// match visits what is below n for the levels left in topic; more is false when none is left.
func (n *node[V]) match(topic string, more bool, visit func([]*Item[V])) {
	for {
		if !more {
			if n.here != nil {
				visit(n.here)
			}
			return
		}
		if n.rest != nil {
			visit(n.rest)
		}
		if n.star == nil && n.children == nil {
			return
		}
		var level string
		level, topic, more = strings.Cut(topic, ".")
		c := n.children[level]
		switch {
		case n.star == nil && c == nil:
			return
		case n.star == nil:
			n = c
		case c == nil:
			n = n.star
		default:
			c.match(topic, more, visit)
			n = n.star
		}
	}
}
