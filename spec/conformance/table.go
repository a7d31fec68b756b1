package conformance

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/carillon-mq/carillon/spec"
)

// form is a packet's row in the table of section 4: what the player encodes and checks packets by. A packet that the table gains is
// known to the player with no change of its own.
type form struct {
	number         int
	name           string
	client, server bool // may send it
	fields         []member
	options        []member
}

// member is a field or an option.
type member struct {
	name, typ string // int, str, bin, bool, map, array
	null      bool   // may be nil
}

var (
	tableRow = regexp.MustCompile(`^\| (\d+) \| \[?([A-Za-z]+)(?:\]\([^)]*\))? \| (client|server|both) \| ([^|]*)\| ([^|]*)\|$`)
	forms    = parseTable(spec.Protocol)
)

// table has the forms by name and by number.
type table struct {
	byName   map[string]*form
	byNumber map[int]*form
}

func parseTable(text string) table {
	t := table{map[string]*form{}, map[int]*form{}}
	for line := range strings.Lines(text) {
		m := tableRow.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if m == nil {
			continue
		}
		number, err := strconv.Atoi(m[1])
		if err != nil {
			continue
		}
		f := &form{number: number, name: m[2], client: m[3] != "server", server: m[3] != "client", fields: members(m[4]), options: members(m[5])}
		if of, said := strings.CutPrefix(strings.TrimSpace(m[5]), "those of "); said && t.byName[of] != nil {
			f.options = t.byName[of].options
		}
		t.byName[f.name], t.byNumber[number] = f, f
	}
	return t
}

// members reads `id int or nil, topic str`.
func members(text string) []member {
	var all []member
	for part := range strings.SplitSeq(text, ",") {
		words := strings.Fields(part)
		if len(words) < 2 {
			continue
		}
		all = append(all, member{name: words[0], typ: words[1], null: strings.HasSuffix(strings.Join(words, " "), " or nil")})
	}
	return all
}

func (f *form) member(name string) (member, bool) {
	for _, all := range [][]member{f.fields, f.options} {
		for _, m := range all {
			if m.name == name {
				return m, true
			}
		}
	}
	return member{}, false
}

// check reports whether v, as it came from the wire, is of the member's type.
func (m member) check(v any) error {
	ok := true
	switch m.typ {
	case "int":
		n, whole := integer(v)
		ok = whole && n >= 0
	case "str":
		_, ok = v.(string)
	case "bin":
		_, ok = v.(bin)
		if _, str := v.(string); str && m.name == "payload" { // [ENC-13]
			ok = true
		}
	case "bool":
		_, ok = v.(bool)
	case "array":
		_, ok = v.([]any)
	case "map":
		_, ok = v.(map[string]any)
		if list, empty := v.([]any); empty && len(list) == 0 { // [ENC-8]
			ok = true
		}
	}
	if !ok && (v != nil || !m.null) {
		return fmt.Errorf("%s is %s, which is no %s", m.name, show(v), m.typ)
	}
	return nil
}
