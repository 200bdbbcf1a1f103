package wire

import "strings"

// ShellWord returns a cleaned text as one word of a command that a person may type, whatever a server put into it.
func ShellWord(s string) string {
	s = Clean(s)
	safe := s != ""
	for _, r := range s {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@%+,=", r) {
			safe = false
			break
		}
	}
	if safe {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
