//go:build !linux

package cli

func beforeMain() {}
