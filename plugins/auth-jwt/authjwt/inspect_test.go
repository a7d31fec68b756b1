package authjwt

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheKindOfAKeyFileDecidesTheAlgorithm(t *testing.T) {
	dir := t.TempDir()
	file := func(text []byte) string {
		path := filepath.Join(dir, "key")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, alg := range []string{RS256, ES256, EdDSA} {
		files := newKeyFiles(t, testKeys()[alg])
		for form, text := range map[string][]byte{"public key": files.public, "certificate": files.cert} {
			if k, err := KeyFile(file(text)); err != nil || k.Alg != alg {
				t.Errorf("%s of %s: %q, %v", form, alg, k.Alg, err)
			}
		}
		if _, err := KeyFile(file(files.private)); err == nil || !strings.Contains(err.Error(), "openssl pkey -in KEY -pubout") {
			t.Errorf("private key of %s: %v", alg, err)
		}
	}
	if k, err := KeyFile(file([]byte("0123456789abcdef0123456789abcdef"))); err != nil || k.Alg != HS256 {
		t.Errorf("secret: %q, %v", k.Alg, err)
	}
	if _, err := KeyFile(filepath.Join(dir, "missing")); err == nil {
		t.Error("a file that is not there was read")
	}
}
