//go:build !linux

package host

func usageOf(int) Usage { return Usage{} }
