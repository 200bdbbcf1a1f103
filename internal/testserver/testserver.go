//go:build unix

// Package testserver starts the servers that the stores are tested against, and a network between
// that can be made bad.
package testserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// TB is the part of testing.TB that is needed.
type TB interface {
	Helper()
	Cleanup(f func())
	TempDir() string
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
}

// Missing skips a test whose server is not installed, or fails it where everything must run.
func Missing(tb TB, pkg string) {
	tb.Helper()
	if os.Getenv("MCPOAUTH_TEST_ALL") == "1" {
		tb.Fatalf("%s is not installed: apt-get install %s", pkg, pkg)
	}
	tb.Skipf("%s is not installed: apt-get install %s", pkg, pkg)
}

// Redis starts a Redis (or Valkey) and returns its address.
func Redis(tb TB) string {
	tb.Helper()
	bin := find("redis-server", "valkey-server")
	if bin == "" {
		Missing(tb, "redis-server")
	}
	dir := tb.TempDir()
	for range 5 {
		addr := freeAddress(tb)
		_, port, _ := net.SplitHostPort(addr)
		cmd := exec.Command(bin, "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", dir)
		if run(tb, cmd, addr) {
			return addr
		}
	}
	tb.Fatal("redis did not start")
	return ""
}

// Postgres starts a PostgreSQL with an empty database and returns its URL.
func Postgres(tb TB) string {
	tb.Helper()
	bin := filepath.Dir(find("/usr/lib/postgresql/*/bin/initdb", "initdb"))
	if bin == "." {
		Missing(tb, "postgresql")
	}
	dir := tb.TempDir()
	owner := unprivileged(tb, dir)
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-A", "trust", "-U", "mcpoauth", "-E", "UTF8", "--no-sync")
	initdb.SysProcAttr = owner
	initdb.Dir = dir
	if out, err := initdb.CombinedOutput(); err != nil {
		tb.Fatalf("initdb: %v: %s", err, out)
	}
	for range 5 {
		addr := freeAddress(tb)
		_, port, _ := net.SplitHostPort(addr)
		cmd := exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-p", port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="+dir, "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "autovacuum=off", "-c", "max_connections=200")
		cmd.Dir = dir
		cmd.SysProcAttr = owner
		if run(tb, cmd, addr) {
			url := "postgres://mcpoauth@" + addr + "/postgres?sslmode=disable"
			ready(tb, filepath.Join(bin, "pg_isready"), port)
			return url
		}
	}
	tb.Fatal("postgres did not start")
	return ""
}

// unprivileged returns how to start a program that refuses root, and gives it the directory.
func unprivileged(tb TB, dir string) *syscall.SysProcAttr {
	tb.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		Missing(tb, "postgresql")
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if err := os.Chown(dir, uid, gid); err != nil {
		tb.Fatal(err)
	}
	// The directories above are the test's own, and closed to others.
	for d := filepath.Dir(dir); d != "/" && strings.HasPrefix(d, os.TempDir()+string(filepath.Separator)); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o711); err != nil { // it holds nothing but this
			tb.Fatal(err)
		}
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}} // a user's number
}

// find returns the first program that is installed, the newest where a pattern has several.
func find(names ...string) string {
	for _, n := range names {
		if strings.Contains(n, "*") {
			if all, _ := filepath.Glob(n); len(all) > 0 {
				return slices.Max(all)
			}
		} else if path, err := exec.LookPath(n); err == nil {
			return path
		}
	}
	return ""
}

func freeAddress(tb TB) string {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}

// run starts a server, waits until it listens, and ends it with the test. It reports false if it ended
// by itself: another program may have taken the port.
func run(tb TB, cmd *exec.Cmd, addr string) bool {
	tb.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	for range 1000 {
		select {
		case <-ended:
			return false
		case <-time.After(10 * time.Millisecond):
		}
		if c, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
			_ = c.Close()
			tb.Cleanup(func() {
				_ = cmd.Process.Signal(syscall.SIGINT)
				select {
				case <-ended:
				case <-time.After(5 * time.Second):
					_ = cmd.Process.Kill()
					<-ended
				}
			})
			return true
		}
	}
	_ = cmd.Process.Kill()
	<-ended
	tb.Fatalf("the server does not listen: %s", out.String())
	return false
}

// ready waits until PostgreSQL answers: it listens a moment before.
func ready(tb TB, isready, port string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		err := exec.CommandContext(ctx, isready, "-q", "-h", "127.0.0.1", "-p", port).Run()
		if err == nil {
			return
		}
		var exit *exec.ExitError
		if ctx.Err() != nil || !errors.As(err, &exit) {
			tb.Fatal(fmt.Errorf("pg_isready: %w", err))
		}
		time.Sleep(10 * time.Millisecond)
	}
}
