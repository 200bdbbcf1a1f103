package browser

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// With fakeDir in its environment this binary is no test but a browser: it writes a launch into that
// directory and does what fakeDo says.
const (
	fakeDir = "BROWSER_TEST_DIR"
	fakeDo  = "BROWSER_TEST_DO"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(fakeDir); dir != "" {
		os.Exit(fake(dir))
	}
	os.Exit(m.Run())
}

// launch is what a fake browser was started with.
type launch struct {
	Args  []string
	Env   []string
	Stdin int
	Files []string
	Pid   int
}

func fake(dir string) int {
	in, _ := io.ReadAll(io.LimitReader(os.Stdin, 100))
	l := launch{Args: os.Args, Env: os.Environ(), Stdin: len(in), Pid: os.Getpid()}
	if fds, err := os.ReadDir("/proc/self/fd"); err == nil {
		for _, fd := range fds {
			if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil {
				l.Files = append(l.Files, to)
			}
		}
	}
	b, err := json.Marshal(l)
	if err != nil {
		return 99
	}
	// Renamed into place: a reader that sees the file sees all of it.
	name := filepath.Join(dir, fmt.Sprintf("%d", time.Now().UnixNano()))
	if os.WriteFile(name+".new", b, 0o600) != nil || os.Rename(name+".new", name+".json") != nil {
		return 99
	}
	_, _ = os.Stdout.WriteString("junk that would break a protocol on standard output\n")
	_, _ = os.Stderr.WriteString("ouch, ")
	do := os.Getenv(fakeDo)
	switch {
	case do == "hang":
		time.Sleep(time.Minute)
	case do != "" && slices.Contains(strings.Split(do, ","), filepath.Base(os.Args[0])):
		return 3
	}
	return 0
}

// fakes makes a PATH that holds this binary under the given names, and nothing else. It returns a
// function that gives the launches so far.
func fakes(t *testing.T, names ...string) (bin string, launches func() []launch) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin, record := t.TempDir(), t.TempDir()
	for _, n := range names {
		if err := os.Symlink(self, filepath.Join(bin, n)); err != nil {
			t.Skipf("no symbolic links here: %v", err)
		}
	}
	t.Setenv("PATH", bin)
	t.Setenv("BROWSER", "")
	t.Setenv(fakeDir, record)
	t.Setenv(fakeDo, "")
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	return bin, func() []launch {
		files, err := filepath.Glob(filepath.Join(record, "*.json"))
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(files)
		var out []launch
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			var l launch
			if err := json.Unmarshal(b, &l); err != nil {
				t.Fatal(err)
			}
			out = append(out, l)
		}
		return out
	}
}

// running waits for the first launch and ends its process with the test.
func running(t *testing.T, launches func() []launch) launch {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if l := launches(); len(l) > 0 {
			p, err := os.FindProcess(l[0].Pid)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = p.Kill() })
			return l[0]
		}
	}
	t.Fatal("the browser was not started")
	return launch{}
}

func onLinux(t *testing.T) {
	if runtime.GOOS != "linux" || isWSL() {
		t.Skip("the launchers of Linux")
	}
}

// everyLauncher holds what may be tempting to start, shells above all.
var everyLauncher = []string{
	"xdg-open", "x-www-browser", "www-browser", "sh", "bash", "cmd", "cmd.exe", "powershell.exe", "pwsh", "explorer.exe", "wslview", "open", "sensible-browser", "gio", "env",
}

const login = "https://as.example/authorize?client_id=a&redirect_uri=http%3A%2F%2F127.0.0.1%3A8765%2Fcallback&scope=a+b"

func TestOpenStartsTheLauncherAndNothingElse(t *testing.T) {
	onLinux(t)
	bin, launches := fakes(t, everyLauncher...)
	if err := Open(t.Context(), login, Options{}); err != nil {
		t.Fatal(err)
	}
	got := launches()
	if len(got) != 1 || !reflect.DeepEqual(got[0].Args, []string{filepath.Join(bin, "xdg-open"), login}) {
		t.Errorf("started %+v", got)
	}
}

// TestHostileAddressesReachNoShell: the URL comes from a server that nobody has reason to trust.
//
// It has a row in docs/compatibility.md.
func TestHostileAddressesReachNoShell(t *testing.T) {
	onLinux(t)
	bin, launches := fakes(t, everyLauncher...)
	t.Chdir(t.TempDir())
	hostile := []string{
		"https://as.example/$(touch${IFS}pwn)", "https://as.example/`touch pwn`", "https://as.example/';touch pwn;'", `https://as.example/"&calc&"`,
		"https://as.example/?a=|touch pwn", "https://as.example/?^%COMSPEC%", "https://as.example/?x=%s&y=%PATH%", "https://as.example/;touch pwn", "https://as.example/--version",
	}
	for i, raw := range hostile {
		if err := Open(t.Context(), raw, Options{}); err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		got := launches()
		if len(got) != i+1 {
			t.Fatalf("%s: %d launches", raw, len(got)-i)
		}
		args := got[i].Args
		if len(args) != 2 || args[0] != filepath.Join(bin, "xdg-open") || !strings.HasPrefix(args[1], "https://as.example/") || strings.ContainsAny(args[1], "$`'\"|^;<>(){}\\ !*#") {
			t.Errorf("%s arrives as %q", raw, args)
		}
	}
	if left, _ := os.ReadDir("."); len(left) != 0 {
		t.Errorf("somebody wrote %v", left)
	}
	for _, raw := range []string{"file:///etc/passwd", "javascript:alert(1)", "--help", "-a Calculator", "/etc/passwd", "./x.desktop", `\\evil\share\x.exe`, `C:\x.exe`, "https://-x/", "http://as.example/", "https://as.example/\n", ""} {
		if err := Open(t.Context(), raw, Options{}); err == nil {
			t.Errorf("%q was opened", raw)
		}
	}
	if n := len(launches()); n != len(hostile) {
		t.Errorf("%d launches too many", n-len(hostile))
	}
}

// TestBrowserGetsNothingOfOurs: no setting of ours, no input, no output, no open file.
func TestBrowserGetsNothingOfOurs(t *testing.T) {
	onLinux(t)
	_, launches := fakes(t, "xdg-open")
	t.Setenv("MCPOAUTH_CLIENT_SECRET", "SECRET-1")
	t.Setenv("MCPOAUTH_STORE", "redis://:SECRET-2@redis.example")
	t.Setenv("mcpoauth_lower", "SECRET-3")
	t.Setenv("CORP_CLIENT_SECRET", "SECRET-4")
	t.Setenv("LANG", "de_DE.UTF-8")
	t.Setenv("XMCPOAUTH_OTHER", "stays")

	lock, err := os.Create(filepath.Join(t.TempDir(), "login.lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Close() }()
	stdin, feed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_, _ = feed.WriteString("{\"jsonrpc\":\"2.0\"}\n")
	_ = feed.Close()
	out, err := os.Create(filepath.Join(t.TempDir(), "stdout"))
	if err != nil {
		t.Fatal(err)
	}
	oldIn, oldOut := os.Stdin, os.Stdout
	os.Stdin, os.Stdout = stdin, out
	err = Open(t.Context(), login, Options{WithoutEnv: []string{"corp_client_secret", "NOT_SET", ""}})
	os.Stdin, os.Stdout = oldIn, oldOut
	_, _ = stdin.Close(), out.Close()
	if err != nil {
		t.Fatal(err)
	}

	l := launches()[0]
	all := strings.Join(l.Env, "\n")
	if strings.Contains(all, "SECRET") || strings.Contains(strings.ReplaceAll(strings.ToUpper(all), "XMCPOAUTH_", ""), "MCPOAUTH_") {
		t.Errorf("the browser's environment has a setting of ours:\n%s", all)
	}
	for _, want := range []string{"LANG=de_DE.UTF-8", "XMCPOAUTH_OTHER=stays"} {
		if !slices.Contains(l.Env, want) {
			t.Errorf("the browser's environment lacks %s", want)
		}
	}
	if l.Stdin != 0 {
		t.Errorf("the browser read %d bytes of our input", l.Stdin)
	}
	for _, f := range l.Files {
		if strings.Contains(f, "login.lock") || strings.Contains(f, "stdout") {
			t.Errorf("the browser holds %s", f)
		}
	}
	if b, _ := os.ReadFile(out.Name()); len(b) != 0 {
		t.Errorf("the browser wrote %q to our output", b)
	}
}

// TestNextLauncherAfterAFailure, in order; all failures together are the error.
func TestNextLauncherAfterAFailure(t *testing.T) {
	onLinux(t)
	bin, launches := fakes(t, "xdg-open", "www-browser")
	t.Setenv(fakeDo, "xdg-open")
	var said bytes.Buffer
	if err := Open(t.Context(), login, Options{Stderr: &said}); err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, l := range launches() {
		order = append(order, filepath.Base(l.Args[0]))
	}
	if !slices.Equal(order, []string{"xdg-open", "www-browser"}) {
		t.Errorf("started %q", order)
	}
	if said.String() != strings.Repeat("ouch, ", 2) {
		t.Errorf("the launchers said %q", said.String())
	}

	t.Setenv(fakeDo, "xdg-open,www-browser")
	err := Open(t.Context(), login, Options{})
	if err == nil || !strings.Contains(err.Error(), filepath.Join(bin, "xdg-open")+": exit status 3") || !strings.Contains(err.Error(), filepath.Join(bin, "www-browser")+": exit status 3") {
		t.Errorf("the error is %v", err)
	}
	if err != nil && strings.Contains(err.Error(), "as.example") {
		t.Errorf("the error repeats the URL: %v", err)
	}
}

func TestNoLauncherAtAll(t *testing.T) {
	onLinux(t)
	_, launches := fakes(t)
	if err := Open(t.Context(), login, Options{}); err == nil || err.Error() != "there is no program that opens a browser" {
		t.Errorf("the error is %v", err)
	}
	// A program of that name in the working directory is not the system's, whatever PATH says.
	bin, _ := fakes(t, "xdg-open")
	t.Chdir(bin)
	t.Setenv("PATH", ".")
	if err := Open(t.Context(), login, Options{}); err == nil {
		t.Error("a program of the working directory was started")
	}
	if n := len(launches()); n != 0 {
		t.Errorf("%d launches", n)
	}
}

// TestLauncherThatCannotStart: a file that is no program is a failure like another.
func TestLauncherThatCannotStart(t *testing.T) {
	onLinux(t)
	bin, launches := fakes(t, "x-www-browser")
	if err := os.WriteFile(filepath.Join(bin, "xdg-open"), []byte("no program\x00"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Open(t.Context(), login, Options{}); err != nil || len(launches()) != 1 {
		t.Errorf("%v, %d launches", err, len(launches()))
	}
}

// TestNamedBrowser: $BROWSER decides alone.
func TestNamedBrowser(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("programs have other names there")
	}
	bin, launches := fakes(t, "my-browser", "other", "xdg-open", "rundll32.exe")
	exe := func(name string) string { return filepath.Join(bin, name) }
	for i, k := range []struct {
		why, browser string
		want         []string
	}{
		{"a name", "my-browser", []string{exe("my-browser"), login}},
		{"with arguments", "my-browser --private-window  -P work", []string{exe("my-browser"), "--private-window", "-P", "work", login}},
		{"a list, the first of which is missing", strings.Join([]string{"missing", "other"}, string(os.PathListSeparator)), []string{exe("other"), login}},
		{"a path", exe("other"), []string{exe("other"), login}},
		{"shell syntax means nothing", "other $(touch pwn) ; touch pwn", []string{exe("other"), "$(touch", "pwn)", ";", "touch", "pwn", login}},
		{"with the place of the URL at the end", "my-browser --new-tab %s", []string{exe("my-browser"), "--new-tab", login}},
	} {
		t.Setenv("BROWSER", k.browser)
		if err := Open(t.Context(), login, Options{}); err != nil {
			t.Fatalf("%s: %v", k.why, err)
		}
		got := launches()
		if len(got) != i+1 || !reflect.DeepEqual(got[i].Args, k.want) {
			t.Errorf("%s: started %+v, want %q", k.why, got[i:], k.want)
		}
	}
	before := len(launches())
	t.Setenv("BROWSER", "missing")
	if err := Open(t.Context(), login, Options{}); err == nil || len(launches()) != before {
		t.Errorf("another browser than the named one was started: %v", err)
	}
}

// TestLauncherThatDoesNotEnd: many launchers are the browser itself. The login goes on, and the browser
// stays.
func TestLauncherThatDoesNotEnd(t *testing.T) {
	onLinux(t)
	for name, stderr := range map[string]io.Writer{"quiet": nil, "with its complaints on a pipe": struct{ io.Writer }{io.Discard}} {
		_, launches := fakes(t, "xdg-open", "x-www-browser")
		t.Setenv(fakeDo, "hang")
		start := time.Now()
		const short = 100 * time.Millisecond
		if err := Open(t.Context(), login, Options{Stderr: stderr, settle: short}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if took := time.Since(start); took < short || took > short+10*time.Second {
			t.Errorf("%s: it took %v", name, took)
		}
		l := running(t, launches)
		if !alive(l.Pid) {
			t.Errorf("%s: the browser was ended", name)
		}
		if n := len(launches()); n != 1 {
			t.Errorf("%s: %d browsers were started", name, n)
		}
	}
}

// TestTwoSecondsForALauncher: the default is long enough for one that fails slowly, and short for a person.
func TestTwoSecondsForALauncher(t *testing.T) {
	onLinux(t)
	ctx, cancel := context.WithTimeout(t.Context(), settle-500*time.Millisecond)
	defer cancel()
	begun := time.Now()
	var took time.Duration
	done := make(chan error, 1)
	t.Run("started", func(inner *testing.T) { // the environment is needed no longer than that
		_, launches := fakes(inner, "xdg-open", "x-www-browser")
		inner.Setenv(fakeDo, "hang")
		go func() {
			err := Open(ctx, login, Options{})
			took = time.Since(begun)
			done <- err
		}()
		running(t, launches)
	})
	t.Parallel()
	if err := <-done; err != nil || took < settle-600*time.Millisecond || settle != 2*time.Second {
		t.Errorf("%v after %v", err, took)
	}
}

// TestLoginSettledElsewhere: the wait ends with the login, the browser does not.
func TestLoginSettledElsewhere(t *testing.T) {
	onLinux(t)
	_, launches := fakes(t, "xdg-open", "x-www-browser")
	t.Setenv(fakeDo, "hang")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- Open(ctx, login, Options{}) }()
	l := running(t, launches)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if !alive(l.Pid) {
		t.Error("the browser was ended")
	}
	if err := Open(ctx, login, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of the login: %v", err)
	}
	if n := len(launches()); n != 1 {
		t.Errorf("%d browsers were started", n)
	}
}

// alive reports whether a process of Linux runs.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !bytes.Contains(b, []byte(") Z "))
}

func TestCandidates(t *testing.T) {
	rundll := []string{"rundll32.exe", "url.dll,FileProtocolHandler"}
	sep := string(os.PathListSeparator)
	for _, k := range []struct {
		why, goos, browser string
		wsl                bool
		want               [][]string
	}{
		{"Linux", "linux", "", false, [][]string{{"xdg-open"}, {"x-www-browser"}, {"www-browser"}}},
		{"FreeBSD", "freebsd", "", false, [][]string{{"xdg-open"}, {"x-www-browser"}, {"www-browser"}}},
		{"macOS", "darwin", "", false, [][]string{{"/usr/bin/open"}}},
		{"Windows", "windows", "", false, [][]string{rundll}},
		{"WSL", "linux", "", true, [][]string{rundll, {"xdg-open"}}},
		{"a named one", "linux", "firefox", false, [][]string{{"firefox"}}},
		{"a named one on macOS", "darwin", "firefox -P work", false, [][]string{{"firefox", "-P", "work"}}},
		{"a named one on Windows", "windows", "firefox.exe", false, [][]string{{"firefox.exe"}}},
		{"a named one on WSL", "linux", "firefox", true, [][]string{{"firefox"}}},
		{"several", "linux", "a" + sep + sep + " b  c " + sep, false, [][]string{{"a"}, {"b", "c"}}},
		{"nothing but space", "darwin", " \t" + sep + " ", false, [][]string{{"/usr/bin/open"}}},
		{"the URL's place at the end", "linux", "a %s" + sep + "b --x  %s ", false, [][]string{{"a"}, {"b", "--x"}}},
		{"a place that cannot be served", "linux", "a --url=%s" + sep + "b", false, [][]string{{"b"}}},
		{"nothing else", "linux", "a %s -x", false, [][]string{{"xdg-open"}, {"x-www-browser"}, {"www-browser"}}},
	} {
		got := candidates(k.goos, k.browser, k.wsl)
		if !reflect.DeepEqual(got, k.want) {
			t.Errorf("%s: %q, want %q", k.why, got, k.want)
		}
		for _, argv := range got {
			switch strings.TrimSuffix(filepath.Base(argv[0]), ".exe") {
			case "sh", "bash", "cmd", "powershell", "pwsh", "wslview", "explorer", "env":
				t.Errorf("%s: %q interprets what it gets", k.why, argv)
			}
		}
	}
}

func TestAvailable(t *testing.T) {
	const ssh = "10.0.0.1 50000 10.0.0.2 22"
	everything := []string{"rundll32.exe", "xdg-open", "x-www-browser", "www-browser"}
	for _, k := range []struct {
		why, goos string
		env       map[string]string
		wsl       bool
		programs  []string
		want      string // why not; empty if there is one
	}{
		{"a desktop under X11", "linux", map[string]string{"DISPLAY": ":0"}, false, []string{"xdg-open"}, ""},
		{"a desktop under Wayland", "linux", map[string]string{"WAYLAND_DISPLAY": "wayland-0"}, false, []string{"xdg-open"}, ""},
		{"Debian's names", "linux", map[string]string{"DISPLAY": ":0"}, false, []string{"x-www-browser"}, ""},
		{"the older name", "linux", map[string]string{"DISPLAY": ":0"}, false, []string{"www-browser"}, ""},
		{"macOS", "darwin", nil, false, nil, ""},
		{"Windows", "windows", nil, false, nil, ""},
		{"WSL", "linux", nil, true, []string{"rundll32.exe"}, ""},
		{"WSL with a display and no way to Windows", "linux", map[string]string{"DISPLAY": ":0"}, true, []string{"xdg-open"}, ""},
		{"SSH with X11 forwarded", "linux", map[string]string{"SSH_CONNECTION": ssh, "DISPLAY": "localhost:10.0"}, false, []string{"xdg-open"}, ""},

		{"SSH to Linux", "linux", map[string]string{"SSH_CONNECTION": ssh}, false, everything, "SSH"},
		{"SSH to a Mac", "darwin", map[string]string{"SSH_CONNECTION": ssh}, false, everything, "SSH"},
		{"SSH to Windows", "windows", map[string]string{"SSH_CONNECTION": ssh}, false, everything, "SSH"},
		{"SSH to WSL", "linux", map[string]string{"SSH_CONNECTION": ssh}, true, everything, "SSH"},
		{"a server or a container", "linux", nil, false, everything, "no display"},
		{"a container on WSL's kernel", "linux", nil, true, []string{"xdg-open"}, "Windows programs"},
		{"a bare WSL", "linux", nil, true, nil, "Windows programs"},
		{"a display and no program", "linux", map[string]string{"DISPLAY": ":0"}, false, nil, "no program"},
		{"FreeBSD without X", "freebsd", nil, false, everything, "no display"},

		{"who names a browser has one, on a server", "linux", map[string]string{"BROWSER": "remote-open"}, false, nil, ""},
		{"and over SSH", "linux", map[string]string{"BROWSER": "remote-open", "SSH_CONNECTION": ssh}, false, nil, ""},
	} {
		getenv := func(name string) string { return k.env[name] }
		have := func(name string) bool { return slices.Contains(k.programs, name) }
		ok, why := available(k.goos, getenv, k.wsl, have)
		if ok != (k.want == "") || ok && why != "" || !strings.Contains(why, k.want) {
			t.Errorf("%s: %t, %q; want %q", k.why, ok, why, k.want)
		}
	}
}

// TestAvailableLooksAtThisMachine is the same without seams.
func TestAvailableLooksAtThisMachine(t *testing.T) {
	onLinux(t)
	fakes(t, "xdg-open")
	for _, k := range []string{"SSH_CONNECTION", "DISPLAY", "WAYLAND_DISPLAY"} {
		t.Setenv(k, "")
	}
	if ok, why := Available(); ok || why != "there is no display" {
		t.Errorf("without a display: %t, %q", ok, why)
	}
	t.Setenv("DISPLAY", ":0")
	if ok, why := Available(); !ok {
		t.Errorf("with a display: %q", why)
	}
	t.Setenv("PATH", t.TempDir())
	if ok, _ := Available(); ok {
		t.Error("without a program there is a browser")
	}
}

var sanitized = []struct{ raw, want string }{
	{login, login},
	{"https://as.example", "https://as.example"},
	{"https://as.example/", "https://as.example/"},
	{"HTTPS://AS.Example:0443/Authorize", "https://as.example:443/Authorize"},
	{"https://as.example:/x", "https://as.example/x"},
	{"https://as.example/a?", "https://as.example/a"},
	{"https://as.example/?a=1&b=2&c=x%2Fy%3D", "https://as.example/?a=1&b=2&c=x%2Fy%3D"},
	{"https://as.example/a%2Fb/%e4%b8%ad", "https://as.example/a%2Fb/%e4%b8%ad"},
	{"https://as.example/a b?c d", "https://as.example/a%20b?c%20d"},
	{"https://as.example/\u4e2d?q=\u00e9\u202e", "https://as.example/%E4%B8%AD?q=%C3%A9%E2%80%AE"},
	{"https://as.example/$(id)`id`", "https://as.example/%24%28id%29%60id%60"},
	{`https://as.example/?a="&b='&c=\&d=|&e=^&f=<>`, "https://as.example/?a=%22&b=%27&c=%5C&d=%7C&e=%5E&f=%3C%3E"},
	{"https://as.example/?a=%COMSPEC%25&b=%zz&c=%4", "https://as.example/?a=%25COMSPEC%25&b=%25zz&c=%254"},
	{"https://as.example/;x!*(){}[]", "https://as.example/%3Bx%21%2A%28%29%7B%7D%5B%5D"},
	{"https://as.example/#fragment", "https://as.example/"},
	{"https://[2606:4700::1111]:8443/x", "https://[2606:4700::1111]:8443/x"},
	{"https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"},
	{"https://a_b.example/", "https://a_b.example/"},
	{"http://localhost:8080/x", "http://localhost:8080/x"},
	{"http://LOCALHOST/x", "http://localhost/x"},
	{"http://127.0.0.1:8080/x", "http://127.0.0.1:8080/x"},
	{"http://127.9.9.9/x", "http://127.9.9.9/x"},
	{"http://[::1]:8080/x", "http://[::1]:8080/x"},
}

var refusedURLs = []string{
	"", " ", "-", "--help", "-a Calculator", "--version https://as.example/", "as.example", "/etc/passwd", "./x.desktop", "//as.example/x", "?x",
	`\\evil\share\x.exe`, `C:\Windows\System32\calc.exe`, "C:/x.exe", "file:///etc/passwd", "file://localhost/etc/passwd", "file://evil/share/x.exe", `https:\\as.example\x`,
	"javascript:alert(1)", "JavaScript://as.example/%0aalert(1)", "data:text/html,x", "vbscript:x", "ftp://as.example/", "ms-settings:x", "search-ms:query=x", "smb://evil/share", "chrome://settings",
	"https:as.example", "https:///x", "https://", "https://:443/", "https://?x", "https://#x",
	" https://as.example/", "\thttps://as.example/", "https://as.example/\r\nX: y", "https://as.example/\x00", "https://as.example/\x1b[31m", "https://as.example/\x7f", "https://as.example\t/",
	"https://user:pw@as.example/", "https://user@as.example/", "https://@as.example/", "http://localhost@evil.example/",
	"http://as.example/", "http://10.0.0.1/", "http://localhost.evil.example/", "http://127.0.0.1.evil.example/", "http://app.localhost/", "http://localhost./", "http://[::2]/", "http://2130706433/",
	"https://-as.example/", "https://--x/", "https://as example/", "https://as.example%20/", "https://as.example%0a/", "https://as\u0435xample.com/", "https://\u0430pple.example/", "https://as.example\u3002evil/",
	"https://a$b.example/", "https://a;b.example/", "https://a`b.example/", "https://a'b.example/", `https://a"b.example/`, "https://a&b.example/", "https://a|b.example/", "https://a,b.example/", "https://a*b.example/",
	"https://[fe80::1%25eth0]/", "https://[::1%25$(id)]/", "https://[::1/", "https://::1/",
	"https://as.example:0/", "https://as.example:65536/", "https://as.example:x/", "https://as.example:80:80/", "https://as.example:+1/",
	"https://as.example/%", "https://as.example/%zz",
	"https://as.example/" + strings.Repeat("a", maxURL), "https://as.example/?" + strings.Repeat("a", 200<<10),
	// Short enough as it comes, too long in its safe form.
	"https://as.example/?" + strings.Repeat("\u4e2d", maxURL/4),
}

func TestSanitize(t *testing.T) {
	for _, k := range sanitized {
		if got, err := Sanitize(k.raw); err != nil || got != k.want {
			t.Errorf("%q is %q, %v; want %q", k.raw, got, err, k.want)
		}
	}
	for _, raw := range refusedURLs {
		if got, err := Sanitize(raw); err == nil {
			t.Errorf("%.80q is %.80q, want a refusal", raw, got)
		}
	}
	longest := "https://as.example/?" + strings.Repeat("a", maxURL-len("https://as.example/?"))
	if got, err := Sanitize(longest); err != nil || got != longest {
		t.Errorf("the longest: %v", err)
	}
}

// FuzzSanitize: what passes is harmless to every launcher and still means what it meant.
func FuzzSanitize(f *testing.F) {
	for _, k := range sanitized {
		f.Add(k.raw)
	}
	for _, raw := range refusedURLs {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := Sanitize(raw)
		if err != nil {
			if got != "" {
				t.Errorf("%q is refused, and is %q", raw, got)
			}
			return
		}
		rest, secure := strings.CutPrefix(got, "https://")
		if !secure {
			rest, secure = strings.CutPrefix(got, "http://")
		}
		if !secure || rest == "" || strings.HasPrefix(rest, "-") || len(got) > maxURL {
			t.Fatalf("%q is %q", raw, got)
		}
		const harmless = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/?&=:@+,%[]"
		if strings.Trim(got, harmless) != "" || strings.IndexFunc(got, func(r rune) bool { return !strings.ContainsRune(harmless, r) }) >= 0 {
			t.Errorf("%q is %q", raw, got)
		}
		for i := range len(got) {
			if got[i] == '%' && (i+2 >= len(got) || !isHex(got[i+1]) || !isHex(got[i+2])) {
				t.Errorf("%q is %q: a bare %% sign", raw, got)
			}
		}
		was, err := url.Parse(raw)
		if err != nil {
			t.Fatalf("%q is no URL, and is %q", raw, got)
		}
		is, err := url.Parse(got)
		if err != nil {
			t.Fatalf("%q is %q, which is no URL", raw, got)
		}
		if is.User != nil || is.Fragment != "" || is.Scheme != was.Scheme || !strings.EqualFold(is.Hostname(), was.Hostname()) || is.Path != was.Path || is.Opaque != "" {
			t.Errorf("%q is %q", raw, got)
		}
		if is.Scheme == "http" {
			if h := is.Hostname(); h != "localhost" && !strings.HasPrefix(h, "127.") && !strings.Contains(h, ":") {
				t.Errorf("%q is %q", raw, got)
			}
		}
		if want, err := url.ParseQuery(was.RawQuery); err == nil && !reflect.DeepEqual(is.Query(), want) {
			t.Errorf("%q is %q: %v, want %v", raw, got, is.Query(), want)
		}
		if again, err := Sanitize(got); err != nil || again != got {
			t.Errorf("%q is %q, and again %q, %v", raw, got, again, err)
		}
	})
}

func TestAHostThatOnlyLooksLikeAnother(t *testing.T) {
	// The lower case of these letters is ASCII; the hosts are others.
	for _, raw := range []string{"https://\u0130dp.example/authorize", "https://\u212adp.example/authorize"} {
		if got, err := Sanitize(raw); err == nil {
			t.Errorf("%q became %q", raw, got)
		}
	}
	if got, err := Sanitize("https://IDP.Example/authorize"); err != nil || got != "https://idp.example/authorize" {
		t.Errorf("%q, %v", got, err)
	}
}
