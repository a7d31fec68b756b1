//go:build race

package packetjson

const raceEnabled = true
