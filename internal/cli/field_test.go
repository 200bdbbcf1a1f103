package cli

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth/authtest"
)

// Hosts start several programs for one server at once. One asks the person; when it is killed in the middle of
// that, another takes its place at once.
//
// It has a row in docs/compatibility.md.
func TestTheProgramThatLogsInIsKilled(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	env := []string{"MCPOAUTH_DIR=" + t.TempDir()}
	args := []string{"login", srv.MCPURL(), "--no-browser", "--timeout", "40s"}
	first := start(t, env, args...)
	first.await(addressOnStderr)
	others := []*process{start(t, env, args...), start(t, env, args...)}
	for _, p := range others {
		p.await("another process is logging in")
	}
	if err := first.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-first.ended
	_ = first.cmd.Wait()
	next := whoAsks(t, others)
	back, err := visit(t.Context(), next.await(addressOnStderr), true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := get(t.Context(), http.DefaultClient, back); err != nil {
		t.Fatal(err)
	}
	for i, p := range others {
		if code := p.exit(); code != 0 {
			t.Errorf("program %d: exit code %d\n%s", i, code, p.text())
		}
		if p != next && regexp.MustCompile(addressOnStderr).MatchString(p.text()) {
			t.Errorf("program %d asked as well:\n%s", i, p.text())
		}
	}
	if srv.Count("authorize") != 1 || srv.Count("registration") != 1 {
		t.Errorf("%d logins, %d registrations", srv.Count("authorize"), srv.Count("registration"))
	}
}

// whoAsks waits for the first of several programs that shows an address.
func whoAsks(t *testing.T, list []*process) *process {
	t.Helper()
	re, limit := regexp.MustCompile(addressOnStderr), time.After(30*time.Second)
	for {
		for _, p := range list {
			if re.MatchString(p.text()) {
				return p
			}
		}
		select {
		case <-list[0].grown:
		case <-list[1].grown:
		case <-limit:
			t.Fatalf("nobody asks:\n%s\n%s", list[0].text(), list[1].text())
		}
	}
}

// A login that ended halfway is none: nothing says otherwise, and nothing is in the way of the next one.
//
// It has a row in docs/compatibility.md.
func TestAHalfFinishedLogin(t *testing.T) {
	t.Parallel()
	for name, kill := range map[string]func(t *testing.T, srv *authtest.Server, p *process, reached <-chan struct{}){
		"after the registration": func(_ *testing.T, _ *authtest.Server, p *process, _ <-chan struct{}) {
			p.await(addressOnStderr)
		},
		"after the consent": func(t *testing.T, _ *authtest.Server, p *process, _ <-chan struct{}) {
			if _, err := visit(t.Context(), p.await(addressOnStderr), true); err != nil {
				t.Fatal(err)
			}
		},
		"before the tokens are stored": func(t *testing.T, _ *authtest.Server, p *process, reached <-chan struct{}) {
			back, err := visit(t.Context(), p.await(addressOnStderr), true)
			if err != nil {
				t.Fatal(err)
			}
			go func() { _, _ = get(t.Context(), http.DefaultClient, back) }()
			<-reached
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := authtest.New(t, nil)
			reached := make(chan struct{})
			srv.Set(func(f *authtest.Faults) {
				f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{"token": func(_ http.ResponseWriter, r *http.Request) bool {
					close(reached)
					<-r.Context().Done()
					return true
				}}
			})
			env := []string{"MCPOAUTH_DIR=" + t.TempDir()}
			p := start(t, env, "login", srv.MCPURL(), "--no-browser", "--timeout", "40s")
			kill(t, srv, p, reached)
			if err := p.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			<-p.ended
			_ = p.cmd.Wait()
			srv.Set(func(f *authtest.Faults) { f.Intercept = nil })
			list := start(t, env, "list", "--json")
			if code := list.exit(); code != 0 || strings.Contains(list.stdout.String(), srv.MCPURL()) {
				t.Errorf("exit code %d: %s\n%s", code, list.stdout.String(), list.text())
			}
			if tok := start(t, env, "token", srv.MCPURL()); tok.exit() != exitLoginRequired {
				t.Errorf("token:\n%s", tok.text())
			}
			again := start(t, append(env, "BROWSER="+asBrowser(t)), "login", srv.MCPURL(), "--timeout", "30s")
			if code := again.exit(); code != 0 {
				t.Errorf("again: exit code %d\n%s", code, again.text())
			}
			if n := srv.Count("registration"); n != 1 {
				t.Errorf("%d registrations", n)
			}
		})
	}
}
