package apidoc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// anywhere are headers that say nothing of this API.
var anywhere = []string{"Connection", "Content-Length", "Content-Type", "Date", "Transfer-Encoding", "Vary"}

// checkHeaders holds the headers against those of the response that where leads to.
func (d *Document) checkHeaders(resp *http.Response, where []string) error {
	headers, _ := d.at(append(slices.Clone(where), "headers")...).(map[string]any)
	documented := map[string]bool{}
	for name := range headers {
		documented[http.CanonicalHeaderKey(name)] = true
		header, place := d.follow(append(slices.Clone(where), "headers", name)...)
		value := strings.Join(resp.Header.Values(name), ", ")
		if value == "" {
			if header["required"] == true {
				return fmt.Errorf("there is no header %s", name)
			}
			continue
		}
		if err := d.validate(asValue(header, value), append(slices.Clone(place), "schema")...); err != nil {
			return fmt.Errorf("the header %s: %w", name, err)
		}
	}
	for name := range resp.Header {
		if !documented[name] && !slices.Contains(anywhere, name) && !strings.HasPrefix(name, "Access-Control-") {
			return fmt.Errorf("the header %s is not in the document", name)
		}
	}
	return nil
}

// asValue is a header's value as its schema wants it.
func asValue(header map[string]any, value string) any {
	schema, _ := header["schema"].(map[string]any)
	if _, err := strconv.Atoi(value); err == nil && schema["type"] == "integer" {
		return json.Number(value)
	}
	return value
}

// checkBody holds the body against the response that where leads to, and returns the code of a problem document.
func (d *Document) checkBody(method string, resp *http.Response, body []byte, where []string) (code string, err error) {
	content, _ := d.at(append(slices.Clone(where), "content")...).(map[string]any)
	if len(content) == 0 || method == http.MethodHead {
		if len(body) > 0 {
			return "", errors.New("there is a body")
		}
		return "", nil
	}
	mediaType, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		return "", fmt.Errorf("Content-Type %q: %w", resp.Header.Get("Content-Type"), err)
	}
	if content[mediaType] == nil {
		if mediaType = "*/*"; content[mediaType] == nil {
			return "", fmt.Errorf("a body of type %q is not in the document", resp.Header.Get("Content-Type"))
		}
	}
	at := append(slices.Clone(where), "content", mediaType)
	switch mediaType {
	case "*/*":
		return "", nil
	case "text/event-stream":
		return "", d.checkStream(string(body), append(at, "x-carillon-events"))
	case "application/json", "application/problem+json":
	default:
		return "", d.validate(string(body), append(at, "schema")...)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	if err := d.validate(v, append(at, "schema")...); err != nil || mediaType == "application/json" {
		return "", err
	}
	problem, _ := v.(map[string]any)
	code, _ = problem["code"].(string)
	if title := http.StatusText(resp.StatusCode); problem["title"] != title || fmt.Sprint(problem["status"]) != fmt.Sprint(resp.StatusCode) {
		return code, fmt.Errorf("the document says %v %v, the answer %d %s", problem["status"], problem["title"], resp.StatusCode, title)
	}
	return code, nil
}

// checkStream holds the events of a stream, which may break off in the middle of one, against those that the document has.
func (d *Document) checkStream(text string, where []string) error {
	events := strings.Split(text, "\n\n")
	for i, event := range events[:len(events)-1] {
		if err := d.checkEvent(event, where); err != nil {
			return fmt.Errorf("event %d, %q: %w", i+1, event, err)
		}
	}
	return nil
}

func (d *Document) checkEvent(event string, where []string) error {
	fields := map[string]string{}
	for line := range strings.SplitSeq(event, "\n") {
		name, value, _ := strings.Cut(line, ":")
		if name != "" { // a comment
			fields[name] = strings.TrimPrefix(value, " ")
		}
	}
	for name := range fields {
		if !slices.Contains([]string{"event", "data", "id", "retry"}, name) {
			return fmt.Errorf("the field %q is none of an event", name)
		}
	}
	if id, has := fields["id"]; has {
		if err := d.validate(id, "components", "schemas", "Cursor"); err != nil {
			return err
		}
	}
	if _, err := strconv.Atoi(fields["retry"]); err != nil && fields["retry"] != "" {
		return err
	}
	name, has := fields["event"]
	if !has {
		if fields["data"] != "" {
			return errors.New("there is data without an event")
		}
		return nil
	}
	at := append(slices.Clone(where), name)
	documented, _ := d.at(at...).(map[string]any)
	if documented == nil {
		return errors.New("the event is not in the document")
	}
	if _, id := fields["id"]; id && documented["id"] == "never" || !id && documented["id"] == "always" {
		return fmt.Errorf("whether there is an id: found %t, wanted %s", id, documented["id"])
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(fields["data"]))
	if err != nil {
		return err
	}
	_, at = d.follow(append(at, "data")...)
	return d.validate(v, at...)
}

// Unseen are the answers that the document has and nobody has checked: each status of each operation, and each code of each problem document.
func (d *Document) Unseen() []Answer {
	var all []Answer
	for _, o := range d.Operations() {
		m := strings.ToLower(o.Method)
		responses, _ := d.at("paths", o.Path, m, "responses").(map[string]any)
		for status := range responses {
			_, where := d.follow("paths", o.Path, m, "responses", status)
			codes := d.codes(where)
			for _, code := range codes {
				all = append(all, Answer{o.ID, status, code})
			}
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	all = slices.DeleteFunc(all, func(a Answer) bool { return d.seen[a] > 0 })
	slices.SortFunc(all, func(a, b Answer) int { return strings.Compare(a.String(), b.String()) })
	return all
}

// codes are those that a problem document of a response may have; one empty one if it is no problem document.
func (d *Document) codes(where []string) []string {
	at := append(slices.Clone(where), "content", "application/problem+json", "schema")
	schema, _ := d.at(at...).(map[string]any)
	if schema == nil {
		return []string{""}
	}
	if schema["properties"] == nil {
		schema, _ = d.follow("components", "schemas", "TokenProblem")
		if ref, _ := d.at(append(at, "$ref")...).(string); ref != "#/components/schemas/TokenProblem" {
			return []string{""}
		}
	}
	return enum(schema)
}

func enum(schema map[string]any) (codes []string) {
	properties, _ := schema["properties"].(map[string]any)
	code, _ := properties["code"].(map[string]any)
	list, _ := code["enum"].([]any)
	for _, v := range list {
		if s, ok := v.(string); ok {
			codes = append(codes, s)
		}
	}
	return codes
}
