//go:build unix

// Command loginbench measures how long a person waits for the browser: the time from the start of a login to the opening of its
// authorization request, with a delay added to every round trip and every connection. Beside mcpoauth login stand FastMCP's client
// and the official TypeScript SDK's, in the same run against the same servers; their time begins when their program is loaded,
// mcpoauth's when its process starts. It fails when mcpoauth misses a target.
//
//	go run ./loginbench -n 5
package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/internal/trials/host"
)

// scene is a server, and the target: how many times as long as the faster of the others mcpoauth may take.
type scene struct {
	name   string
	target float64
	// requests are those that mcpoauth may send before the browser opens, by leg; nil if they are not limited.
	requests map[string]int
	serve    func(listen func(network, address string) (net.Listener, error)) *authtest.Options
	faults   func(*authtest.Faults)
}

func scenes() []scene {
	const path = "/tenant/one"
	return []scene{
		{
			name: "full metadata", target: 0.61, requests: map[string]int{"challenge": 1, "resource-metadata": 1, "server-metadata": 1, "registration": 1},
			serve: func(listen func(string, string) (net.Listener, error)) *authtest.Options {
				return &authtest.Options{Lenient: true, SameOrigin: true, Listen: listen}
			},
		},
		{
			name: "metadata at the last standard address", target: 0.65,
			serve: func(listen func(string, string) (net.Listener, error)) *authtest.Options {
				return &authtest.Options{Lenient: true, SameOrigin: true, IssuerPath: path, Listen: listen}
			},
			faults: func(f *authtest.Faults) {
				f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{"server-metadata": func(w http.ResponseWriter, r *http.Request) bool {
					if r.URL.Path == path+"/.well-known/openid-configuration" {
						return false
					}
					http.NotFound(w, r)
					return true
				}}
			},
		},
	}
}

func main() {
	n := flag.Int("n", 5, "how many `ROUNDS`; their medians are shown")
	root := flag.String("root", "..", "`DIRECTORY` of the module with the command")
	delay := flag.Duration("delay", 100*time.Millisecond, "`TIME` that each round trip and each connection takes")
	slack := flag.Float64("slack", 1, "how many `TIMES` the targets may be missed by: for a machine that is not idle")
	flag.Parse()
	if err := run(*n, *root, *delay, *slack); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(n int, root string, delay time.Duration, slack float64) error {
	if n < 1 {
		return errors.New("no rounds")
	}
	dir, err := os.MkdirTemp("", "loginbench")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ours, err := host.Build(root, dir)
	if err != nil {
		return err
	}
	peers, err := filepath.Abs(filepath.Join(root, "interop", "peers"))
	if err != nil {
		return err
	}
	b := &bench{dir: dir, ours: ours, peers: peers}
	if err := b.browser(); err != nil {
		return err
	}
	var missed error
	for _, s := range scenes() {
		missed = errors.Join(missed, b.play(s, n, delay, slack))
	}
	return missed
}

// bench is what all scenes have in common.
type bench struct {
	dir, ours, peers string
	// script is the browser that is started, pipe where it says that it was.
	script string
	pipe   *os.File
}

// browser makes a browser that opens nothing.
func (b *bench) browser() error {
	fifo := filepath.Join(b.dir, "opened")
	if out, err := exec.Command("mkfifo", fifo).CombinedOutput(); err != nil {
		return fmt.Errorf("mkfifo: %w: %s", err, out)
	}
	b.script = filepath.Join(b.dir, "browser")
	if err := os.WriteFile(b.script, []byte("#!/bin/sh\necho >'"+fifo+"'\n"), 0o700); err != nil { //nolint:gosec // a program
		return err
	}
	var err error
	b.pipe, err = os.OpenFile(fifo, os.O_RDWR, 0)
	return err
}

// play measures all clients against one server, and holds ours to the target.
func (b *bench) play(s scene, n int, delay time.Duration, slack float64) error {
	tb := &cleanups{}
	defer tb.run()
	srv := authtest.New(tb, s.serve(func(network, address string) (net.Listener, error) {
		ln, err := net.Listen(network, address)
		return far{ln, delay}, err
	}))
	if s.faults != nil {
		srv.Set(s.faults)
	}
	clients := []struct {
		name    string
		measure func(string) (time.Duration, error)
		took    []time.Duration
	}{
		{name: "mcpoauth", measure: b.mcpoauth},
		{name: "FastMCP", measure: b.peer(filepath.Join(b.peers, "venv", "bin", "python"), "fastmcp-login.py")},
		{name: "TypeScript SDK", measure: b.peer(filepath.Join(b.peers, "node_modules", ".bin", "node"), "ts-login.mjs")},
	}
	for i := range n {
		for j := range clients { // who begins changes
			c := &clients[(i+j)%len(clients)]
			before := map[string]int{}
			for leg := range s.requests {
				before[leg] = srv.Count(leg)
			}
			d, err := c.measure(srv.MCPURL())
			if err != nil {
				return fmt.Errorf("%s: %s: %w", s.name, c.name, err)
			}
			c.took = append(c.took, d)
			for leg, want := range s.requests {
				if got := srv.Count(leg) - before[leg]; c.name == "mcpoauth" && got != want {
					return fmt.Errorf("%s: mcpoauth sent %d requests of %s, want %d", s.name, got, leg, want)
				}
			}
		}
	}
	var medians []time.Duration
	for _, c := range clients {
		slices.Sort(c.took)
		medians = append(medians, c.took[n/2])
		fmt.Printf("%-38s %-15s %4d ms (%d to %d)\n", s.name, c.name, c.took[n/2].Milliseconds(), c.took[0].Milliseconds(), c.took[n-1].Milliseconds())
	}
	ratio := medians[0].Seconds() / slices.Min(medians[1:]).Seconds()
	fmt.Printf("%-38s %.2f times the faster one, target %.2f\n", s.name, ratio, s.target)
	if ratio > s.target*slack {
		return fmt.Errorf("%s: mcpoauth takes %.2f times as long as the faster of the others, want at most %.2f", s.name, ratio, s.target)
	}
	return nil
}

// mcpoauth measures one login of the command, in a home of its own, as a whole process until its browser is started.
func (b *bench) mcpoauth(url string) (time.Duration, error) {
	home, err := os.MkdirTemp(b.dir, "home")
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(b.ours, "login", url)
	cmd.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "BROWSER=" + b.script, "DISPLAY=:0"}
	var said strings.Builder
	cmd.Stderr = &said
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	if err := b.pipe.SetReadDeadline(start.Add(20 * time.Second)); err != nil {
		return 0, err
	}
	if _, err := b.pipe.Read(make([]byte, 1)); err != nil {
		return 0, fmt.Errorf("no browser was opened: %w: %s", err, said.String())
	}
	return time.Since(start), nil
}

// peer measures one login of another client: a script that prints how many milliseconds it took.
func (b *bench) peer(program, script string) func(string) (time.Duration, error) {
	return func(url string) (time.Duration, error) {
		cmd := exec.Command(program, script, url)
		cmd.Dir = b.peers
		var said strings.Builder
		cmd.Stderr = &said
		out, err := cmd.Output()
		if err != nil {
			return 0, fmt.Errorf("%w: %s", err, said.String())
		}
		lines := strings.Fields(string(out))
		if len(lines) == 0 {
			return 0, fmt.Errorf("it said nothing: %s", said.String())
		}
		ms, err := strconv.ParseFloat(lines[len(lines)-1], 64)
		return time.Duration(ms * float64(time.Millisecond)), err
	}
}

// cleanups is an authtest.TB outside of a test.
type cleanups struct{ list []func() }

// Helper implements authtest.TB.
func (c *cleanups) Helper() {}

// Cleanup implements authtest.TB.
func (c *cleanups) Cleanup(f func()) { c.list = append(c.list, f) }

// Fatalf implements authtest.TB.
func (c *cleanups) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func (c *cleanups) run() {
	for _, f := range slices.Backward(c.list) {
		f()
	}
}
