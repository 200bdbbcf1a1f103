//go:build unix

package main

import (
	"os"
	"os/exec"
	"syscall"
)

// inGroup starts a command in a process group of its own, so that the tests it starts can be ended with it.
func inGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// killGroup ends a command and all that it started.
func killGroup(p *os.Process) error { return syscall.Kill(-p.Pid, syscall.SIGKILL) }
