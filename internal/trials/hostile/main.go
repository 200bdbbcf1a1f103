//go:build unix

// Command hostile puts the bridge between hosts and servers that mean it ill, or are broken: lines of 100 MB,
// lines without an end, bytes that are no text, a million notifications, answers to nobody. Each time the
// bridge must say what is wrong to whom it concerns, go on serving, need little memory, and end when it is told.
//
//	go run ./internal/trials/hostile -n 1000000
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/trials/host"
)

const (
	// most is how much memory the bridge may have, bytes.
	most = 64 << 20
	// patience is how long a case may take.
	patience = 3 * time.Minute
)

func main() {
	n := flag.Int("n", 1_000_000, "how many `NOTIFICATIONS` the server sends")
	flag.Parse()
	if err := all(*n); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// trial is one case: what the host does once the bridge is open, until all is as it should be.
type trial struct {
	name string
	do   func(*host.Program) error
}

func all(n int) error {
	dir, err := os.MkdirTemp("", "mcpoauth-hostile")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	bridge, err := host.Build(".", dir)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: &server{n: n}, ReadHeaderTimeout: time.Minute}
	defer func() { _ = srv.Close() }()
	go func() { _ = srv.Serve(ln) }()
	const row = "%-52s %10v %10s %10v\n"
	fmt.Printf(row, "", "TOOK", "MEMORY", "END")
	var bad []string
	for _, t := range append(near(), far(n)...) {
		began := time.Now()
		peak, ending, err := run(t, []string{bridge, "proxy", "http://" + ln.Addr().String() + "/mcp", "--no-browser"}, []string{"HOME=" + dir, "MCPOAUTH_DIR=" + filepath.Join(dir, "logins"), "TMPDIR=" + dir})
		fmt.Printf(row, t.name, time.Since(began).Round(time.Millisecond), fmt.Sprintf("%.1f MB", float64(peak)/(1<<20)), ending.Round(time.Millisecond))
		switch {
		case err != nil:
			bad = append(bad, fmt.Sprintf("%s: %v", t.name, err))
		case peak > most:
			bad = append(bad, fmt.Sprintf("%s: %d MB of memory", t.name, peak>>20))
		case ending > time.Second:
			bad = append(bad, fmt.Sprintf("%s: it took %v to end", t.name, ending))
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 2 {
		bad = append(bad, fmt.Sprintf("files were left behind: %v", left))
	}
	if len(bad) > 0 {
		return errors.New(strings.Join(bad, "\n"))
	}
	return nil
}

func run(t trial, argv, env []string) (peak int64, ending time.Duration, err error) {
	p, err := host.Start(argv, env)
	if err != nil {
		return 0, 0, err
	}
	defer p.Kill()
	limit := time.AfterFunc(patience, p.Kill)
	defer limit.Stop()
	if err := p.Send(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"hostile","version":"1"}}}`); err != nil {
		return 0, 0, err
	}
	if _, err := p.Answer(0, nil); err != nil {
		return 0, 0, err
	}
	if err := p.Send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`); err != nil {
		return 0, 0, err
	}
	err = t.do(p)
	peak, perr := p.Peak()
	begin := time.Now()
	eerr := p.End(10 * time.Second)
	ending = time.Since(begin)
	if said := p.Said(); strings.ContainsFunc(said, func(r rune) bool { return r < 0x20 && r != '\n' && r != '\t' || r == 0x7f }) {
		eerr = errors.Join(eerr, fmt.Errorf("control characters on the terminal: %q", said))
	}
	return peak, ending, errors.Join(err, perr, eerr)
}

// refused expects the bridge's own error for a request.
func refused(p *host.Program, id, code int) error {
	line, err := p.Answer(id, nil)
	if err != nil {
		return err
	}
	var m struct {
		Error struct {
			Code    int
			Message string
		}
	}
	if err := json.Unmarshal(line, &m); err != nil || m.Error.Code != code || m.Error.Message == "" || bytes.ContainsRune(line, 0x1b) {
		return fmt.Errorf("request %d got %.300q, want an error %d", id, line, code)
	}
	return nil
}

// works expects that the bridge goes on, and that nothing else comes before the answer.
func works(p *host.Program) error {
	if err := p.Send(`{"jsonrpc":"2.0","id":999,"method":"ping"}`); err != nil {
		return err
	}
	stray := 0
	_, err := p.Answer(999, func([]byte) { stray++ })
	if err == nil && stray > 0 {
		err = fmt.Errorf("%d lines came that nobody asked for", stray)
	}
	return err
}

// near are hosts.
func near() []trial {
	pour := func(p *host.Program, mb int) error {
		piece := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
		for range mb {
			if _, err := p.Write(piece); err != nil {
				return err
			}
		}
		return nil
	}
	return []trial{
		{"a host with a line of 100 MB", func(p *host.Program) error {
			_, err := io.WriteString(p, `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"`)
			if err = errors.Join(err, pour(p, 100), p.Send(`"}}`), refused(p, 7, -31010)); err != nil {
				return err
			}
			return works(p)
		}},
		{"a host with a line that ends with the host", func(p *host.Program) error {
			_, err := io.WriteString(p, `{"jsonrpc":"2.0","id":7,"method":"`)
			return errors.Join(err, pour(p, 200))
		}},
		{"a host that sends no UTF-8", func(p *host.Program) error {
			return errors.Join(p.Send("{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"\xff\x1b\"}"), refused(p, 7, -32700), works(p))
		}},
		{"a host that sends 20000 notifications", func(p *host.Program) error {
			for range 20000 {
				if err := p.Send(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}`); err != nil {
					return err
				}
			}
			return works(p)
		}},
	}
}

func call(p *host.Program, tool string) error {
	return p.Send(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":%q}}`, tool)
}

// far are servers.
func far(n int) []trial {
	bad := func(name, tool string, code int) trial {
		return trial{"a server " + name, func(p *host.Program) error { return errors.Join(call(p, tool), refused(p, 7, code), works(p)) }}
	}
	return []trial{
		{fmt.Sprintf("a server that sends %d notifications", n), func(p *host.Program) error {
			if err := call(p, "flood"); err != nil {
				return err
			}
			came := 0
			if _, err := p.Answer(7, func([]byte) { came++ }); err != nil {
				return err
			}
			if came != n {
				return fmt.Errorf("%d notifications came", came)
			}
			return works(p)
		}},
		bad("with a stream that never ends a line", "endless-line", -31010),
		bad("with events that never end", "endless-event", -31010),
		bad("with an answer that never ends", "endless-answer", -31010),
		bad("that sends no UTF-8", "bytes", -31009),
		bad("with control characters in its errors", "escape", -31008),
		{"a server that answers what nobody asked", func(p *host.Program) error {
			if err := call(p, "stray"); err != nil {
				return err
			}
			stray := 0
			if _, err := p.Answer(7, func([]byte) { stray++ }); err != nil {
				return err
			}
			if stray > 0 {
				return fmt.Errorf("%d of them reached the host", stray)
			}
			return works(p)
		}},
	}
}

// server is an MCP server whose tools are its faults.
type server struct{ n int }

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	var m struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
		Params struct {
			Name string `json:"name"`
		} `json:"params"`
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&m); err != nil || m.ID == nil {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	answer := func(result string) string {
		return `{"jsonrpc":"2.0","id":` + string(m.ID) + `,"result":` + result + `}`
	}
	stream := func() { w.Header().Set("Content-Type", "text/event-stream") }
	write := func(text string) bool {
		_, err := io.WriteString(w, text)
		return err == nil
	}
	endless := func(begin, piece string) {
		for ok := write(begin); ok; ok = write(piece) { // until the bridge hangs up
		}
	}
	w.Header().Set("Content-Type", "application/json")
	piece := strings.Repeat("x", 1<<20)
	switch m.Method + " " + m.Params.Name {
	case "tools/call flood":
		stream()
		for range s.n {
			if !write("data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"level\":\"info\",\"data\":\"hello\"}}\n\n") {
				return
			}
		}
		write("data: " + answer("{}") + "\n\n")
	case "tools/call endless-line":
		stream()
		endless(`data: {"jsonrpc":"2.0","id":7,"result":"`, piece)
	case "tools/call endless-event":
		stream()
		endless(`data: {"jsonrpc":"2.0","id":7,"result":"`+"\n", "data: "+piece+"\n")
	case "tools/call endless-answer":
		endless(`{"jsonrpc":"2.0","id":7,"result":"`, piece)
	case "tools/call bytes":
		write("{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":\"\xff\xfe\"}")
	case "tools/call escape":
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(http.StatusTeapot)
		write("\x1b]0;owned\x07\x1b[2J\x9b31m")
	case "tools/call stray":
		stream()
		for _, id := range []string{"8", `"7"`, "0", "null", "[7]"} {
			write(`data: {"jsonrpc":"2.0","id":` + id + `,"result":{"stolen":true}}` + "\n\n")
		}
		write("data: " + answer("{}") + "\n\n")
	case "initialize ":
		write(answer(`{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"hostile","version":"1"}}`))
	default:
		write(answer("{}"))
	}
}
