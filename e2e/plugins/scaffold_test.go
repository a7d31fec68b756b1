package plugins

import (
	"os"
	"strings"
	"testing"
)

// The authentication plugins are built and tested by the tutorials, what every plugin of a language has in common with them. With
// CARILLON_CAMPAIGN=1 all of the contract is shown here too.
func TestAStoreProjectKeepsTheContractAtOnce(t *testing.T) {
	for _, lang := range []string{"go", "node", "python"} {
		t.Run(lang, func(t *testing.T) {
			t.Parallel()
			needs(t, lang)
			s := newShell(t)
			steps, err := s.command(t, "carillon plugin new store store-mine --lang "+lang).Output()
			if err != nil {
				t.Fatal(err)
			}
			commands := strings.TrimSpace(string(steps))
			if lang == "node" {
				commands += " --" // what follows is for the script
			}
			if os.Getenv("CARILLON_CAMPAIGN") == "" {
				commands += " --only store/ --crashes 1"
			}
			if out, err := s.run(t, commands); err != nil {
				t.Errorf("%s\n%v\n%s", steps, err, out)
			}
		})
	}
}
