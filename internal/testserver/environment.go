package testserver

import (
	"os"
	"strings"
)

// ClearSettings removes the MCPOAUTH_ variables of the person who runs the tests, whose logins and settings are not the
// tests'. What is meant for the tests themselves stays. TestMain calls it.
func ClearSettings() {
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, "MCPOAUTH_") || strings.HasPrefix(name, "MCPOAUTH_TEST_") || name == "MCPOAUTH_BENCH" {
			continue
		}
		if err := os.Unsetenv(name); err != nil {
			panic(err)
		}
	}
}
