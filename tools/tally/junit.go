package main

import (
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// testcase is one test of a report in JUnit's form, as the test runners of JavaScript write it.
type testcase struct {
	Name    string `xml:"name,attr"`
	Class   string `xml:"classname,attr"`
	Seconds string `xml:"time,attr"`
	Failure *fault `xml:"failure"`
	Error   *fault `xml:"error"`
	Skipped *struct {
		Message string `xml:"message,attr"`
	} `xml:"skipped"`
	Properties []struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	} `xml:"properties>property"`
}

type fault struct {
	Message string `xml:"message,attr"`
}

// readJUnit counts the tests of a report. A report without any is an error: something did not run.
func readJUnit(r io.Reader, w io.Writer) (*tally, error) {
	t := &tally{}
	dec := xml.NewDecoder(r)
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the JUnit report: %w", err)
		}
		start, ok := token.(xml.StartElement)
		if !ok || start.Name.Local != "testcase" {
			continue
		}
		var c testcase
		if err := dec.DecodeElement(&c, &start); err != nil {
			return nil, fmt.Errorf("read the JUnit report: %w", err)
		}
		t.takeCase(c, w)
	}
	if t.passed+t.failed+t.skipped == 0 {
		return nil, errors.New("there is no test in the JUnit report")
	}
	return t, nil
}

func (t *tally) takeCase(c testcase, w io.Writer) {
	switch {
	case c.Failure != nil || c.Error != nil:
		t.failed++
		said, _, _ := strings.Cut(cmp.Or(c.Failure, c.Error).Message, "\n")
		t.failures = append(t.failures, failure{name{c.Class, c.Name}, []string{said}})
		fmt.Fprintf(w, "--- FAIL %s\n", c.Name)
	case c.Skipped != nil:
		t.skipped++
		fmt.Fprintf(w, "--- SKIP %s%s\n", c.Name, c.skipReason())
	default:
		t.passed++
		seconds, err := strconv.ParseFloat(c.Seconds, 64)
		if err == nil {
			t.timings = append(t.timings, timing{name{c.Class, c.Name}, seconds})
		}
	}
}

func (c testcase) skipReason() string {
	for _, p := range c.Properties {
		if (p.Name == "skip" || p.Name == "fixme") && p.Value != "" {
			return ": " + p.Value
		}
	}
	if m := c.Skipped.Message; m != "" && m != "true" {
		return ": " + m
	}
	return ""
}
