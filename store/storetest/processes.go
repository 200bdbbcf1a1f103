package storetest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/mcpoauth/mcpoauth/store"
)

const (
	roleEnv   = "STORETEST_ROLE"
	processes = 6
	rounds    = 25
)

// Child plays a part in RunProcesses if this process was started for one, and ends it. Call it at
// the beginning of TestMain.
func Child(open Open) {
	role := os.Getenv(roleEnv)
	if role == "" {
		return
	}
	s, err := open()
	if err == nil {
		err = map[string]func(store.Store) error{"count": countLocked, "swap": countSwapping, "hold": holdForever, "stall": stall}[role](s)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func counter(name string) store.Key { return login("counter-" + name) }

// countLocked counts under a lock, reading and writing in two steps.
func countLocked(s store.Store) error {
	key := counter("locked")
	for range rounds {
		_, unlock, err := s.Lock(ctx(), key, "refresh")
		if err != nil {
			return err
		}
		err = bump(s, key)
		if uerr := unlock(); err == nil {
			err = uerr
		}
		if err != nil {
			return fmt.Errorf("under a lock: %w", err)
		}
	}
	return nil
}

// countSwapping counts without a lock, as often as the comparison fails.
func countSwapping(s store.Store) error {
	for range rounds {
		for {
			err := bump(s, counter("swapped"))
			if err == nil {
				break
			}
			if !errors.Is(err, store.ErrConflict) {
				return err
			}
		}
	}
	return nil
}

func bump(s store.Store, key store.Key) error {
	n := 0
	data, rev, err := s.Load(ctx(), key)
	switch {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return err
	default:
		if n, err = strconv.Atoi(string(data)); err != nil {
			return err
		}
	}
	_, err = s.Save(ctx(), key, []byte(strconv.Itoa(n+1)), rev)
	return err
}

// holdForever takes a lock, says so, and never releases it.
func holdForever(s store.Store) error {
	if _, _, err := s.Lock(ctx(), counter("held"), "refresh"); err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, "held")
	time.Sleep(time.Minute)
	return nil
}

// RunProcesses checks what must hold between processes, by starting this test binary again with env
// added to its environment: locks and comparisons exclude, and the lock of a process that is killed
// is free again. TestMain must call [Child].
func RunProcesses(t TB, open Open, env ...string) {
	t.Helper()
	s, err := open()
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	// All of them at once: each part has a record of its own.
	parts := map[string]store.Key{"count": counter("locked"), "swap": counter("swapped")}
	running := map[string][]*exec.Cmd{}
	for role := range parts {
		for range processes {
			cmd := child(role, env)
			cmd.Stderr = os.Stderr
			if err := cmd.Start(); err != nil {
				t.Fatalf("start: %v", err)
			}
			running[role] = append(running[role], cmd)
		}
	}
	killed(t, s, env)
	for role, key := range parts {
		for _, cmd := range running[role] {
			if err := cmd.Wait(); err != nil {
				t.Errorf("%s: a process ended with %v", role, err)
			}
		}
		data, _, err := s.Load(ctx(), key)
		if err != nil || string(data) != strconv.Itoa(processes*rounds) {
			t.Errorf("%s: %d processes counted to %s of %d (%v)", role, processes, data, processes*rounds, err)
		}
	}
}

// killed kills the holder of a lock.
func killed(t TB, s store.Store, env []string) {
	t.Helper()
	cmd := child("hold", env)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatalf("pipe: %v", err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start: %v", err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || strings.TrimSpace(line) != "held" {
		t.Fatalf("the holder said %q, %v", line, err)
	}
	short, cancel := context.WithTimeout(ctx(), 200*time.Millisecond)
	if _, _, err := s.Lock(short, counter("held"), "refresh"); err == nil {
		t.Errorf("a lock held by another process was had")
	}
	cancel()
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	long, cancel := context.WithTimeout(ctx(), limit)
	defer cancel()
	_, unlock, err := s.Lock(long, counter("held"), "refresh")
	if err != nil {
		t.Errorf("the lock of a killed process is not free: %v", err)
		return
	}
	if err := unlock(); err != nil {
		t.Errorf("unlock: %v", err)
	}
}

func child(role string, env []string) *exec.Cmd {
	cmd := exec.Command(os.Args[0]) //nolint:gosec,noctx // this binary; the caller waits for it
	cmd.Env = append(append(os.Environ(), env...), roleEnv+"="+role)
	return cmd
}

// stall takes a lock and reads the record. Its parent then stops it for longer than its lease. It goes
// on with what it began: held must have ended, and the save be refused.
func stall(s store.Store) error {
	key := counter("stalled")
	held, unlock, err := s.Lock(ctx(), key, "refresh")
	if err != nil {
		return err
	}
	_, rev, err := s.Load(ctx(), key)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, "held")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	if _, err := s.Save(ctx(), key, []byte("by the one who was stopped"), rev); !errors.Is(err, store.ErrConflict) {
		return fmt.Errorf("the save of a holder that lost its lock was not refused: %w", err)
	}
	select {
	case <-held.Done():
	case <-time.After(limit):
		return errors.New("held goes on although the lock was lost")
	}
	_ = unlock()
	return nil
}

// RunStalledHolder checks what follows when the holder of a lock stands still for longer than its
// lease, for stores whose locks are leases: another gets the lock, and what the first then saves is
// refused. stop and resume do that to a process (SIGSTOP and SIGCONT). TestMain must call [Child].
func RunStalledHolder(t TB, open Open, stop, resume func(*os.Process) error, env ...string) {
	t.Helper()
	s, err := open()
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	key := counter("stalled")
	rev, err := s.Save(ctx(), key, []byte("before"), 0)
	if err != nil {
		t.Fatalf("save: %v", err)
	}
	cmd := child("stall", env)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatalf("pipe: %v", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatalf("pipe: %v", err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start: %v", err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || strings.TrimSpace(line) != "held" {
		t.Fatalf("the holder said %q, %v", line, err)
	}
	if err := stop(cmd.Process); err != nil {
		t.Fatalf("stop: %v", err)
	}
	long, cancel := context.WithTimeout(ctx(), limit)
	defer cancel()
	_, unlock, err := s.Lock(long, key, "refresh")
	if err != nil {
		t.Errorf("the lock of a stopped holder is not free after its lease: %v", err)
		return
	}
	if _, err := s.Save(ctx(), key, []byte("after"), rev); err != nil {
		t.Errorf("save: %v", err)
	}
	if err := resume(cmd.Process); err != nil {
		t.Fatalf("resume: %v", err)
	}
	if _, err := fmt.Fprintln(in, "go on"); err != nil {
		t.Fatalf("%v", err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the stopped holder: %v", err)
	}
	if data, _, err := s.Load(ctx(), key); string(data) != "after" || err != nil {
		t.Errorf("the record is %q, %v", data, err)
	}
	if err := unlock(); err != nil {
		t.Errorf("unlock: %v", err)
	}
}
