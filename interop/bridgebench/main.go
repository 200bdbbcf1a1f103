//go:build unix

// Command bridgebench measures bridges between stdio and Streamable HTTP side by side: mcpoauth proxy, the
// two that are most used, and, as the measure of all, the official Go SDK's client that needs no bridge.
// All of them talk to one server on loopback that asks for no login. It fails when mcpoauth misses a target.
//
//	go run ./bridgebench -n 5
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/internal/trials/host"
	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/filestore"
)

// The environment of a child.
const (
	serveEnv  = "BRIDGEBENCH_SERVE"
	directEnv = "BRIDGEBENCH_DIRECT"
)

func main() {
	var err error
	switch {
	case os.Getenv(serveEnv) != "":
		err = serve()
	case os.Getenv(directEnv) != "":
		err = direct(os.Getenv(directEnv))
	default:
		n := flag.Int("n", 5, "how many `ROUNDS`; their medians are shown")
		root := flag.String("root", "..", "`DIRECTORY` of the module with the command")
		only := flag.String("only", "", "measure these `SUBJECTS` alone, separated by commas")
		slack := flag.Float64("slack", 1, "how many `TIMES` the targets may be missed by: for a machine that is not idle")
		remote := flag.String("mcp-remote", "", "mcp-remote's dist/proxy.js, instead of the `FILE` in interop/peers")
		fast := flag.String("fastmcp-remote", "", "the `FILE` fastmcp-remote, instead of that in interop/peers")
		flag.Parse()
		err = run(*n, *root, *only, *remote, *fast, *slack)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// subject is what is measured.
type subject struct {
	name    string
	missing string // why it is left out
	measure func() (figures, error)
	got     []figures
}

func run(n int, root, only, remote, fast string, slack float64) error {
	if n < 1 {
		return errors.New("no rounds")
	}
	dir, err := os.MkdirTemp("", "bridgebench")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ours, err := host.Build(root, dir)
	if err != nil {
		return err
	}
	url, stop, err := startServer()
	if err != nil {
		return err
	}
	defer stop()
	if err := login(filepath.Join(dir, "logins"), url); err != nil {
		return err
	}
	env := []string{"MCPOAUTH_DIR=" + filepath.Join(dir, "logins"), "HOME=" + dir, "MCP_REMOTE_CONFIG_DIR=" + dir}
	bridge := func(argv ...string) func() (figures, error) {
		return func() (figures, error) { return measure(argv, env) }
	}
	peers := filepath.Join(root, "interop", "peers")
	node, remote, missing := program(filepath.Join(peers, "node_modules", ".bin", "node"), remote, filepath.Join(peers, "node_modules", "mcp-remote", "dist", "proxy.js"))
	_, fast, missingFast := program("", fast, filepath.Join(peers, "venv", "bin", "fastmcp-remote"))
	all := []*subject{
		{name: "direct", measure: func() (figures, error) { return measureDirect(url) }},
		{name: "mcpoauth", measure: bridge(ours, "proxy", url, "--no-browser")},
		{name: "mcp-remote", missing: missing, measure: bridge(node, remote, url, "--allow-http", "--transport", "http-only")},
		{name: "fastmcp-remote", missing: missingFast, measure: bridge(fast, url, "--auth", "none")},
	}
	var there []*subject
	for _, s := range all {
		switch {
		case only != "" && !strings.Contains(","+only+",", ","+s.name+","):
		case s.missing != "":
			fmt.Printf("%s is left out: %s\n", s.name, s.missing)
		default:
			there = append(there, s)
		}
	}
	for i := range n {
		for j := range there { // who begins changes
			s := there[(i+j)%len(there)]
			f, err := s.measure()
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			s.got = append(s.got, f)
		}
	}
	show(there)
	return check(there, slack)
}

// login stores a login, so that ours sends a token as it does in the field. The server does not look at it.
func login(dir, url string) error {
	s, err := filestore.New(dir)
	if err != nil {
		return err
	}
	const issuer = "http://127.0.0.1:1"
	r := record.Login{
		ServerURL: url, Resource: url, Issuer: issuer, TokenEndpoint: issuer + "/token", Registration: record.Registration{Issuer: issuer, ClientID: "bench"},
		AccessToken: strings.Repeat("t", 800), TokenType: "Bearer", Expiry: time.Now().Add(time.Hour), IssuedAt: time.Now(),
	}
	data, err := r.Encode()
	if err != nil {
		return err
	}
	_, err = s.Save(context.Background(), store.Key{Kind: store.KindLogin, ID: url}, data, 0)
	return err
}

// program returns a program's file, or why there is none. with is what runs it, "" for nothing.
func program(with, given, usual string) (string, string, string) {
	file := usual
	if given != "" {
		file = given
	}
	if _, err := os.Stat(file); err != nil {
		return "", "", file + " is not installed"
	}
	if with != "" {
		if _, err := os.Stat(with); err != nil {
			var found error
			if with, found = exec.LookPath("node"); found != nil {
				return "", "", "there is no node"
			}
		}
	}
	return with, file, ""
}

func startServer() (url string, stop func(), err error) {
	cmd := exec.Command(os.Args[0]) // this program; it ends with its input
	cmd.Env = append(os.Environ(), serveEnv+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = in.Close()
		_ = cmd.Wait()
	}
	url, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		stop()
	}
	return strings.TrimSpace(url), stop, err
}

// of returns the median of one figure of a subject.
func of[T int | int64 | float64 | time.Duration](s *subject, get func(figures) T) T {
	var all []T
	for _, f := range s.got {
		all = append(all, get(f))
	}
	return median(all)
}

func show(all []*subject) {
	row := func(what string, cell func(*subject) string) {
		fmt.Printf("%-34s", what)
		for _, s := range all {
			fmt.Printf(" %15s", cell(s))
		}
		fmt.Println()
	}
	took := func(what string, round time.Duration, get func(figures) time.Duration) {
		row(what, func(s *subject) string {
			if d := of(s, get); d > 0 {
				return d.Round(round).String()
			}
			return "failed"
		})
	}
	rate := func(what string, get func(figures) float64) {
		row(what, func(s *subject) string { return fmt.Sprintf("%.0f", of(s, get)) })
	}
	memory := func(what string, get func(figures) int64) {
		row(what, func(s *subject) string { return fmt.Sprintf("%.1f MB", mb(of(s, get))) })
	}
	row("", func(s *subject) string { return s.name })
	took("initialize, from the start", 100*time.Microsecond, func(f figures) time.Duration { return f.Initialize })
	took("a call, median", time.Microsecond, func(f figures) time.Duration { return f.P50 })
	rate("calls a second, one by one", func(f figures) float64 { return f.PerSecond })
	rate(fmt.Sprintf("calls a second, %d at once", atOnce), func(f figures) float64 { return f.AtOnce })
	took("a result of 1 MB", 10*time.Microsecond, func(f figures) time.Duration { return f.MB })
	took("a result of 16 MB", 100*time.Microsecond, func(f figures) time.Duration { return f.MB16 })
	took(fmt.Sprintf("%d notifications", notifications), 10*time.Microsecond, func(f figures) time.Duration { return f.Notified })
	row("  of which came", func(s *subject) string { return fmt.Sprint(of(s, func(f figures) int { return f.Notifications })) })
	memory("memory at most, up to 1 MB", func(f figures) int64 { return f.Peak })
	memory("memory at most, up to 16 MB", func(f figures) int64 { return f.PeakBig })
}

func mb(n int64) float64 { return float64(n) / (1 << 20) }

// check compares ours with the direct client.
func check(all []*subject, slack float64) error {
	var direct, ours *subject
	for _, s := range all {
		switch s.name {
		case "direct":
			direct = s
		case "mcpoauth":
			ours = s
		}
	}
	if direct == nil || ours == nil {
		return nil
	}
	// Neighbours in time are compared, and the median taken of that.
	ratio := func(get func(figures) float64) float64 {
		var all []float64
		for i := range ours.got {
			all = append(all, get(ours.got[i])/get(direct.got[i]))
		}
		return median(all)
	}
	p50 := ratio(func(f figures) float64 { return float64(f.P50) })
	atOnceRatio := ratio(func(f figures) float64 { return f.AtOnce })
	behind := of(ours, func(f figures) time.Duration { return f.Initialize }) - of(direct, func(f figures) time.Duration { return f.Initialize })
	peak := mb(of(ours, func(f figures) int64 { return f.Peak }))
	came := of(ours, func(f figures) int { return f.Notifications })
	var bad []string
	target := func(ok bool, format string, args ...any) {
		text, word := fmt.Sprintf(format, args...), "ok"
		if !ok {
			word = "MISSED"
			bad = append(bad, text)
		}
		fmt.Printf("%-6s %s\n", word, text)
	}
	target(p50 <= 1.15*slack, "a call takes %.2f times as long as the direct client's, at most 1.15", p50)
	target(atOnceRatio >= 1/slack, "%d at once it makes %.2f times as many calls as the direct client, at least 1", atOnce, atOnceRatio)
	target(float64(behind) <= slack*float64(15*time.Millisecond), "initialize is answered %v after the direct client's, at most 15 ms", behind.Round(100*time.Microsecond))
	target(peak <= 32*slack, "it takes %.1f MB of memory without results over 1 MB, at most 32", peak)
	target(of(ours, func(f figures) time.Duration { return f.MB16 }) > 0, "a result of 16 MB comes through")
	target(came == notifications, "%d of %d notifications came", came, notifications)
	if len(bad) > 0 {
		return fmt.Errorf("mcpoauth missed: %s", strings.Join(bad, "; "))
	}
	return nil
}
