//go:build unix

// Package host drives a program as an MCP host does: messages by lines on its standard input and
// output, nothing else. It knows no MCP; what is sent and what an answer must be is the trials'.
package host

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Program is a program that was started.
type Program struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	pipe *os.File
	out  *bufio.Reader
	line []byte
	errs tail
	over chan struct{}
	err  error
}

// Start starts argv with what env adds to the environment, in a process group of its own.
func Start(argv, env []string) (*Program, error) {
	p := &Program{cmd: exec.Command(argv[0], argv[1:]...), over: make(chan struct{})} // the trials choose it; it is ended by End
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stderr = &p.errs
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	// A pipe of our own: Wait closes that of StdoutPipe under a reader.
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stdout = w
	p.pipe, p.out = r, bufio.NewReaderSize(r, 64<<10)
	err = p.cmd.Start()
	_ = w.Close()
	if err != nil {
		_ = r.Close()
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.over)
	}()
	return p, nil
}

// Write writes to the program's standard input.
func (p *Program) Write(b []byte) (int, error) { return p.in.Write(b) }

// Send writes one line.
func (p *Program) Send(format string, args ...any) error {
	_, err := p.in.Write(fmt.Appendf(nil, format+"\n", args...))
	return err
}

// Line returns the next line without its end. It is good until the next call.
func (p *Program) Line() ([]byte, error) {
	p.line = p.line[:0]
	for {
		s, err := p.out.ReadSlice('\n')
		if err == nil && len(p.line) == 0 {
			return s[:len(s)-1], nil
		}
		p.line = append(p.line, s...)
		switch {
		case err == nil:
			return p.line[:len(p.line)-1], nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, fmt.Errorf("its output ended (%w); it said: %s", err, p.errs.String())
		}
	}
}

// ErrNothing means that no line came in time.
var ErrNothing = errors.New("nothing came")

// LineWithin is Line, but waits no longer than d for its beginning.
func (p *Program) LineWithin(d time.Duration) ([]byte, error) {
	_ = p.pipe.SetReadDeadline(time.Now().Add(d))
	_, err := p.out.Peek(1)
	_ = p.pipe.SetReadDeadline(time.Time{})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, ErrNothing
	}
	return p.Line()
}

// ID returns the id of an answer that has a number for one, or false. It looks where programs write it:
// at the beginning or at the end, so that the length of the answer does not matter.
func ID(line []byte) (int, bool) {
	begin, end := line[:min(len(line), 64)], line[max(0, len(line)-64):]
	if i := bytes.Index(begin, []byte(`"id":`)); i >= 0 && !bytes.Contains(begin[:i], []byte(`"method"`)) {
		return number(begin[i+5:])
	}
	if len(line) > 4096 {
		if i := bytes.LastIndex(end, []byte(`"id":`)); i >= 0 {
			return number(end[i+5:])
		}
	}
	var m struct {
		ID     *int   `json:"id"`
		Method string `json:"method"`
	}
	if json.Unmarshal(line, &m) != nil || m.ID == nil || m.Method != "" {
		return 0, false
	}
	return *m.ID, true
}

func number(b []byte) (int, bool) {
	b = bytes.TrimLeft(b, " ")
	n := 0
	for n < len(b) && '0' <= b[n] && b[n] <= '9' {
		n++
	}
	v, err := strconv.Atoi(string(b[:n]))
	return v, err == nil
}

// Answer reads lines up to the answer to id, which it returns; others are given to other, if it is not nil.
func (p *Program) Answer(id int, other func([]byte)) ([]byte, error) {
	for {
		line, err := p.Line()
		if err != nil {
			return nil, err
		}
		if got, ok := ID(line); ok && got == id {
			return line, nil
		}
		if other != nil {
			other(line)
		}
	}
}

// Peak returns how much memory the program and its children have had at most, each at its own time, in bytes.
func (p *Program) Peak() (int64, error) { return p.status("VmHWM") }

// Memory returns how much memory the program and its children have, in bytes.
func (p *Program) Memory() (int64, error) { return p.status("VmRSS") }

// status sums up a figure of the program and its children.
func (p *Program) status(name string) (int64, error) {
	statuses, err := filepath.Glob("/proc/[0-9]*/status")
	if err != nil || len(statuses) == 0 {
		return 0, errors.New("there is no /proc to read memory from")
	}
	parent, peak := map[int]int{}, map[int]int64{}
	for _, file := range statuses {
		b, err := os.ReadFile(file) // a process's status
		if err != nil {
			continue // it ended
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		for l := range strings.Lines(string(b)) {
			k, v, _ := strings.Cut(l, ":")
			v, _, _ = strings.Cut(strings.TrimSpace(v), " ")
			switch k {
			case "PPid":
				parent[pid], _ = strconv.Atoi(v)
			case name:
				kb, _ := strconv.ParseInt(v, 10, 64)
				peak[pid] = kb << 10
			}
		}
	}
	sum := int64(0)
	for pid, n := range peak {
		for up := pid; up > 1; up = parent[up] {
			if up == p.cmd.Process.Pid {
				sum += n
				break
			}
		}
	}
	if sum == 0 {
		return 0, errors.New("the program has ended")
	}
	return sum, nil
}

// CloseInput ends the program's standard input.
func (p *Program) CloseInput() { _ = p.in.Close() }

// Kill ends the program and its children at once.
func (p *Program) Kill() { _ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }

// End closes the input, reads what still comes, and waits for the end; after a time it kills. It returns how the program ended.
func (p *Program) End(wait time.Duration) error {
	p.CloseInput()
	t := time.AfterFunc(wait, p.Kill)
	defer p.Kill() // children that stayed
	_, _ = io.Copy(io.Discard, p.out)
	<-p.over
	if !t.Stop() {
		return fmt.Errorf("it did not end within %v; it said: %s", wait, p.errs.String())
	}
	if p.err != nil {
		return fmt.Errorf("%w; it said: %s", p.err, p.errs.String())
	}
	return nil
}

// Said returns the last that the program wrote to its standard error.
func (p *Program) Said() string { return p.errs.String() }

// tail keeps the end of what is written.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.b = append(t.b, b...); len(t.b) > 64<<10 {
		t.b = bytes.Clone(t.b[len(t.b)-32<<10:])
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.b))
}

// Build builds the command into a directory and returns its path. module is where the root of this
// module lies.
func Build(module, dir string) (string, error) {
	path := filepath.Join(dir, "mcpoauth")
	cmd := exec.Command("go", "build", "-o", path, "./cmd/mcpoauth") // it ends by itself
	cmd.Dir = module
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
}
