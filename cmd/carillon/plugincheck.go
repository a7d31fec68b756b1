package main

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/carillon-mq/carillon/cmd/carillon/internal/config"
	"github.com/carillon-mq/carillon/plugins/host"
)

// checkPlugins starts each plugin of c as far as it says what it is, and has its settings held against what it says that it takes. The
// error has a mistake for each plugin that a broker would not start with.
func checkPlugins(ctx context.Context, c *config.Config) error {
	h, err := host.New(host.Options{})
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), pluginCloseTime)
		defer cancel()
		_ = h.Close(ctx) // every process that was started has been waited for
	}()
	specs, err := specsOf(c)
	if err != nil {
		return err
	}
	var wrong config.KeyErrors
	for _, key := range slices.Sorted(maps.Keys(specs)) {
		if err := h.Check(ctx, specs[key]); err != nil {
			wrong = append(wrong, config.KeyError{Key: key, Text: fmt.Sprintf("the plugin would not start: %v", err)})
		}
	}
	if len(wrong) > 0 {
		return wrong
	}
	return nil
}

// specsOf are the plugins that c names, by their keys.
func specsOf(c *config.Config) (map[string]host.Spec, error) {
	specs := map[string]host.Spec{}
	add := func(key, kind string, s host.Spec) {
		s.Kind = kind
		specs[key] = s
	}
	if c.HasAuth() {
		add("auth", host.KindAuth, authSpec(c))
	}
	if c.HasShadow() {
		add("auth.shadow", host.KindAuth, shadowSpec(c))
	}
	if c.HasStore() {
		s, err := storeSpec(c)
		if err != nil {
			return nil, err
		}
		add("store", host.KindStore, s)
	}
	return specs, nil
}
