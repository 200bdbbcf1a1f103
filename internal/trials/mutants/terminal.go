package main

// terminalMutants are faults in the prompt for a terminal and in what it is made of.
var terminalMutants = []mutant{
	{
		file: "internal/terminal/terminal.go", old: `os.Getenv("NO_COLOR") == "" &&`, new: "true &&", tests: "./internal/cli",
		why: "colours are printed where NO_COLOR forbids them",
	},
	{
		file: "prompt_terminal.go", old: "(t.opts.NoBrowser || !terminal.IsFile(t.in) || terminal.IsTerminal(t.in))", new: "(!terminal.IsFile(t.in) || terminal.IsTerminal(t.in))", tests: "./internal/cli",
		why: "an address that is pasted into a pipe with --no-browser is not read",
	},
	{
		file: "prompt_terminal.go", old: "case t.opts.NoBrowser:", new: "case false:", tests: "./internal/cli",
		why: "--no-browser opens a browser",
	},
	{
		file: "prompt_terminal.go", old: "wire.Clean(p.UserCode))", new: "p.UserCode)", tests: "./internal/cli",
		why: "a server moves the terminal by its user code",
	},
	{
		file: "prompt_terminal.go", old: `if p.TokenHost != "" && p.TokenHost`, new: `if p.TokenHost == "-" && p.TokenHost`, tests: "./internal/cli",
		why: "a person is not told that the code goes to another host",
	},
	{
		file: "prompt_terminal.go", old: "wire.Clean(line.Refused.Error())", new: "line.Refused.Error()", tests: "./internal/cli",
		why: "a pasted line moves the terminal",
	},
	{
		file: "internal/terminal/ssh.go", old: "return wire.ShellWord(target) + port", new: "return target + port", tests: "./internal/terminal",
		why: "a command that is printed to be copied runs what USER has in it",
	},
	{
		file: "prompt_terminal.go", old: "case Never:\n\t\treturn \"\"", new: "case Mode(99):\n\t\treturn \"\"", tests: "./internal/cli",
		why: "--qr never shows a code",
	},
	{
		file: "prompt_terminal.go", old: "case errors.Is(err, ErrAccessDenied):", new: "case false:", tests: ".",
		why: "a login that was declined where it was to be opened waits for its whole time",
	},
	{
		file: "prompt_terminal.go", old: "lines = nil // the callback may still come\n\t\t\t\tcontinue", new: "return nil, nil", tests: ".",
		why: "the wait is no longer shown once standard input has ended",
	},
	{
		file: "prompt_terminal.go", old: "t.in != nil && !t.opts.NoPaste &&", new: "t.in != nil &&", tests: ".",
		why: "a program that must not be read from loses its input",
	},
	{
		file: "internal/terminal/input.go", old: "if in.used && (t.from == nil || len(t.from.waiting) == 0) {", new: "if false {", tests: ".",
		why: "a line typed between two logins is taken for the second",
	},
	{
		file: "internal/terminal/input.go", old: `if text == "" && line.Refused != nil {`, new: "if false {", tests: "./internal/terminal",
		why: "Enter alone is called a mistake",
	},
	{
		file: "internal/terminal/input.go", old: "delete(inputs.readers, r.key)", new: "_ = r.key", tests: "./internal/terminal",
		why: "after one login no line is read any more",
	},
	{
		file: "internal/terminal/input.go", old: "case len(line) == maxLine:", new: "case false:", tests: "./internal/terminal",
		why: "a file at standard input is read into memory",
	},
	{
		file: "internal/terminal/writer.go", old: "for _, s := range w.waits {\n\t\ts.erase()", new: "for range w.waits {", tests: "./internal/terminal",
		why: "a message begins behind the line that says what is waited for",
	},
}
