package main

// startMutants are faults in what makes the command start fast, and in the drivers that were chosen for it.
var startMutants = []mutant{
	{
		file: "internal/cli/postgres.go", old: "c.broken.Store(true)\n\t\treturn errBroken", new: "c.broken.Store(true)\n\t\treturn err", tests: "./internal/cli",
		why: "a save whose answer was lost is made twice, and the second finds the first in its way",
	},
	{
		file: "internal/cli/postgres.go", old: "c.broken.Store(true)\n", new: "_ = c.broken.Load()\n", tests: "./internal/cli",
		why: "a broken connection to the database is used again",
	},
	{
		file: "internal/cli/postgres.go", old: "rows, err := c.pqConn.QueryContext(ctx, query, args)\n\treturn rows, c.once(err)", new: "rows, err := c.pqConn.QueryContext(ctx, query, args)\n\treturn rows, err", tests: "./internal/cli",
		why: "a save whose answer was lost is made twice, and the second finds the first in its way",
	},
	{
		file: "internal/cli/flags.go", old: "slices.ContainsFunc(f.args, isFlag) {", new: "false && slices.ContainsFunc(f.args, isFlag) {", tests: "./internal/cli",
		why: "token does not know its own flags",
	},
	{
		file: "internal/cli/flags.go", old: "return strings.HasPrefix(v, envPrefix) && !strings.HasPrefix(v, envPrefix+\"DIR=\")", new: "return strings.HasPrefix(v, envPrefix+\"-\")", tests: "./internal/cli",
		why: "token does not look at the environment",
	},
	{
		file: "internal/cli/flags.go", old: "return !errors.Is(err, fs.ErrNotExist)", new: "return errors.Is(err, fs.ErrInvalid)", tests: "./internal/cli",
		why: "token does not look at the configuration file",
	},
	{
		file: "internal/cli/flags.go", old: `= "file", "off", "auto", "issuer", "auto"`, new: `= "file", "off", "auto", "token-endpoint", "auto"`, tests: "./internal/cli",
		why: "a key signs for the token endpoint although the issuer is the default",
	},
	{
		file: "internal/cli/configfile.go", old: `bytes.TrimPrefix(b, []byte("\ufeff"))`, new: `bytes.TrimPrefix(b, nil)`, tests: "./internal/cli",
		why: "a configuration file that an editor of Windows wrote is refused",
	},
	{
		file: "internal/cli/configfile.go", old: "for ; len(p) > 0; p = p[:len(p)-1] {", new: "for ; len(p) > 0; p = nil {", tests: "./internal/cli",
		why: "a mistake in a table within a line is shown without its line",
	},
}
