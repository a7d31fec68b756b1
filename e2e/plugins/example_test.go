package plugins

import (
	"path/filepath"
	"testing"
)

// The commands are those of the README, its sections Build and Test.
func TestTheExamplesKeepTheContract(t *testing.T) {
	for _, example := range []struct{ name, lang, more string }{
		{"auth-keys", "node", ""},
		{"store-sqlite", "python", " --crashes 1"},
	} {
		t.Run(example.name, func(t *testing.T) {
			t.Parallel()
			needs(t, example.lang)
			source := filepath.Join(root(t), "examples", "plugins", example.name)
			blocks := readPage(t, filepath.Join(source, "README.md"))
			if len(blocks) != 3 {
				t.Fatalf("%d blocks, wanted those of Build, Test and Run", len(blocks))
			}
			s := newShell(t)
			if out, err := s.run(t, "cp -RL '"+source+"/.' ."); err != nil { // what are links there are files here
				t.Fatalf("copy the example: %v\n%s", err, out)
			}
			for i, more := range []string{"", example.more} {
				commands := blocks[i].text[:len(blocks[i].text)-1] + more
				if out, err := s.run(t, commands); err != nil {
					t.Fatalf("%s\n%v\n%s", commands, err, out)
				}
			}
		})
	}
}
