package main

// cliMutants are faults in the commands.
var cliMutants = []mutant{
	{
		file: "internal/cli/run.go", old: `if r.Host != g.host || origin`, new: `if origin`, tests: "./internal/cli",
		why: "a page that rebinds its name to 127.0.0.1 reaches the server with the person's token",
	},
}
