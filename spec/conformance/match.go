package conformance

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// variables are what a script knows by name. A name that a script expects before it is known takes what is found.
type variables map[string]any

var variable = regexp.MustCompile(`\$(\$|[a-z][a-z0-9_]*)`)

// fill returns v with the variables in every text replaced. A text that is a variable and nothing else becomes its value.
func (vars variables) fill(v any) (any, error) {
	switch v := v.(type) {
	case string:
		return vars.fillText(v)
	case []any:
		list := make([]any, 0, len(v))
		for _, e := range v {
			e, err := vars.fill(e)
			if err != nil {
				return nil, err
			}
			list = append(list, e)
		}
		return list, nil
	case map[string]any:
		m := make(map[string]any, len(v))
		for key, e := range v {
			e, err := vars.fill(e)
			if err != nil {
				return nil, err
			}
			m[key] = e
		}
		return m, nil
	}
	return v, nil
}

func (vars variables) fillText(text string) (any, error) {
	if name, whole := variableName(text); whole {
		v, known := vars[name]
		if !known {
			return nil, fmt.Errorf("$%s is not known here", name)
		}
		return v, nil
	}
	var err error
	filled := variable.ReplaceAllStringFunc(text, func(name string) string {
		if name == "$$" {
			return "$"
		}
		v, known := vars[name[1:]]
		if !known {
			err = fmt.Errorf("%s is not known here", name)
		}
		return fmt.Sprint(v)
	})
	return filled, err
}

// text is fillText for what has to be one.
func (vars variables) text(written string) (string, error) {
	v, err := vars.fillText(written)
	if err != nil {
		return "", err
	}
	return fmt.Sprint(v), nil
}

func variableName(text string) (string, bool) {
	m := variable.FindString(text)
	return strings.TrimPrefix(m, "$"), m == text && m != "" && m != "$$"
}

// match reports how found differs from what a script wants, and nil if it does not. What the script does not name is not looked at.
// Variables that are not known yet are set, also when something else differs.
func (vars variables) match(want, found any) error {
	switch want := want.(type) {
	case string:
		return vars.matchText(want, found)
	case map[string]any:
		_, presence := want["present"]
		if inner, ok := found.(map[string]any); ok && !presence || found == nil && !isMatcher(want) {
			return vars.matchMap(want, inner)
		}
		return vars.matchAs(want, found)
	case []any:
		list, ok := found.([]any)
		if !ok || len(list) != len(want) {
			return differs(want, found)
		}
		for i := range want {
			if err := vars.match(want[i], list[i]); err != nil {
				return fmt.Errorf("element %d: %w", i, err)
			}
		}
		return nil
	case bool:
		if found == nil && !want { // an option with its default is left out
			return nil
		}
	}
	if !same(want, found) {
		return differs(want, found)
	}
	return nil
}

// trueUnlessSaid are the options whose default is true ([SUB-1]).
var trueUnlessSaid = map[string]bool{"retained": true}

func (vars variables) matchMap(want, found map[string]any) error {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		v, given := found[name]
		if !given && want[name] == false && trueUnlessSaid[name] {
			v = true
		}
		if err := vars.match(want[name], v); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (vars variables) matchText(want string, found any) error {
	if name, whole := variableName(want); whole {
		known, ok := vars[name]
		if !ok && found == nil {
			return fmt.Errorf("found nothing that $%s could stand for", name)
		}
		if !ok {
			vars[name] = found
			return nil
		}
		if !same(known, found) {
			return fmt.Errorf("found %s, wanted $%s, which is %s", show(found), name, show(known))
		}
		return nil
	}
	filled, err := vars.text(want)
	if err != nil {
		return err
	}
	if found != filled && !sameHex(filled, found) {
		return differs(filled, found)
	}
	return nil
}

// sameHex reports whether want is another way to write the hex that was found.
func sameHex(want string, found any) bool {
	text, ok := found.(string)
	if !ok || !strings.ContainsAny(want, "* ") {
		return false
	}
	b, err := parseHex(want)
	return err == nil && fmt.Sprintf("%x", b) == text
}

// same compares scalars; integers of any kind by value.
func same(a, b any) bool {
	x, aNumber := integer(a)
	y, bNumber := integer(b)
	if aNumber && bNumber {
		return x == y
	}
	return aNumber == bNumber && show(a) == show(b)
}

func differs(want, found any) error {
	if found == nil {
		return fmt.Errorf("found nothing, wanted %s", show(want))
	}
	return fmt.Errorf("found %s, wanted %s", show(found), show(want))
}

// matchers are what may stand in place of a value, each with what it is given.
var matchers = map[string]func(arg, found any) (bool, error){
	"present":  func(arg, found any) (bool, error) { return (found != nil) == (arg == true), nil },
	"above":    compare(func(found, arg int64) bool { return found > arg }),
	"below":    compare(func(found, arg int64) bool { return found < arg }),
	"at_least": compare(func(found, arg int64) bool { return found >= arg }),
	"at_most":  compare(func(found, arg int64) bool { return found <= arg }),
	"not":      func(arg, found any) (bool, error) { return !same(arg, found), nil },
	"one_of": func(arg, found any) (bool, error) {
		list, _ := arg.([]any)
		return slices.ContainsFunc(list, func(v any) bool { return same(v, found) }), nil
	},
	"contains": func(arg, found any) (bool, error) {
		return strings.Contains(fmt.Sprint(found), fmt.Sprint(arg)), nil
	},
	"length": func(arg, found any) (bool, error) {
		text, ok := found.(string)
		return ok && same(arg, len(text)), nil
	},
}

// placeParts are the matchers that look at a part of a position. What they are given is matched in its turn.
var placeParts = []string{"epoch", "seq", "term", "offset"}

func isMatcher(want map[string]any) bool {
	for name := range want {
		if matchers[name] == nil && !slices.Contains(placeParts, name) {
			return false
		}
	}
	return len(want) > 0
}

func compare(f func(found, arg int64) bool) func(any, any) (bool, error) {
	return func(arg, found any) (bool, error) {
		a, ok1 := integer(arg)
		v, ok2 := integer(found)
		if !ok1 {
			return false, fmt.Errorf("%s is no number to compare with", show(arg))
		}
		return ok2 && f(v, a), nil
	}
}

// matchPlace matches one part of a position.
func (vars variables) matchPlace(part int, arg, found any) error {
	text, _ := found.(string)
	p, err := parsePlace(text)
	if err != nil {
		return err
	}
	return vars.match(arg, []any{p.Epoch.String(), int64(p.Seq), p.Term.String(), int64(p.Offset)}[part])
}

// matchAs applies matchers to a value that is no map.
func (vars variables) matchAs(want map[string]any, found any) error {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if i := slices.Index(placeParts, name); i >= 0 {
			if err := vars.matchPlace(i, want[name], found); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			continue
		}
		f := matchers[name]
		if f == nil {
			return fmt.Errorf("found %s, wanted %s; %q is no matcher", show(found), show(want), name)
		}
		arg, err := vars.fill(want[name])
		if err != nil {
			return err
		}
		ok, err := f(arg, found)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if !ok {
			return differs(map[string]any{name: arg}, found)
		}
	}
	return nil
}
