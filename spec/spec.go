// Package spec is the text of the protocol, for programs that look rules and packets up in it.
package spec

import _ "embed"

// Protocol is protocol.md.
//
//go:embed protocol.md
var Protocol string
