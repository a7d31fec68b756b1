package main

import (
	"fmt"
	"strings"

	"github.com/carillon-mq/carillon/protocol"
)

const (
	codesBegin = "<!-- codes: made by go run ./spec/internal/gen from protocol/code_table.go -->\n"
	codesEnd   = "<!-- /codes -->\n"
)

// ranges head the sections of docs/codes.md.
var ranges = []struct {
	from          protocol.Code
	title, advice string
}{
	{4000, "The session ends; reconnect after a delay", "An SDK does so by itself and resumes."},
	{4100, "The session ends; reconnect with a fresh token", "An SDK asks the application for one and resumes."},
	{4200, "The session ends; do not reconnect", "Trying again would fail in the same way. An SDK stops and reports the code."},
	{4300, "The request failed; later it may work", "The session goes on."},
	{4400, "The request failed and will fail again unchanged", "The session goes on."},
	{4500, "Answers of the HTTP API and of the upgrade alone", "They never come over a WebSocket."},
}

// replaceCodes puts the table of codes between its marks in the text.
func replaceCodes(text string) (string, error) {
	before, rest, begun := strings.Cut(text, codesBegin)
	_, after, ended := strings.Cut(rest, codesEnd)
	if !begun || !ended {
		return "", fmt.Errorf("%s: the marks of the table of codes are missing", specPath)
	}
	return before + codesBegin + codesTable() + codesEnd + after, nil
}

func codesTable() string {
	var b strings.Builder
	b.WriteString("\n| code | name | closes | try again | HTTP | meaning |\n|---|---|---|---|---|---|\n")
	for _, c := range protocol.Codes() {
		fmt.Fprintf(&b, "| %d | `%s` | %s | %s | %s | %s |\n", c.Code, c.Name, yes(c.Code.Closes()), again(c.Code), status(c), c.Meaning)
	}
	b.WriteString("\n")
	return b.String()
}

func yes(v bool) string {
	if v {
		return "yes"
	}
	return ""
}

func again(c protocol.Code) string {
	switch {
	case c.NeedsToken():
		return "with a fresh token"
	case c.Retry():
		return "later"
	}
	return ""
}

func status(c protocol.CodeInfo) string {
	if c.HTTP == 0 {
		return ""
	}
	return fmt.Sprint(c.HTTP)
}

// codesPage is docs/codes.md.
func codesPage() []byte {
	var b strings.Builder
	b.WriteString(`# Codes

Every refusal and every end of a session has a code: a number, which is also the WebSocket close code, and a name, which is also the
` + "`code`" + ` of an HTTP error. The detail that comes with it says what was found and what was wanted.

<!-- Made by go run ./spec/internal/gen from protocol/code_table.go. -->
`)
	for i, r := range ranges {
		fmt.Fprintf(&b, "\n## %dxx: %s\n\n%s\n", r.from/100, r.title, r.advice)
		for _, c := range protocol.Codes() {
			if c.Code < r.from || i+1 < len(ranges) && c.Code >= ranges[i+1].from {
				continue
			}
			fmt.Fprintf(&b, "\n### %d %s\n\n%s", c.Code, c.Name, c.Meaning)
			if c.HTTP != 0 {
				fmt.Fprintf(&b, " HTTP status %d.", c.HTTP)
			}
			fmt.Fprintf(&b, "\n\n- Likely cause: %s\n- What to do: %s\n", c.Cause, c.Action)
		}
	}
	return []byte(b.String())
}

// codeVectors is the table for programs in other languages.
func codeVectors() []byte {
	b := []byte("[\n")
	for i, c := range protocol.Codes() {
		if i > 0 {
			b = append(b, ",\n"...)
		}
		b = append(b, encode(struct {
			Code       protocol.Code `json:"code"`
			Name       string        `json:"name"`
			Closes     bool          `json:"closes"`
			Retry      bool          `json:"retry"`
			NeedsToken bool          `json:"needs_token"`
			HTTP       int           `json:"http,omitempty"`
		}{c.Code, c.Name, c.Code.Closes(), c.Code.Retry(), c.Code.NeedsToken(), c.HTTP})...)
	}
	return append(b, "\n]\n"...)
}
