package main

import (
	"os"
	"os/exec"
	"syscall"
)

// inGroup keeps the console's Ctrl-C from a command: it is ended by killGroup.
func inGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// killGroup ends a command.
func killGroup(p *os.Process) error { return p.Kill() }
