// Package trie maps filters to values and finds the values whose filter matches a topic.
//
// It is not safe for concurrent use: in the broker each shard owns one and only that shard's goroutine touches it.
// Filters and topics are taken as valid (protocol.ValidateFilter, protocol.ValidateTopic); a wildcard in the first level
// does not match a topic that begins with `$`, as in protocol.Match.
package trie

import "strings"

// Trie holds values by filter. The zero value is empty and ready to use.
//
// A filter without a wildcard is looked up as it is. The others are a tree of levels whose branches lie in one table, so that a level costs
// a place in that, not a table of its own.
type Trie[V any] struct {
	exact    map[string]*node[V] // by the whole filter
	branches map[branch[V]]*node[V]
	root     node[V]
	items    int
	nodes    int
}

// branch is a level below another one.
type branch[V any] struct {
	from *node[V]
	name string
}

// node is one level, or a filter without a wildcard. A value sits in the node that its filter ends in; for a filter that ends in `>` in
// rest of the node before.
type node[V any] struct {
	parent   *node[V] // nil: a filter without a wildcard, or the root
	name     string   // of the level, or the filter
	star     *node[V]
	here     []*Item[V]
	rest     []*Item[V]
	branches int // of its names in Trie.branches
}

// Item is one value's place in a Trie; it makes Remove cost the same whatever the number of values.
type Item[V any] struct {
	Value V
	node  *node[V]
	index int32
	rest  bool
}

// Len is the number of values held.
func (t *Trie[V]) Len() int { return t.items }

// Nodes is the number of levels and whole filters held; it returns to 0 when every value was removed.
func (t *Trie[V]) Nodes() int { return t.nodes }

// Insert adds item under filter. An item is in at most one trie at a time.
func (t *Trie[V]) Insert(filter string, item *Item[V]) {
	t.items++
	if !strings.ContainsAny(filter, "*>") {
		n := t.whole(filter)
		item.place(n, &n.here, false)
		return
	}
	n := &t.root
	for more := true; more; {
		var level string
		level, filter, more = strings.Cut(filter, ".")
		if level == ">" {
			item.place(n, &n.rest, true)
			return
		}
		n = t.child(n, level)
	}
	item.place(n, &n.here, false)
}

func (t *Trie[V]) whole(filter string) *node[V] {
	n := t.exact[filter]
	if n == nil {
		if t.exact == nil {
			t.exact = make(map[string]*node[V])
		}
		n = &node[V]{name: strings.Clone(filter)}
		t.exact[n.name] = n
		t.nodes++
	}
	return n
}

func (t *Trie[V]) child(n *node[V], level string) *node[V] {
	if level == "*" {
		if n.star == nil {
			n.star = &node[V]{parent: n, name: level}
			t.nodes++
		}
		return n.star
	}
	c := t.branches[branch[V]{n, level}]
	if c == nil {
		if t.branches == nil {
			t.branches = make(map[branch[V]]*node[V])
		}
		c = &node[V]{parent: n, name: strings.Clone(level)}
		t.branches[branch[V]{n, c.name}] = c
		n.branches++
		t.nodes++
	}
	return c
}

func (it *Item[V]) place(n *node[V], list *[]*Item[V], rest bool) {
	it.node, it.rest, it.index = n, rest, int32(len(*list))
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

// prune drops what holds nothing any more, from n upwards.
func (t *Trie[V]) prune(n *node[V]) {
	for n != &t.root && n.here == nil && n.rest == nil && n.star == nil && n.branches == 0 {
		t.nodes--
		p := n.parent
		switch {
		case p == nil:
			delete(t.exact, n.name)
			return
		case n == p.star:
			p.star = nil
		default:
			delete(t.branches, branch[V]{p, n.name})
			p.branches--
		}
		n = p
	}
}

// Match calls visit with the values of every filter that matches topic, list by list. visit must not change the trie or keep
// the list. It allocates nothing.
func (t *Trie[V]) Match(topic string, visit func([]*Item[V])) {
	if n := t.exact[topic]; n != nil {
		visit(n.here)
	}
	n := &t.root
	if topic[0] == '$' { // wildcards in the first level do not see reserved topics
		level, rest, more := strings.Cut(topic, ".")
		if c := t.branch(n, level); c != nil {
			t.match(c, rest, more, visit)
		}
		return
	}
	t.match(n, topic, true, visit)
}

func (t *Trie[V]) branch(n *node[V], level string) *node[V] {
	if n.branches == 0 {
		return nil
	}
	return t.branches[branch[V]{n, level}]
}

// match visits what is below n for the levels left in topic; more is false when none is left.
func (t *Trie[V]) match(n *node[V], topic string, more bool, visit func([]*Item[V])) {
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
		if n.star == nil && n.branches == 0 {
			return
		}
		var level string
		level, topic, more = strings.Cut(topic, ".")
		c := t.branch(n, level)
		switch {
		case n.star == nil && c == nil:
			return
		case n.star == nil:
			n = c
		case c == nil:
			n = n.star
		default:
			t.match(c, topic, more, visit)
			n = n.star
		}
	}
}
