package cli

import "io/fs"

func foreign(fs.FileInfo) string { return "" }
