package host

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// schemaURL stands for the plugin's schema; nothing is ever fetched.
const schemaURL = "carillon:config"

// checkConfig checks a configuration against the plugin's JSON Schema; an empty schema takes any object. The error names the
// keys that are wrong and what is wrong with each, and never shows a value.
func checkConfig(schema string, config []byte) error {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(config))
	if err != nil {
		return fmt.Errorf("configuration: not JSON: %w", err)
	}
	if _, ok := value.(map[string]any); !ok {
		return errors.New("configuration: wanted an object")
	}
	if schema == "" {
		return nil
	}
	compiled, err := compileSchema(schema)
	if err != nil {
		return fmt.Errorf("the plugin's schema of its configuration is wrong: %s", printable(err.Error(), maxText))
	}
	err = compiled.Validate(value)
	if invalid, ok := errors.AsType[*jsonschema.ValidationError](err); ok {
		faults := slices.Compact(faultsOf(invalid, nil))
		return fmt.Errorf("configuration refused: %s", strings.Join(faults[:min(len(faults), 5)], "; "))
	}
	return err
}

func compileSchema(schema string) (*jsonschema.Schema, error) {
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(schema))
	if err != nil {
		return nil, err
	}
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(noLoader{})
	if err := compiler.AddResource(schemaURL, document); err != nil {
		return nil, err
	}
	return compiler.Compile(schemaURL)
}

// noLoader refuses references to other documents.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("a reference to another document, %q", url)
}

// faultsOf lists what is wrong where, innermost causes only.
func faultsOf(e *jsonschema.ValidationError, to []string) []string {
	if len(e.Causes) > 0 {
		for _, cause := range e.Causes {
			to = faultsOf(cause, to)
		}
		return to
	}
	where := keyOf(e.InstanceLocation)
	switch k := e.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		for _, key := range k.Properties {
			to = append(to, join(where, key)+": unknown key")
		}
		return to
	case *kind.Required:
		for _, key := range k.Missing {
			to = append(to, join(where, key)+": missing")
		}
		return to
	}
	if where == "" {
		where = "configuration"
	}
	return append(to, where+": "+faultOf(e.ErrorKind))
}

// faultOf says what a keyword wants. Values, which may be secrets, stay out of it.
func faultOf(fault jsonschema.ErrorKind) string {
	switch k := fault.(type) {
	case *kind.Type:
		return fmt.Sprintf("found %s, wanted %s", k.Got, strings.Join(k.Want, " or "))
	case *kind.Enum:
		return fmt.Sprintf("wanted one of %v", k.Want)
	case *kind.Const:
		return fmt.Sprintf("wanted %v", k.Want)
	case *kind.Pattern:
		return "wanted a match of " + k.Want
	case *kind.Format:
		return "wanted a " + k.Want
	case *kind.MinLength:
		return fmt.Sprintf("found %d characters, wanted at least %d", k.Got, k.Want)
	case *kind.MaxLength:
		return fmt.Sprintf("found %d characters, wanted at most %d", k.Got, k.Want)
	case *kind.MinItems:
		return fmt.Sprintf("found %d items, wanted at least %d", k.Got, k.Want)
	case *kind.MaxItems:
		return fmt.Sprintf("found %d items, wanted at most %d", k.Got, k.Want)
	case *kind.MinProperties:
		return fmt.Sprintf("found %d keys, wanted at least %d", k.Got, k.Want)
	case *kind.MaxProperties:
		return fmt.Sprintf("found %d keys, wanted at most %d", k.Got, k.Want)
	case *kind.Minimum:
		return "wanted at least " + k.Want.RatString()
	case *kind.Maximum:
		return "wanted at most " + k.Want.RatString()
	case *kind.ExclusiveMinimum:
		return "wanted more than " + k.Want.RatString()
	case *kind.ExclusiveMaximum:
		return "wanted less than " + k.Want.RatString()
	case *kind.FalseSchema:
		return "not allowed"
	}
	return "against the schema's " + strings.Join(fault.KeywordPath(), ".")
}

// keyOf writes a place in the configuration as people do: keys[0].alg.
func keyOf(location []string) string {
	var b strings.Builder
	for _, part := range location {
		if _, err := strconv.Atoi(part); err == nil {
			fmt.Fprintf(&b, "[%s]", part)
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(part)
	}
	return b.String()
}

func join(where, key string) string {
	if where == "" {
		return key
	}
	return where + "." + key
}
