package host

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

func TestAProcessOfTheSpawnerHasSlackTimersAndThisOneDoesNot(t *testing.T) {
	s := newSpawner()
	defer s.close()
	var said []byte
	err := s.do(func() error {
		var err error
		said, err = exec.Command("cat", "/proc/self/timerslack_ns").Output()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(string(said)); got != strconv.FormatInt(timerSlack.Nanoseconds(), 10) {
		t.Errorf("a plugin's timers have %s ns of slack, wanted %v", got, timerSlack)
	}
	said, err = exec.Command("cat", "/proc/self/timerslack_ns").Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(string(said)); got == strconv.FormatInt(timerSlack.Nanoseconds(), 10) {
		t.Errorf("this process has the plugins' slack of %s ns", got)
	}
}
