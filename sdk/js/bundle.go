// Package js holds the JavaScript SDK as one file for browsers, so that the broker can hand it out. The SDK's sources are in src.
package js

import _ "embed"

// Bundle is the SDK as a module of ECMAScript, minified, with everything in.
//
//go:embed dist/carillon.js
var Bundle []byte
