package main

// cliMutants are faults in the commands.
var cliMutants = []mutant{
	{
		file: "internal/cli/run.go", old: "if r.Host != g.host || origin", new: "if origin", tests: "./internal/cli",
		why: "a page that rebinds its name to 127.0.0.1 reaches the server with the person's token",
	},
	{
		file: "internal/cli/run.go", old: `origin != "" && origin != "http://"+g.host {`, new: "origin == g.path {", tests: "./internal/cli",
		why: "a page that learned the address sends requests to the server from a browser",
	},
	{
		file: "internal/cli/run.go", old: `origin != "http://"+g.host {`, new: `origin != "https://"+g.host {`, tests: "./internal/cli",
		why: "a program that sends its own address as Origin is refused",
	},
	{
		file: "internal/cli/run.go", old: "r.URL.Path != g.path && !strings", new: `r.URL.Path == "" && !strings`, tests: "./internal/cli",
		why: "every program on the machine uses the login without knowing the key",
	},
	{
		file: "internal/cli/run.go", old: `!strings.HasPrefix(r.URL.Path, g.path+"/")`, new: "!strings.HasPrefix(r.URL.Path, g.path)", tests: "./internal/cli",
		why: "a path that only begins with the key reaches another path of the server",
	},
	{
		file: "internal/cli/run.go", old: `strings.Contains(r.URL.Path, "/../")`, new: `strings.Contains(r.URL.Path, "//../")`, tests: "./internal/cli",
		why: "a path with dots leaves the server's path and takes the token to another one",
	},
	{
		file: "internal/cli/run.go", old: `strings.HasSuffix(r.URL.Path, "/..")`, new: `strings.HasSuffix(r.URL.Path, "//..")`, tests: "./internal/cli",
		why: "a path that ends in dots leaves the server's path",
	},
	{
		file: "internal/cli/run.go", old: `r.Out.Header.Del("Cookie")`, new: `r.Out.Header.Del("Cookies")`, tests: "./internal/cli",
		why: "cookies of the program reach the server",
	},
	{
		file: "internal/cli/run.go", old: `r.Out.Header.Del("Origin")`, new: `r.Out.Header.Del("Origins")`, tests: "./internal/cli",
		why: "the server sees a loopback Origin and refuses the program's requests",
	},
	{
		file: "internal/cli/run.go", old: `out.RawQuery = strings.TrimPrefix(out.RawQuery+"&"+q, "&")`, new: "out.RawQuery = q", tests: "./internal/cli",
		why: "the query of the server's URL, a tenant for example, is lost",
	},
	{
		file: "internal/cli/run.go", old: "out.Path += strings", new: "_ = strings", tests: "./internal/cli",
		why: "a program cannot reach what is below the server's URL",
	},
	{
		file: "internal/cli/run.go", old: `net.Listen("tcp", "127.0.0.1:0")`, new: `net.Listen("tcp", ":0")`, tests: "./internal/cli",
		why: "other machines can reach the address that stands for the login",
	},
	{
		file: "internal/cli/run.go", old: `path: "/" + rand.Text()`, new: `path: "/" + rand.Text()[:2]`, tests: "./internal/cli",
		why: "the key in the address can be guessed",
	},
	{
		file: "internal/cli/run.go", old: `append(secret.Environ(os.Environ(), f.secretEnv), "MCP`, new: `append(append(secret.Environ(os.Environ(), f.secretEnv), os.Environ()...), "MCP`, tests: "./internal/cli",
		why: "the program inherits the client secret from the environment",
	},
	{
		file: "internal/cli/run.go", old: "max(exit.ExitCode(), 1)", new: "min(max(exit.ExitCode(), 1), 1)", tests: "./internal/cli",
		why: "the exit code of the program is lost",
	},
	{
		file: "internal/cli/run.go", old: "max(exit.ExitCode(), 1)", new: "max(exit.ExitCode(), 0)", tests: "./internal/cli",
		why: "a program that was killed looks like one that succeeded",
	},
	{
		file: "internal/cli/run.go", old: "_ = cmd.Process.Signal(syscall.SIGTERM)", new: "_ = syscall.SIGTERM", tests: "./internal/cli",
		why: "a program that would end in order at an interrupt is killed after five seconds",
	},
	{
		file: "internal/cli/run.go", old: "http.Error(w, text, status)", new: "http.Error(w, text+err.Error(), status)", tests: "./internal/cli",
		why: "what the authorization server said goes to the program",
	},
	{
		file: "internal/cli/run.go", old: "errors.Is(err, mcpoauth.ErrTemporary):\n\t\tstatus", new: "errors.Is(err, mcpoauth.ErrNoOAuth):\n\t\tstatus", tests: "./internal/cli",
		why: "a program is not told that trying again may help",
	},
	{
		file: "internal/cli/cli.go", old: "case is[*usageError](err), is[*mcpoauth.OptionError](err):", new: "case is[*usageError](err):", tests: "./internal/cli",
		why: "a wrong option looks like a failure of the server to a script",
	},
	{
		file: "internal/cli/cli.go", old: "if err != nil && errors.Is(context.Cause(ctx), errInterrupted) {", new: "if false {", tests: "./internal/cli",
		why: "an interrupt is reported as a failure of whatever it stopped",
	},
	{
		file: "internal/cli/cli.go", old: "signal.Notify(c, os.Interrupt, syscall.SIGTERM)", new: "signal.Notify(c, os.Interrupt, syscall.SIGPIPE)", tests: "./internal/cli",
		why: "a service manager that stops the command leaves a half login behind",
	},
	{
		file: "internal/cli/cli.go", old: "defer signal.Stop(c)", new: "defer func() {}()", tests: "./internal/cli",
		why: "a second interrupt does not end a command that takes long to end",
	},
	{
		file: "internal/cli/cli.go", old: "if f.timeout > 0 {", new: "if f.timeout < 0 {", tests: "./internal/cli",
		why: "a script that gave --timeout waits for a server that does not answer",
	},
	{
		file: "internal/cli/cli.go", old: "case errors.Is(err, mcpoauth.ErrTemporary), errors.Is(err, errTimeout):", new: "case errors.Is(err, mcpoauth.ErrTemporary):", tests: "./internal/cli",
		why: "a script does not try again after a --timeout",
	},
	{
		file: "internal/cli/cli.go", old: "if cerr := c.Close(closing); cerr != nil && err == nil {", new: "if cerr := c.Close(closing); cerr != nil && err != nil {", tests: "./internal/cli",
		why: "a token that could not be saved is not reported",
	},
	{
		file: "internal/cli/flags.go", old: "!ok || fl.Changed || bad != nil", new: "!ok || bad != nil", tests: "./internal/cli",
		why: "the environment overrides what the command line says",
	},
	{
		file: "internal/cli/settings.go", old: `case f.clientID != "" && !f.clientOfFile:`, new: `case f.clientID != "":`, tests: "./internal/cli",
		why: "the secret of one client is sent to the server of another",
	},
	{
		file: "internal/cli/settings.go", old: `case f.clientSecretEnv != "" && f.clientSecretFile != "":`, new: "case false:", tests: "./internal/cli",
		why: "of two secrets one is silently ignored",
	},
	{
		file: "internal/cli/settings.go", old: `if err == nil && o.Client.Secret != "" && f.clientID == "" {`, new: `if err == nil && o.Client.Secret != "" && f.clientID == "-" {`, tests: "./internal/cli",
		why: "a secret without its client is silently ignored",
	},
	{
		file: "internal/cli/settings.go", old: "if err == nil && len(b) > maxFile {", new: "if err == nil && len(b) > 2*maxFile {", tests: "./internal/cli",
		why: "a file that is too long is cut and used",
	},
	{
		file: "internal/cli/settings.go", old: `s == "" || strings.ContainsAny(s, "\r\n\x00")`, new: `s == ""`, tests: "./internal/cli",
		why: "a file with more than the secret is sent as the secret",
	},
	{
		file: "internal/cli/settings.go", old: `s := strings.TrimRight(string(b), "\r\n")`, new: `s := strings.TrimSuffix(string(b), "\n")`, tests: "./internal/cli",
		why: "a secret file made on Windows does not work",
	},
	{
		file: "internal/cli/settings.go", old: `strings.ContainsAny(name, " \t\r\n")`, new: `strings.ContainsAny(name, "\r\n")`, tests: "./internal/cli",
		why: "a header that cannot be sent fails at the first request instead of at once",
	},
	{
		file: "internal/cli/settings.go", old: `if !ok || value == "" {`, new: `if value == "" {`, tests: "./internal/cli",
		why: "a header with ${NAME and no closing brace is sent with a secret and without its rest",
	},
	{
		file: "internal/cli/settings.go", old: `if !ok || value == "" {`, new: "if !ok {", tests: "./internal/cli",
		why: "a header is sent empty where its variable is not set",
	},
	{
		file: "internal/cli/settings.go", old: "if !pool.AppendCertsFromPEM(b) {", new: "if pool.AppendCertsFromPEM(b) && false {", tests: "./internal/cli",
		why: "a file without certificates is accepted, and every connection fails later",
	},
	{
		file: "internal/cli/grant.go", old: "\tcase 1:\n\t\treturn sources[0], nil", new: "\tcase 1, 2:\n\t\treturn sources[0], nil", tests: "./internal/cli",
		why: "of two sources of assertions one is silently ignored",
	},
	{
		file: "internal/cli/grant.go", old: `if f.clientID == "" && f.clientMetadataURL == "" {`, new: `if f.clientID == "-" {`, tests: "./internal/cli",
		why: "a client key without its client is silently ignored",
	},
	{
		file: "internal/cli/grant.go", old: `case f.grant == "workload-identity", f.grant == "" && source != nil:`, new: `case f.grant == "workload-identity", source != nil:`, tests: "./internal/cli",
		why: "another grant than the one asked for is used",
	},
	{
		file: "internal/cli/flags.go", old: `if f.resource != "" && f.noResource {`, new: "if false {", tests: "./internal/cli",
		why: "of --resource and --no-resource one is silently ignored",
	},
	{
		file: "internal/cli/flags.go", old: "if f.timeout < 0 {", new: "if f.timeout < -time.Hour {", tests: "./internal/cli",
		why: "a negative --timeout means no limit",
	},
	{
		file: "internal/cli/configfile.go", old: "info.Mode().Perm()&0o022 != 0", new: "info.Mode().Perm()&0o002 != 0", tests: "./internal/cli",
		why: "the group can turn a person's logins to another server",
	},
	{
		file: "internal/cli/configfile.go", old: "at.Mode().Perm()&0o022 != 0 && at.Mode()&fs.ModeSticky == 0", new: "at.Mode().Perm()&0o022 != 0 && at.Mode()&fs.ModeSticky != 0", tests: "./internal/cli",
		why: "others can put another configuration file in place of the person's",
	},
	{
		file: "internal/cli/configfile.go", old: "d.open = info.Mode().Perm()&0o044 != 0", new: "d.open = info.Mode().Perm()&0o004 != 0", tests: "./internal/cli",
		why: "a secret in a file that the group reads is accepted",
	},
	{
		file: "internal/cli/config.go", old: "return password || slices.ContainsFunc(", new: "return password && slices.ContainsFunc(", tests: "./internal/cli",
		why: "the password of a store in a file that others read is accepted",
	},
	{
		file: "internal/cli/config.go", old: `return strings.Contains(value, "@")`, new: "return false", tests: "./internal/cli",
		why: "the password in a store URL that cannot be read is accepted in a file that others read",
	},
	{
		file: "internal/cli/config.go", old: "case strings.HasSuffix(name, \"header\"), strings.HasSuffix(name, \"-param\"), name == \"assertion-command\":\n\t\treturn hidden", new: "case strings.HasSuffix(name, \"header\"), strings.HasSuffix(name, \"-param\"):\n\t\treturn hidden", tests: "./internal/cli",
		why: "config prints a secret that is a word of the assertion command",
	},
	{
		file: "internal/cli/config.go", old: "if err != nil || u.Host == \"\" {\n\t\t\treturn hidden", new: "if err != nil {\n\t\t\treturn hidden", tests: "./internal/cli",
		why: "config prints the password of a store whose URL is incomplete",
	},
	{
		file: "internal/cli/config.go", old: "if !slices.Contains(sealKinds, kind) {\n\t\t\treturn hidden", new: "if !slices.Contains(sealKinds, kind) && false {\n\t\t\treturn hidden", tests: "./internal/cli",
		why: "config prints a seal key that was given as it is",
	},
	{
		file: "internal/cli/config.go", old: `len(args) == 1 || len(args) > 0 && cmd.Name() != "import"`, new: "len(args) > 0", tests: "./internal/cli",
		why: "the settings of the first server are used for all others that are imported",
	},
	{
		file: "internal/cli/configfile.go", old: `strings.HasPrefix(got, base+"/")`, new: "strings.HasPrefix(got, base)", tests: "./internal/cli",
		why: "a section's client and headers go to another server whose name begins alike",
	},
	{
		file: "internal/cli/configfile.go", old: "if each == profile {", new: "if each >= profile {", tests: "./internal/cli",
		why: "a profile's settings are used for another profile",
	},
	{
		file: "internal/cli/config.go", old: `if taken["client-id"] {`, new: `if taken["client"] {`, tests: "./internal/cli",
		why: "the secret of one client goes with the ID of another",
	},
	{
		file: "internal/cli/configfile.go", old: "if fl == nil || fl.Annotations == nil || key == configFlag {", new: "if fl == nil || fl.Annotations == nil {", tests: "./internal/cli",
		why: "a configuration file may name another one, which is not read",
	},
	{
		file: "internal/cli/configfile.go", old: `if other := names[base]; other != "" {`, new: `if other := names[base]; other == "-" {`, tests: "./internal/cli",
		why: "of two sections of one server one is silently ignored",
	},
	{
		file: "internal/cli/configfile.go", old: "if err == nil && len(b) > maxConfig {", new: "if err == nil && len(b) > 2*maxConfig {", tests: "./internal/cli",
		why: "a file that is too long is cut, and the settings after the cut do not count",
	},
	{
		file: "internal/cli/configfile.go", old: "case errors.Is(err, fs.ErrNotExist):\n\t\t\treturn nil, nil", new: "case err == nil, errors.Is(err, fs.ErrNotExist):\n\t\t\treturn nil, nil", tests: "./internal/cli",
		why: "a configuration file that cannot be read is ignored, and its safeguards with it",
	},
	{
		file: "internal/cli/owner_unix.go", old: "int(st.Uid) == os.Geteuid()", new: "int(st.Uid) != os.Geteuid()", tests: "./internal/cli",
		why: "another user's file configures the person's logins",
	},
	{
		file: "internal/cli/ui.go", old: `u.say("mcpoauth: warning: %s", wire.CleanN(fmt.Sprintf(format, args...), maxMessage))`, new: `u.say("mcpoauth: warning: %.1000s", fmt.Sprintf(format, args...))`, tests: "./internal/cli",
		why: "a server moves the terminal by what a warning quotes",
	},
	{
		file: "internal/cli/ui.go", old: `u.say("mcpoauth: %s", wire.CleanN(trimPrefix(err), maxMessage))`, new: `u.say("mcpoauth: %.1000s", trimPrefix(err))`, tests: "./internal/cli",
		why: "a server moves the terminal by what an error quotes",
	},
	{
		file: "internal/cli/ui.go", old: `u.say("hint: %s", wire.CleanN(text, maxMessage))`, new: `u.say("hint: %s", text)`, tests: "./internal/cli",
		why: "a server moves the terminal by what a hint quotes",
	},
	{
		file: "internal/cli/ui.go", old: `hint := "run: mcpoauth login " + shellWord(login.ServerURL)`, new: `hint := "run: mcpoauth login " + login.ServerURL`, tests: "./internal/cli",
		why: "a command that is printed to be copied runs what a URL has in it",
	},
	{
		file: "internal/cli/token.go", old: `if t.Type() == "DPoP" {`, new: `if t.Type() == "dpop-" {`, tests: "./internal/cli",
		why: "a token that is bound to a key is printed as if it worked alone",
	},
	{
		file: "internal/cli/token.go", old: "st.ServerURL != c.ServerURL():", new: `st.ServerURL == "-":`, tests: "./internal/cli",
		why: "a login of another server is offered for this one",
	},
	{
		file: "internal/cli/token.go", old: "case st.Profile == o.Profile:", new: `case st.Profile == "-":`, tests: "./internal/cli",
		why: "a login that has ended is offered under the same profile",
	},
	{
		file: "internal/cli/token.go", old: "if minValidity < 0 {", new: "if minValidity < -time.Hour {", tests: "./internal/cli",
		why: "a negative --min-validity is accepted",
	},
	{
		file: "internal/cli/import.go", old: "if i.dryRun || i.yes {", new: "if i.dryRun || !i.yes {", tests: "./internal/cli",
		why: "a login is taken over without asking",
	},
	{
		file: "internal/cli/import.go", old: "if !terminal.IsTerminal(u.in) {", new: "if terminal.IsTerminal(u.in) {", tests: "./internal/cli",
		why: "import waits for an answer where nobody can give one",
	},
	{
		file: "internal/cli/import.go", old: `a == "y" || a == "yes" {`, new: `a != "n" {`, tests: "./internal/cli",
		why: "a login is taken over although the person only pressed Enter",
	},
	{
		file: "internal/cli/import.go", old: "Force: i.force, DryRun: i.dryRun}", new: "Force: true, DryRun: i.dryRun}", tests: "./internal/cli",
		why: "import replaces a login that is there",
	},
	{
		file: "internal/cli/import.go", old: "Force: i.force, DryRun: i.dryRun}", new: "Force: i.force}", tests: "./internal/cli",
		why: "--dry-run takes the login over",
	},
	{
		file: "internal/cli/import.go", old: "if info, err := os.Stat(dir); err != nil || !info.IsDir() {", new: "if _, err := os.Stat(dir); err != nil {", tests: "./internal/cli",
		why: "--from with a file says that there is no login instead of what is wrong",
	},
	{
		file: "internal/cli/proxy.go", old: "port < 1 || port > 65535", new: "port < 0 || port > 65536", tests: "./internal/cli",
		why: "a callback port that does not exist fails at the login",
	},
	{
		file: "internal/cli/proxy.go", old: `case "false", "0", "no", "off":`, new: `case "0", "no", "off":`, tests: "./internal/cli",
		why: "--verify false is taken for a file name",
	},
	{
		file: "internal/cli/proxy.go", old: "f.caFile = a.verify", new: "_ = a.verify", tests: "./internal/cli",
		why: "the certificate authority that --verify names is not used",
	},
	{
		file: "internal/cli/proxy.go", old: `if c.Secret != "" && !strings.HasPrefix(v, "@") {`, new: `if c.Secret != "" && false {`, tests: "./internal/cli",
		why: "nobody warns of a secret that every user of the machine can read",
	},
	{
		file: "internal/cli/proxy.go", old: `if c.ID == "" {`, new: "if false {", tests: "./internal/cli",
		why: "a client without an ID is silently ignored",
	},
	{
		file: "internal/cli/proxy.go", old: `auth != "" || b.alias.auth == "none"`, new: `auth != ""`, tests: "./internal/cli",
		why: "--auth none opens a browser",
	},
	{
		file: "internal/cli/proxy.go", old: `auth != "" || b.alias.auth == "none"`, new: `b.alias.auth == "none"`, tests: "./internal/cli",
		why: "a login is begun beside the credentials that the host brings",
	},
	{
		file: "internal/cli/proxy.go", old: `if action != "accept" {`, new: `if action == "" {`, tests: "./internal/cli",
		why: "a login that was declined in the host goes on",
	},
	{
		file: "internal/cli/proxy.go", old: "if b.noBrowser {\n\t\treturn nil", new: "if false {\n\t\treturn nil", tests: "./internal/cli",
		why: "--no-browser opens a browser",
	},
	{
		file: "internal/cli/proxy.go", old: "shellWord(quiet.ServerURL())", new: "quiet.ServerURL()", tests: "./internal/cli",
		why: "the command that the host shows runs what the URL has in it",
	},
	{
		file: "internal/cli/proxy.go", old: "case \"sse-only\", \"sse\":\n\t\treturn proxy.SSEOnly", new: "case \"sse-only\", \"sse\":\n\t\treturn proxy.SSEFirst", tests: "./internal/cli",
		why: "--transport sse-only tries another transport",
	},
	{
		file: "internal/cli/proxy.go", old: "missing && scope.Asked:\n\t\tf.Kind", new: "missing && !scope.Asked:\n\t\tf.Kind", tests: "./internal/cli",
		why: "a person who refused a scope is asked for it again and again",
	},
	{
		file: "internal/cli/setup_write.go", old: "path = target // the file", new: "_ = target // the file", tests: "./internal/cli",
		why: "setup replaces a link by a file",
	},
	{
		file: "internal/cli/setup_write.go", old: "os.O_RDWR|os.O_CREATE|os.O_EXCL", new: "os.O_RDWR|os.O_CREATE", tests: "./internal/cli",
		why: "two programs that write at once lose an entry",
	},
	{
		file: "internal/cli/setup_write.go", old: "time.Since(info.ModTime()) > time.Minute", new: "time.Since(info.ModTime()) > time.Hour", tests: "./internal/cli",
		why: "after a crash nothing can be written for long",
	},
	{
		file: "internal/cli/setup_write.go", old: "errors.Join(f.Chmod(mode), f.Sync())", new: "errors.Join(f.Sync())", tests: "./internal/cli",
		why: "the permissions of the host's file change",
	},
	{
		file: "internal/cli/setup_write.go", old: "os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)", new: "os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)", tests: "./internal/cli",
		why: "others can read the secrets of a host's file in its copy",
	},
	{
		file: "internal/cli/setup_write.go", old: "os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)", new: "os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)", tests: "./internal/cli",
		why: "an older copy of the host's file is overwritten",
	},
	{
		file: "internal/cli/setup_write.go", old: "!info.Mode().IsRegular() || info.Size() > maxHostFile", new: "info.Size() > maxHostFile", tests: "./internal/cli",
		why: "setup waits for ever at a pipe",
	},
	{
		file: "internal/cli/setup_write.go", old: "!info.Mode().IsRegular() || info.Size() > maxHostFile", new: "!info.Mode().IsRegular()", tests: "./internal/cli",
		why: "setup reads a file of any size into memory",
	},
	{
		file: "internal/cli/setup_write.go", old: "case info.Mode().Perm()&0o200 == 0:", new: "case false:", tests: "./internal/cli",
		why: "setup replaces a file that is read-only",
	},
	{
		file: "internal/cli/setup_write.go", old: "if !json.Valid(text) {", new: "if len(text) == 0 {", tests: "./internal/cli",
		why: "a person is not told that comments keep setup from editing the file",
	},
	{
		file: "internal/cli/setup_write.go", old: "if slices.ContainsFunc(all[i+1:]", new: "if false && slices.ContainsFunc(all[i+1:]", tests: "./internal/cli",
		why: "of an entry that is there twice setup changes the one that does not count",
	},
	{
		file: "internal/cli/setup_write.go", old: "if !moved { // else", new: "if moved { // else", tests: "./internal/cli",
		why: "a temporary file stays beside the host's, and the next edit waits for it",
	},
	{
		file: "internal/cli/setup_write.go", old: "os.MkdirAll(filepath.Dir(path), 0o700)", new: "os.MkdirAll(filepath.Dir(path), 0o755)", tests: "./internal/cli",
		why: "others can look into the directory that setup makes",
	},
	{
		file: "internal/cli/setup.go", old: `if path == "" || h.toml {`, new: `if path == "" {`, tests: "./internal/cli",
		why: "a TOML configuration gets a JSON document",
	},
	{
		file: "internal/cli/store.go", old: `case kind == "keyring" && !has:`, new: `case kind == "keyring":`, tests: "./internal/cli",
		why: "what stands after keyring: is silently ignored",
	},
	{
		file: "internal/cli/store.go", old: "AllowPlain: f.sealPlain}", new: "AllowPlain: true}", tests: "./internal/cli",
		why: "a login that somebody else put there unsealed is used",
	},
	{
		file: "internal/cli/store.go", old: "if slices.Contains(sealKinds, kind) {\n\t\t\t\tflag", new: "if slices.Contains(sealKinds, kind) || kind != \"\" {\n\t\t\t\tflag", tests: "./internal/cli",
		why: "a key that was given as it is appears in the error",
	},
	{
		file: "internal/cli/store.go", old: "len(f.seal) == 0 && has", new: "has", tests: "./internal/cli",
		why: "--seal with a file store is silently ignored",
	},
	{
		file: "internal/cli/inspect.go", old: "[]byte(inspectionPage(in)), 0o600)", new: "[]byte(inspectionPage(in)), 0o666)", tests: "./internal/cli",
		why: "others can read or change the report",
	},
	{
		file: "internal/cli/inspect.go", old: "Severity, e(f.Message)", new: "Severity, (f.Message)", tests: "./internal/cli",
		why: "a server puts markup into the report",
	},
	{
		file: "internal/cli/inspect.go", old: "case in.Login.Possible:\n\t\t\t\treturn nil", new: "case !in.Login.Possible:\n\t\t\t\treturn nil", tests: "./internal/cli",
		why: "the exit code of inspect says the contrary",
	},
	{
		file: "internal/cli/inspect.go", old: "case in.Temporary:", new: "case false:", tests: "./internal/cli",
		why: "a script does not try again after a fault that may pass",
	},
	{
		file: "internal/cli/list.go", old: `cmd.Flags().Changed("profile") && st.Profile != f.profile`, new: `cmd.Flags().Changed("profile") && st.Profile == "-"`, tests: "./internal/cli",
		why: "list --profile shows the logins of other profiles",
	},
	{
		file: "internal/cli/list.go", old: "if i == len(problems)-1 {", new: "if i == len(problems) {", tests: "./internal/cli",
		why: "a list that is not complete has exit code 0",
	},
	{
		file: "internal/cli/client_metadata.go", old: "doc.Usable = doc.Usable && !fault.Grave", new: "doc.Usable = doc.Usable && fault.Grave", tests: "./internal/cli",
		why: "a document with which logins fail is called usable",
	},
	{
		file: "internal/cli/clear.go", old: "case all && len(args) > 0:", new: "case false:", tests: "./internal/cli",
		why: "every login is forgotten where one was named",
	},
	{
		file: "internal/cli/run.go", old: "secret.Environ(os.Environ(), f.secretEnv)", new: "secret.Environ(os.Environ(), nil)", tests: "./internal/cli",
		why: "the program inherits a variable that a setting names as a secret",
	},
}
