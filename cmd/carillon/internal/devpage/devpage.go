// Package devpage is the page that `carillon dev` serves at /: subscribe, publish and watch in a browser, and lines to copy. It is
// plain HTML, CSS and JavaScript without a build, and stands on the SDK of this build, which is served beside it.
package devpage

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"io/fs"
	"net/http"
	"path"
	"time"
)

//go:embed page
var files embed.FS

// types are content types by file extension: what the system thinks of an extension does not matter.
var types = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// policy lets the page use its own files and this broker, and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Pages are the page's files by path: / and /dev/…, and /sdk.js, which is sdk.
func Pages(sdk []byte) map[string]http.Handler {
	pages := map[string]http.Handler{"/sdk.js": file("/sdk.js", sdk)}
	entries, err := fs.ReadDir(files, "page")
	if err != nil {
		panic(err) // it is in the executable
	}
	for _, e := range entries {
		content, err := files.ReadFile(path.Join("page", e.Name()))
		if err != nil {
			panic(err)
		}
		at := "/dev/" + e.Name()
		if e.Name() == "index.html" {
			at = "/"
		}
		pages[at] = file(e.Name(), content)
	}
	return pages
}

// file serves content. Browsers ask each time whether it is still the same, because the next build is at the same address.
func file(name string, content []byte) http.Handler {
	sum := sha256.Sum256(content)
	tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", types[path.Ext(name)])
		h.Set("Content-Security-Policy", policy)
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", tag)
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content))
	})
}
