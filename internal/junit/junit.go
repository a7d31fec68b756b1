// Package junit writes the results of tests that are not Go's as a JUnit report.
package junit

import (
	"encoding/xml"
	"io"
)

// Case is a result. It has passed if it has neither Failure nor Skipped.
type Case struct {
	Class   string   `xml:"classname,attr"`
	Name    string   `xml:"name,attr"`
	Seconds float64  `xml:"time,attr"`
	Failure *Message `xml:"failure"`
	Skipped *Message `xml:"skipped"`
}

// Message is why a case failed or was skipped: in short, and whole.
type Message struct {
	Short string `xml:"message,attr"`
	Whole string `xml:",chardata"`
}

// Write writes a report of one suite.
func Write(w io.Writer, name string, cases []Case) error {
	suite := struct {
		XMLName  xml.Name `xml:"testsuite"`
		Name     string   `xml:"name,attr"`
		Tests    int      `xml:"tests,attr"`
		Failures int      `xml:"failures,attr"`
		Skipped  int      `xml:"skipped,attr"`
		Cases    []Case   `xml:"testcase"`
	}{Name: name, Tests: len(cases), Cases: cases}
	for i := range cases {
		if cases[i].Failure != nil {
			suite.Failures++
		}
		if cases[i].Skipped != nil {
			suite.Skipped++
		}
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(suite); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}
