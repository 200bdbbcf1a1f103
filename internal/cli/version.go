package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/mcpoauth/mcpoauth"
)

func newVersion(f *flags) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "print the version",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			info, _ := debug.ReadBuildInfo()
			_, err := fmt.Fprintln(f.u.out, versionLine(info))
			return err
		},
	}
}

// versionLine is version, commit (where the build knows it), Go version and platform.
func versionLine(info *debug.BuildInfo) string {
	line := "mcpoauth " + mcpoauth.Version()
	if info != nil {
		commit, modified := "", ""
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				commit = s.Value[:min(12, len(s.Value))]
			case s.Key == "vcs.modified" && s.Value == "true":
				modified = "+modified"
			}
		}
		if commit != "" {
			line += " commit " + commit + modified
		}
	}
	return line + " " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH
}
