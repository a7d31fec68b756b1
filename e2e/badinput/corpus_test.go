package badinput

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// corpus are the ids of the cases that have to be tried. They stay what they are.
const corpus = `
H2 H3 H4 H6 H7 H8 H9 H12 H13 H15 H19 H20 H21 H22
F1 F5-F6 F7 F9 F11 F12 F13 F14 F15 F18 F20 F22 F23 F24 F25 F26 F27 F29 F30 F32 F33 F34 F35 F36 F37 F38
M1 M4 M5 M6 M7 M8 M9 M11 M12 M13 M16 M17 M18 M19 M23 M24 M25 M26 M27 M28 M29
P1 P2 P3 P4 P5 P6 P7 P9 P12 P13 P14 P15 P19 P22 P23 P24 P25 P26 P28 P29 P30 P33 P34 P35 P36 P37 P38 P39
T2 T4 T6 T7 T9 T10 T11 T12 T14 T15 T16 T21 T23 T24 T26
J1 J5 J6 J7 J9 J10 J11 J12 J14 J16 J18 J20 J23 J25 J27 J28
A1 A3 A4 A5 A6 A8 A9 A10 A12 A13 A14 A16 A20 A21 A22 A23
C2 C3 C4 C5 C6 C9 C11 C12 C13 C14 C16 C17 C18
G-1 G-3 G-4 G-5 G-6 G-7 G-8 G-9 G-10 G-11 G-12 G-13 G-15 G-16 G-17 G-18 G-19 G-20
`

// rules are the rules of the spec, newer than the corpus, of which cases have to be tried.
const rules = `CON-11 CON-12 PUB-13 PUB-14 SUB-13 SUB-14 PRE-1 PRE-3 PRE-4 REQ-2 REQ-3 JSN-1 JSN-2 JSN-3 JSN-4`

// inPackages are the cases about plugins and stores, that are tried where such a fault can be made: FOLDER.TEST.
var inPackages = map[string][]string{
	"G-1":  {"plugins/host.TestAStoppedPluginIsKilledAndStartedAgain", "plugins/host.TestAPluginThatStopsInACallIsKilledAndStartedAgain"},
	"G-3":  {"plugins/host.TestAKilledPluginIsSeenAtOnceAndStartedAgain", "plugins/host.TestASignalInACallFailsTheCallAndThePluginComesBack", "plugins/host.TestACrashLoopBacksOffAndHurtsNobody"},
	"G-4":  {"plugins/host.TestEveryBrokenStartEndsInTimeWithItsReason", "plugins/host.TestHandshakes"},
	"G-5":  {"plugins/host.TestNoAnswerThatIsNotOneLetsAnybodyIn", "plugins/host.TestMalformedAnswersAreDeniedAndLogged"},
	"G-6":  {"plugins/host.TestNoAnswerThatIsNotOneLetsAnybodyIn", "plugins/internal/wire.TestAnAnswerBeyondTheMessageLimitIsNoDecision"},
	"G-7":  {"plugins/host.TestAPluginThatTakesMoreThanItsLimitsIsEnded", "plugins/host.TestWhatAPluginForkedGoesWithIt", "e2e/badinput.TestAHungryPluginTakesNothingFromTheCanary"},
	"G-8":  {"plugins/host.TestAFloodOfOutputIsBoundedAndDisturbsNoCall", "plugins/host.TestALineWithoutEndCostsNoMemory", "plugins/host.TestLinesOfAPluginKeepTheirLevelAndFieldsAndAreEscaped"},
	"G-9":  {"plugins/host.TestAFileSwappedAfterItsCheckDoesNotRun", "plugins/host.TestAFileWithAnotherSumNeverRuns"},
	"G-10": {"plugins/host.TestAPluginSeesOfTheEnvironmentOnlyWhatIsOnTheList"},
	"G-11": {"plugins/host.TestAThirdPartysSocketIsForTheHostAlone", "plugins/host.TestTheFolderIsForOneHostAndSwept"},
	"G-12": {"plugins/host.TestAPluginGoesWithItsHost", "e2e.TestNoPluginOutlivesItsBroker"},
	"G-13": {"e2e/badinput.TestBadInputThatNeedsABrokerOfItsOwn"}, // C11
	"G-15": {"broker.TestASlowStoreDelaysNothingButWhatItCommits", "broker.TestAStoreThatStallsOpensItsBreaker"},
	"G-16": {"plugins/host.TestNoAnswerOfAStoreThatIsNotOneIsTaken", "plugins/internal/wire.TestAnswersToAppendThatBreakTheContractAreUnknownOutcomes", "plugins/internal/wire.TestPagesThatBreakTheContractAreNoAnswer"},
	"G-17": {"plugins/plugintest.TestTheStoreSuiteFindsEveryFault"}, // not at each start: docs/adr/0027
	"G-18": {"plugins/host.TestAPluginThatDoesNotSpeakTheContractIsRefused"},
	"G-19": {"plugins/host.TestAHerdComesBackToAPluginOneByOne", "plugins/authguard.TestCallsAtATimeAreBounded"},
	"G-20": {"plugins/store-bolt/storebolt.TestALongHistoryIsReadInShortPages", "broker.TestALongHistoryIsReadInPages"},
}

// tables are the cases by section.
func tables(t testing.TB) map[string][]input {
	return map[string][]input{
		"upgrade": upgradeInputs(), "frames": frameInputs(), "msgpack": msgpackInputs(t), "packets": packetInputs(t),
		"topics": topicInputs(t), "tokens": tokenInputs(t), "http": httpInputs(t), "patience": patientInputs(t),
		"refresh": refreshInputs(t), "rights": rightsInputs(t), "rules": ruleInputs(t), "json": jsonInputs(),
	}
}

func TestEveryCaseIsTried(t *testing.T) {
	tried := map[string]bool{}
	for _, inputs := range tables(t) {
		for _, in := range inputs {
			tried[in.id] = true
		}
	}
	for _, start := range startInputs(t) {
		tried[start.id] = true
	}
	for id := range elsewhere {
		tried[id] = true
	}
	for id, tests := range inPackages {
		tried[id] = true
		for _, test := range tests {
			if !isTest(t, test) {
				t.Errorf("%s: there is no %s", id, test)
			}
		}
	}
	known := strings.Fields(corpus + rules)
	for _, id := range known {
		if !tried[id] {
			t.Errorf("%s is not tried", id)
		}
	}
	for id := range tried {
		if !slices.Contains(known, id) {
			t.Errorf("%s is not in the corpus", id)
		}
	}
}

// isTest reports whether there is the test FOLDER.TEST.
func isTest(t *testing.T, test string) bool {
	t.Helper()
	folder, name, _ := strings.Cut(test, ".")
	files, err := filepath.Glob(filepath.Join("../..", folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+name+"(t *testing.T) {") {
			return true
		}
	}
	return false
}

// TestBadInput tries the cases, section by section, one after the other.
func TestBadInput(t *testing.T) {
	t.Parallel()
	s, control := openStand(t, revocable), openStand(t, revocable)
	j := newJudge(t, s)
	all := tables(t)
	for _, section := range []string{"upgrade", "frames", "msgpack", "packets", "topics", "tokens", "http", "refresh", "rights", "rules", "json"} {
		t.Run(section, func(t *testing.T) { j.all(t, all[section]) })
	}
	j.end(t)
	s.canary.judge(t, control.canary)
}
