package mcpoauth

import (
	"runtime/debug"
	"sync"
)

// modulePath is the path of this module.
const modulePath = "github.com/mcpoauth/mcpoauth"

// Version returns the version of this module that the program was built with, "devel" where it is not known.
func Version() string { return version() }

var version = sync.OnceValue(func() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	for _, m := range append([]*debug.Module{&info.Main}, info.Deps...) {
		if m.Path == modulePath && m.Version != "" && m.Version != "(devel)" {
			return m.Version
		}
	}
	return "devel"
})
