//go:build !linux

package host

import "os/exec"

const canLimit = false

func startLimited(cmd *exec.Cmd, _ Limits) error { return cmd.Start() }
