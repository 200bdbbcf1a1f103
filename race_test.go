//go:build race

package mcpoauth_test

const raceEnabled = true
