package config

import _ "embed"

// Example is a complete, commented configuration in which every key has its default. carillon.example.yaml is a copy of it.
//
//go:embed example.yaml
var Example string
