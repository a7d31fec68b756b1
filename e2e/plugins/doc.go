// Package plugins is what a stranger does who writes a plugin: the projects that `carillon plugin new` writes are built and tested with
// the commands that it prints, the tutorials of docs/plugins are followed to the letter, and examples/plugins keep the contract.
package plugins
