package plugintest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// configureCases are about the configuration and the health.
var configureCases = []Case{
	{
		Name: "its schema is one, and takes its configuration", run: testSchema,
		Does:  "compiles the schema of Describe without reaching for other documents, and checks the configuration against it",
		Says:  "JSON Schema (draft 2020-12) of the configuration.",
		Where: commonProto,
	},
	{
		Name: "a wrong configuration is refused for good, by key", Own: true, run: testBadConfig,
		Does: "configures it with values of the wrong type for each key of its schema, past the broker's own check, and with what the author knows to be wrong " +
			"(Plugin.BadConfigs, --bad-config)",
		Says:  "INVALID_ARGUMENT: the configuration is wrong.",
		Where: commonProto,
	},
	{
		Name: "it is configured once", Own: true, run: testConfiguredTwice,
		Does:  "calls Configure again",
		Says:  "FAILED_PRECONDITION from a second call: already configured.",
		Where: commonProto,
	},
	{
		Name: "its health is told at once", run: testHealth,
		Does:  "asks for the health 50 times, each time with the deadline of a broker",
		Says:  "It is asked once a second and must answer at once.",
		Where: commonProto,
	},
	{
		Name: "a call that it does not know is answered", run: testUnknownCall,
		Does: "makes a call of a later version of the contract, and asks for the health",
		Says: "Within it messages only gain fields and services only gain calls",
	},
}

// compile makes a schema, without documents from elsewhere.
func compile(schema string) (*jsonschema.Schema, error) {
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(schema))
	if err != nil {
		return nil, err
	}
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(noLoader{})
	if err := compiler.AddResource("plugin:config", document); err != nil {
		return nil, err
	}
	return compiler.Compile("plugin:config")
}

type noLoader struct{}

// Load refuses references to other documents.
func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("a reference to another document, %q", url)
}

func testSchema(t *T) {
	config, err := jsonschema.UnmarshalJSON(strings.NewReader(string(configIn(t.about.config, "/folder"))))
	if err != nil {
		t.Fatalf("the configuration is not JSON: %v", err)
	}
	if t.about.Schema == "" {
		return
	}
	schema, err := compile(t.about.Schema)
	if err != nil {
		t.Fatalf("expected a JSON Schema, got: %v", err)
	}
	if err := schema.Validate(config); err != nil {
		t.Errorf("expected that the configuration is right by its schema, got: %v", err)
	}
}

// marker stands in wrong values, which are no business of a log.
const marker = "s3cret-of-a-configuration"

// wrongConfigs are configurations by the key that is wrong in each: what the author has named, and wrong types.
func wrongConfigs(t *T) (byKey map[string]string, relying map[string]bool) {
	byKey, relying = maps.Clone(t.plugin.BadConfigs), map[string]bool{}
	if byKey == nil {
		byKey = map[string]string{}
	}
	var schema struct{ Properties map[string]struct{ Type any } }
	var config map[string]any
	if json.Unmarshal([]byte(t.about.Schema), &schema) != nil || json.Unmarshal([]byte(t.about.config), &config) != nil {
		return byKey, relying
	}
	for key, property := range schema.Properties {
		if _, known := byKey[key]; known || property.Type == nil {
			continue
		}
		var wrong any = []any{marker}
		if types := fmt.Sprint(property.Type); strings.Contains(types, "array") {
			if strings.Contains(types, "object") {
				continue
			}
			wrong = map[string]any{"wrong": marker}
		}
		changed := maps.Clone(config)
		changed[key] = wrong
		text, err := json.Marshal(changed)
		if err == nil {
			byKey[key], relying[key] = string(text), true
		}
	}
	return byKey, relying
}

func testBadConfig(t *T) {
	byKey, relying := wrongConfigs(t)
	if len(byKey) == 0 {
		t.Skipf("its schema has no keys, and no wrong configuration is known: give one with --bad-config KEY=JSON (Plugin.BadConfigs)")
	}
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		in := t.open()
		err := in.configure(t.ctx, configIn(byKey[key], t.dataDir()))
		text := status.Convert(err).Message()
		switch code := status.Code(err); {
		case code == codes.OK && relying[key]: // the broker's check by the schema comes first
		case code != codes.InvalidArgument:
			t.Errorf("%s is wrong: expected INVALID_ARGUMENT, got %v %q", key, code, cutTo(text, 200))
		case !strings.Contains(text, key):
			t.Errorf("%s is wrong: expected that the message names the key, got %q", key, cutTo(text, 200))
		case strings.Contains(text, marker):
			t.Errorf("%s is wrong: expected that the message shows no value, which may be a secret, got %q", key, cutTo(text, 200))
		}
		t.closed(in)
	}
}

func testConfiguredTwice(t *T) {
	dir := t.dataDir()
	in := t.start(dir)
	err := in.configure(t.ctx, configIn(t.about.config, dir))
	if status.Code(err) != codes.FailedPrecondition {
		t.Errorf("expected FAILED_PRECONDITION from the second Configure, got %v %q", status.Code(err), cutTo(status.Convert(err).Message(), 200))
	}
	if err := in.serving(t.ctx); err != nil {
		t.Errorf("health afterwards: %v", err)
	}
}

func testHealth(t *T) {
	in := t.start(t.dataDir())
	for range 50 {
		if err := in.serving(t.ctx); err != nil {
			t.Fatal(err)
		}
	}
}

func testUnknownCall(t *T) {
	in := t.start(t.dataDir())
	ctx, cancel := context.WithTimeout(t.ctx, 5*time.Second)
	defer cancel()
	err := in.conn.Invoke(ctx, "/carillon.plugin.common.v1.PluginService/OfALaterVersion", &emptypb.Empty{}, &emptypb.Empty{})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("expected UNIMPLEMENTED, got %v", err)
	}
	if err := in.serving(t.ctx); err != nil {
		t.Errorf("health afterwards: %v", err)
	}
}
