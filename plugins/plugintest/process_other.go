//go:build !unix

package plugintest

import (
	"errors"
	"os"
	"syscall"
)

func ownGroup() *syscall.SysProcAttr { return nil }

func killGroup(leader *os.Process) {
	_ = leader.Kill() // gone already is as good
}

func groupLeft(*os.Process) bool { return false }

// terminate is what there is no signal for here.
func terminate(*os.Process) error { return errors.ErrUnsupported }
