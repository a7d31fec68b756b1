package main

import (
	"bufio"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/carillon-mq/carillon/protocol"
	carillon "github.com/carillon-mq/carillon/sdk/go"
)

func pack(t *testing.T, v any) []byte {
	t.Helper()
	b, err := msgpack.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPrintedForms(t *testing.T) {
	at := time.UnixMilli(1700000000000)
	for _, tc := range []struct {
		name       string
		m          carillon.Message
		text, json string
	}{
		{
			"JSON",
			carillon.Message{Topic: "a", Payload: []byte("{\"x\":\n1}"), ContentType: "application/json"},
			`a {"x":1}`, `{"topic":"a","data":{"x":1},"type":"application/json","ts":1700000000000}`,
		},
		{
			"broken JSON",
			carillon.Message{Topic: "a", Payload: []byte("{"), ContentType: "application/json"},
			`a (1 bytes of application/json)`, `{"topic":"a","data_base64":"ew==","type":"application/json","ts":1700000000000}`,
		},
		{
			"text",
			carillon.Message{Topic: "a", Payload: []byte("two\nlines"), ContentType: "text/plain; charset=utf-8"},
			`a two\nlines`, `{"topic":"a","data":"two\nlines","type":"text/plain; charset=utf-8","ts":1700000000000}`,
		},
		{
			"msgpack",
			carillon.Message{Topic: "a", Payload: pack(t, map[string]any{"n": []any{1, "x", nil, 1.5}})},
			`a {"n":[1,"x",null,1.5]}`, `{"topic":"a","data":{"n":[1,"x",null,1.5]},"ts":1700000000000}`,
		},
		{
			"msgpack with bytes has no JSON form",
			carillon.Message{Topic: "a", Payload: pack(t, []byte{1})},
			`a (3 bytes of msgpack)`, `{"topic":"a","data_base64":"xAEB","ts":1700000000000}`,
		},
		{
			"msgpack with other keys has no JSON form",
			carillon.Message{Topic: "a", Payload: pack(t, map[int]int{1: 2})},
			`a (3 bytes of msgpack)`, `{"topic":"a","data_base64":"gQEC","ts":1700000000000}`,
		},
		{
			"bytes",
			carillon.Message{Topic: "a", Payload: []byte{0}, ContentType: "image/gif"},
			`a (1 bytes of image/gif)`, `{"topic":"a","data_base64":"AA==","type":"image/gif","ts":1700000000000}`,
		},
		{
			"cleared",
			carillon.Message{Topic: "a", Retain: true},
			`a (cleared)`, `{"topic":"a","cleared":true,"ts":1700000000000}`,
		},
		{
			"retained",
			carillon.Message{Topic: "a", Payload: []byte("x"), ContentType: "text/plain", Retain: true, Retained: true},
			`a x`, `{"topic":"a","data":"x","type":"text/plain","retained":true,"ts":1700000000000}`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for f, want := range map[form]string{formText: tc.text, formJSON: tc.json, formRaw: string(tc.m.Payload)} {
				var out strings.Builder
				p := printer{out: bufio.NewWriter(&out), form: f}
				m := tc.m
				m.Time = at
				p.message(&m)
				if err := p.flush(); err != nil {
					t.Fatal(err)
				}
				if got := out.String(); got != want+"\n" {
					t.Errorf("form %d\n got %s\nwant %s", f, got, want)
				}
			}
		})
	}
}

func TestGapsAreToldToPeopleAndPrograms(t *testing.T) {
	var out, err strings.Builder
	p := printer{out: bufio.NewWriter(&out), err: &err, form: formJSON}
	p.gap(&carillon.GapError{Filter: "a.>", Reason: protocol.GapTrimmed, From: "x", To: "y", Count: 0})
	p.gap(&carillon.GapError{Filter: "a.>", Reason: protocol.GapEpoch, To: "y", Count: -1})
	if e := p.flush(); e != nil {
		t.Fatal(e)
	}
	want := `{"gap":{"filter":"a.>","reason":"trimmed","from":"x","to":"y","count":0}}` + "\n" + `{"gap":{"filter":"a.>","reason":"epoch","to":"y"}}` + "\n"
	if out.String() != want || strings.Count(err.String(), "\n") != 2 {
		t.Errorf("out %q\nerr %q", out.String(), err.String())
	}
}

func TestPublishedForms(t *testing.T) {
	for _, tc := range []struct {
		name string
		p    pubCmd
		in   string
		want any
	}{
		{"JSON is found", pubCmd{}, `{"a":1}`, `{"a":1}`},
		{"text", pubCmd{}, `{a`, `{a`},
		{"msgpack keeps integers", pubCmd{dataFlags: dataFlags{Msgpack: true}}, `[1,9007199254740993,1.5,"x",{"a":null}]`, string(pack(t, []any{int64(1), int64(9007199254740993), 1.5, "x", map[string]any{"a": nil}}))},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v, err := tc.p.value([]byte(tc.in))
			if err != nil {
				t.Fatal(err)
			}
			if got := bytesOf(v); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
	for _, p := range []dataFlags{{JSON: true}, {Msgpack: true}} {
		for _, in := range []string{"{", "", "1 2", "NaN"} {
			if v, err := p.value([]byte(in)); err == nil {
				t.Errorf("%q was taken as %v", in, v)
			}
		}
	}
}

func bytesOf(v any) string {
	switch v := v.(type) {
	case carillon.Raw:
		return string(v.Data)
	case json.RawMessage:
		return string(v)
	case string:
		return v
	}
	return ""
}
