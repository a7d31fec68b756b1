package plugintest

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/carillon-mq/carillon/broker"
)

// same compares records, or slices or maps of them, and says where they differ first.
func same[R broker.Record | []broker.Record | map[string]broker.Record](t *T, what string, want, got R) {
	if difference := differ(any(want), any(got)); difference != "" {
		t.Errorf("%s: %s", what, difference)
	}
}

func differ(want, got any) string {
	switch w := want.(type) {
	case broker.Record:
		return differRecord(w, got.(broker.Record))
	case []broker.Record:
		return differSlice(w, got.([]broker.Record))
	case map[string]broker.Record:
		return differMap(w, got.(map[string]broker.Record))
	}
	return ""
}

func differRecord(want, got broker.Record) string { return differFields(want, got) }

// differFields names each field of a struct that is not as wanted. A payload, map or key that is nil is one that is empty.
func differFields(want, got any) string {
	var all []string
	w, g := reflect.ValueOf(want), reflect.ValueOf(got)
	for i := range w.NumField() {
		a, b := w.Field(i), g.Field(i)
		switch a.Kind() {
		case reflect.Slice, reflect.Map:
			if a.Len() == 0 && b.Len() == 0 {
				continue
			}
		default:
		}
		if !reflect.DeepEqual(a.Interface(), b.Interface()) {
			all = append(all, fmt.Sprintf("%s: expected %s, got %s", w.Type().Field(i).Name, short(a.Interface()), short(b.Interface())))
		}
	}
	return strings.Join(all, "; ")
}

// short is a value for people.
func short(v any) string {
	switch v := v.(type) {
	case []byte:
		return fmt.Sprintf("%d bytes %s", len(v), cutTo(fmt.Sprintf("%q", v), 60))
	case string:
		return cutTo(fmt.Sprintf("%q", v), 80)
	}
	return cutTo(fmt.Sprint(v), 100)
}

func differSlice(want, got []broker.Record) string {
	for i := range min(len(want), len(got)) {
		if d := differRecord(want[i], got[i]); d != "" {
			return fmt.Sprintf("expected %d records, got %d; number %d differs: %s", len(want), len(got), i+1, d)
		}
	}
	switch {
	case len(want) > len(got):
		return fmt.Sprintf("expected %d records, got %d; the first one that is missing is %s", len(want), len(got), brief(want[len(got)]))
	case len(got) > len(want):
		return fmt.Sprintf("expected %d records, got %d; the first one too many is %s", len(want), len(got), brief(got[len(want)]))
	}
	return ""
}

func brief(r broker.Record) string {
	return fmt.Sprintf("offset %d, ref %d, topic %s, payload %s", r.Offset, r.Ref, short(r.Topic), short(r.Payload))
}

func differMap(want, got map[string]broker.Record) string {
	for _, topic := range slices.Sorted(maps.Keys(want)) {
		r, there := got[topic]
		if !there {
			return fmt.Sprintf("expected %d topics, got %d; %s is missing", len(want), len(got), brief(want[topic]))
		}
		if d := differRecord(want[topic], r); d != "" {
			return fmt.Sprintf("topic %s differs: %s", short(topic), d)
		}
	}
	for _, topic := range slices.Sorted(maps.Keys(got)) {
		if _, wanted := want[topic]; !wanted {
			return fmt.Sprintf("expected %d topics, got %d; %s is one too many", len(want), len(got), brief(got[topic]))
		}
	}
	return ""
}
