package secret

import (
	"slices"
	"strings"
)

// settingsPrefix begins the names of the environment variables that are settings of ours.
const settingsPrefix = "MCPOAUTH_"

// Environ returns env, as os.Environ does, without the variables that may hold secrets: our own settings, and those
// that without names. It is for a program that is started. Names are compared without case, as Windows does.
func Environ(env, without []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		named := func(n string) bool { return strings.EqualFold(n, name) }
		return strings.HasPrefix(strings.ToUpper(e), settingsPrefix) || name != "" && slices.ContainsFunc(without, named)
	})
}
