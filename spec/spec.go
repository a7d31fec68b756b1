// Package spec is the text of the protocol and of the plugin contracts, for programs that look something up in them or hand
// them on.
package spec

import "embed"

// Protocol is protocol.md.
//
//go:embed protocol.md
var Protocol string

// Plugin holds the contracts of plugins: the .proto files by the names under which they import each other
// ("plugin/auth/v1/auth.proto"), and "plugin/contract.binpb", a google.protobuf.FileDescriptorSet of all of them.
//
//go:embed plugin
var Plugin embed.FS
