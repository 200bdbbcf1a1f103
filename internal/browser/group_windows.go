package browser

import "syscall"

// apart keeps the browser from the signals of our terminal: a Ctrl-C there is meant for us.
func apart() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}
