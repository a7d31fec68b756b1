package main

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/bufbuild/protocompile/linker"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// referencePath is the page of the plugin contracts that people read.
const referencePath = "docs/plugins/reference.md"

// referenceHead stands on top of the page.
const referenceHead = `<!-- Made by tools/protogen from spec/plugin/*/v1/*.proto; change those and run: make generate -->

# Plugins: the reference

Every call and every message of the contracts, in the words of the .proto files. What stands around the calls (the start, the handshake, the end) is
in [spec/plugin.md](../../spec/plugin.md); what a plugin is and when it is asked is in [README.md](README.md).
`

// referencePage is the contracts as one page of Markdown: the calls in a table, then each contract with its calls and messages.
func referencePage(files linker.Files) string {
	var b strings.Builder
	b.WriteString(referenceHead)
	b.WriteString("\n## The calls\n\n| call | of | asks with | answers with | deadline |\n|---|---|---|---|---|\n")
	for _, file := range files {
		for _, call := range calls(file) {
			fmt.Fprintf(&b, "| [`%s`](#%s) | %s | %s | %s | %s |\n", call.Name(), anchor(string(call.Name())), kindOf(file),
				streamed(call.IsStreamingClient(), call.Input()), streamed(call.IsStreamingServer(), call.Output()), deadline(comment(call)))
		}
	}
	for _, file := range files {
		fmt.Fprintf(&b, "\n## `%s`\n\nFile [`%s`](../../spec/%[2]s). %s\n", file.Package(), file.Path(), prose(packageComment(file)))
		services, messages := file.Services(), file.Messages()
		for i := range services.Len() {
			fmt.Fprintf(&b, "\n### %s\n\n%s\n", services.Get(i).Name(), prose(comment(services.Get(i))))
		}
		for _, call := range calls(file) {
			fmt.Fprintf(&b, "\n#### %s\n\n%s → %s\n\n%s\n", call.Name(), streamed(call.IsStreamingClient(), call.Input()),
				streamed(call.IsStreamingServer(), call.Output()), prose(comment(call)))
		}
		for i := range messages.Len() {
			writeMessage(&b, messages.Get(i), "")
		}
	}
	return b.String()
}

// calls lists what the services of a file offer.
func calls(file protoreflect.FileDescriptor) []protoreflect.MethodDescriptor {
	var list []protoreflect.MethodDescriptor
	for i := range file.Services().Len() {
		methods := file.Services().Get(i).Methods()
		for j := range methods.Len() {
			list = append(list, methods.Get(j))
		}
	}
	return list
}

// kindOf is the kind of plugin that serves the calls of a file: carillon.plugin.auth.v1 is auth.
func kindOf(file protoreflect.FileDescriptor) string {
	if kind := string(file.Package().Parent().Name()); kind != "common" {
		return kind
	}
	return "every plugin"
}

func streamed(is bool, message protoreflect.MessageDescriptor) string {
	if is {
		return "stream of " + link(message)
	}
	return link(message)
}

// writeMessage writes a message that says anything, with its enums and the messages in it behind it.
func writeMessage(b *strings.Builder, message protoreflect.MessageDescriptor, in string) {
	if message.IsMapEntry() {
		return
	}
	name := in + string(message.Name())
	fmt.Fprintf(b, "\n#### %s\n\n", name)
	if text := comment(message); text != "" {
		b.WriteString(prose(text) + "\n\n")
	}
	if message.Fields().Len() == 0 {
		b.WriteString("It has no fields.\n")
	} else {
		b.WriteString("| field | number | type | what it says |\n|---|---|---|---|\n")
	}
	for i := range message.Fields().Len() {
		field := message.Fields().Get(i)
		text := comment(field)
		if one := field.ContainingOneof(); one != nil && !one.IsSynthetic() {
			text = strings.TrimSpace(fmt.Sprintf("One of `%s`. %s", one.Name(), text))
		}
		fmt.Fprintf(b, "| `%s` | %d | %s | %s |\n", field.Name(), field.Number(), typeName(field), cell(text))
	}
	for i := range message.Enums().Len() {
		writeEnum(b, message.Enums().Get(i), name+".")
	}
	for i := range message.Messages().Len() {
		writeMessage(b, message.Messages().Get(i), name+".")
	}
}

func writeEnum(b *strings.Builder, enum protoreflect.EnumDescriptor, in string) {
	fmt.Fprintf(b, "\n#### %s%s\n\n", in, enum.Name())
	if text := comment(enum); text != "" {
		b.WriteString(prose(text) + "\n\n")
	}
	b.WriteString("| value | number | what it says |\n|---|---|---|\n")
	for i := range enum.Values().Len() {
		value := enum.Values().Get(i)
		fmt.Fprintf(b, "| `%s` | %d | %s |\n", value.Name(), value.Number(), cell(comment(value)))
	}
}

// typeName is a field's type as the .proto file writes it, with a link where the page has one.
func typeName(field protoreflect.FieldDescriptor) string {
	if field.IsMap() {
		return fmt.Sprintf("map of %s to %s", plainType(field.MapKey()), plainType(field.MapValue()))
	}
	if field.IsList() {
		return "repeated " + plainType(field)
	}
	return plainType(field)
}

func plainType(field protoreflect.FieldDescriptor) string {
	switch field.Kind() {
	case protoreflect.MessageKind:
		return link(field.Message())
	case protoreflect.EnumKind:
		return link(field.Enum())
	default:
		return "`" + field.Kind().String() + "`"
	}
}

// link leads to the heading of a message or an enum.
func link(of protoreflect.Descriptor) string {
	name := string(of.Name())
	for parent := of.Parent(); ; parent = parent.Parent() {
		if _, ok := parent.(protoreflect.MessageDescriptor); !ok {
			return fmt.Sprintf("[`%s`](#%s)", name, anchor(name))
		}
		name = string(parent.Name()) + "." + name
	}
}

// anchor is the fragment that Markdown's readers make of a heading.
func anchor(heading string) string {
	return strings.ReplaceAll(strings.ToLower(heading), ".", "")
}

var deadlineText = regexp.MustCompile(`(?s)Deadline: (.*?)[.;](?:\s|$)`)

// deadline is what a call's comment says after "Deadline:", up to the end of the sentence or the semicolon.
func deadline(text string) string {
	if found := deadlineText.FindStringSubmatch(text); found != nil {
		return cell(found[1])
	}
	return ""
}

func comment(of protoreflect.Descriptor) string {
	return clean(of.ParentFile().SourceLocations().ByDescriptor(of).LeadingComments)
}

// packageComment is what stands above the package statement, whose field in FileDescriptorProto is 2.
func packageComment(file protoreflect.FileDescriptor) string {
	return clean(file.SourceLocations().ByPath(protoreflect.SourcePath{2}).LeadingComments)
}

// clean takes away the space that follows each `//`.
func clean(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(line, " ")
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}

// prose is a comment as Markdown: a list gets the empty line before it that Markdown wants.
func prose(text string) string {
	lines := strings.Split(escape(text), "\n")
	var out []string
	for i, line := range lines {
		if strings.HasPrefix(line, " - ") && i > 0 && !strings.HasPrefix(lines[i-1], " ") && lines[i-1] != "" {
			out = append(out, "")
		}
		out = append(out, strings.TrimPrefix(line, " "))
	}
	return strings.Join(out, "\n")
}

// cell is a comment in a cell of a table, on one line.
func cell(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(escape(text)), " "), "|", `\|`)
}

// escape keeps what stands in angle brackets, outside of code, from being taken for HTML.
func escape(text string) string {
	parts := strings.Split(text, "`")
	for i := 0; i < len(parts); i += 2 {
		parts[i] = strings.ReplaceAll(parts[i], "<", "&lt;")
	}
	return strings.Join(parts, "`")
}
