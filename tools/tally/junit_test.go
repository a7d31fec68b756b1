package main

import (
	"strings"
	"testing"
)

const report = `<?xml version="1.0" encoding="utf-8"?>
<testsuites name="all" tests="5">
<testsuite name="a.spec.js" tests="5">
<testcase name="passes" classname="a.spec.js" time="2.5"><system-out><![CDATA[chatter]]></system-out></testcase>
<testsuite name="nested"><testcase name="passes inside" classname="test" time="0.1"/></testsuite>
<testcase name="fails" classname="a.spec.js" time="1"><failure message="no"><![CDATA[at a.spec.js:1]]></failure></testcase>
<testcase name="broken" classname="a.spec.js" time="0"><error message="no"/></testcase>
<testcase name="skipped for a reason" classname="a.spec.js" time="0"><properties><property name="skip" value="SKIP php: php is not installed"></property></properties><skipped></skipped></testcase>
<testcase name="skipped" time="0"><skipped type="skipped" message="later"/></testcase>
</testsuite>
</testsuites>`

func TestJUnit(t *testing.T) {
	var out strings.Builder
	got, err := readJUnit(strings.NewReader(report), &out)
	if err != nil {
		t.Fatal(err)
	}
	got.report(&out, 5)
	for _, want := range []string{
		"--- FAIL fails\n", "--- FAIL broken\n", "--- SKIP skipped for a reason: SKIP php: php is not installed\n", "--- SKIP skipped: later\n",
		"slow:    2.5 s  a.spec.js passes\n", "failed: a.spec.js fails\n        no\n", "2 passed, 2 failed, 2 skipped\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output lacks %q:\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "chatter") {
		t.Errorf("the output repeats what the tests printed:\n%s", out.String())
	}
}

func TestAReportWithoutTestsOrCutOffIsAnError(t *testing.T) {
	for _, text := range []string{"", `<testsuites></testsuites>`, report[:strings.Index(report, "broken")]} {
		if _, err := readJUnit(strings.NewReader(text), &strings.Builder{}); err == nil {
			t.Errorf("no error for %q", text)
		}
	}
}
