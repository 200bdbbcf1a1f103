//go:build unix

// Command day has a bridge live through a bad day in a short time: tokens of two seconds, a server that is
// deployed anew, a network that is cut and comes back, sessions and tokens that the server forgets, and calls
// all the while. Every call must get one answer, with its id and its text; an error only where something was
// broken while it was under way, and never one that asks a person to log in. Memory must not grow, the end
// must come within a second, and no goroutine may be left.
//
//	go run ./internal/trials/day -duration 10m
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/goleak"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/internal/cli"
	"github.com/mcpoauth/mcpoauth/internal/trials/host"
	"github.com/mcpoauth/mcpoauth/store/filestore"
)

// bridgeEnv makes this program a bridge to the URL that it holds.
const bridgeEnv = "DAY_BRIDGE"

const (
	atOnce = 8
	// after is how long a trouble may have consequences: what waited tries again.
	after = 3 * time.Second
	// patience is how long any answer may take.
	patience = 90 * time.Second
)

func main() {
	if url := os.Getenv(bridgeEnv); url != "" {
		code := cli.Main([]string{"proxy", url, "--no-browser", "--silent"}, os.Stdin, os.Stdout, os.Stderr)
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 99
		}
		os.Exit(code)
	}
	duration := flag.Duration("duration", time.Minute, "how long the day is")
	rate := flag.Int("rate", 25, "`CALLS` a second")
	seed := flag.Uint64("seed", 0, "what makes the same troubles happen again")
	flag.Parse()
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	if err := live(*duration, *rate, *seed); err != nil {
		fmt.Fprintln(os.Stderr, "day:", err)
		os.Exit(1)
	}
}

// day is what is known of the calls and the troubles.
type day struct {
	p *host.Program

	mu       sync.Mutex
	open     map[int]time.Time
	answered int
	failed   map[string]int
	slowest  time.Duration
	troubles []trouble
	happened map[string]int
	wrong    []string
	free     chan bool
}

// trouble is when something was broken.
type trouble struct{ begin, end time.Time }

func live(duration time.Duration, rate int, seed uint64) error {
	network := newNetwork()
	// The last refresh token is honoured until the new one is used: at a server that does not, an answer that a
	// cut swallows ends the login, which no client can help.
	srv, err := authtest.Start(&authtest.Options{AutoApprove: true, GraceForOldRefreshToken: true, AccessTokenLifetime: 2 * time.Second, SSE: true, Listen: network.listen})
	if err != nil {
		return err
	}
	defer srv.Close()
	defer network.heal()
	dir, err := os.MkdirTemp("", "mcpoauth-day")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := login(srv, filepath.Join(dir, "logins")); err != nil {
		return err
	}
	d := &day{open: map[int]time.Time{}, failed: map[string]int{}, happened: map[string]int{}, free: make(chan bool, atOnce)}
	d.p, err = host.Start([]string{os.Args[0]}, []string{bridgeEnv + "=" + srv.MCPURL(), "MCPOAUTH_DIR=" + filepath.Join(dir, "logins"), "HOME=" + dir})
	if err != nil {
		return err
	}
	defer d.p.Kill()
	if err := d.p.Send(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"day","version":"1"}}}`); err != nil {
		return err
	}
	if _, err := d.p.Answer(0, nil); err != nil {
		return err
	}
	if err := d.p.Send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`); err != nil {
		return err
	}
	read := make(chan error, 1)
	go func() { read <- d.listen() }()
	ctx, stop := context.WithTimeout(context.Background(), duration)
	defer stop()
	var work sync.WaitGroup
	work.Go(func() { d.trouble(ctx, srv, network, rand.New(rand.NewPCG(seed, 0))) }) // not for secrets
	var memory []int64
	work.Go(func() { memory = d.watch(ctx) })
	sent := d.call(ctx, rate)
	work.Wait()

	// All is well again: what is open must end, and the next call must succeed.
	late := d.drain()
	failures := d.failures()
	if err := d.send(sent); err == nil {
		late += d.drain()
	}
	if d.failures() != failures {
		d.note("the call after the day failed")
	}
	begin := time.Now()
	if err := d.p.End(5 * time.Second); err != nil {
		d.note("the end: %v", err)
	}
	ending := time.Since(begin)
	if err := <-read; err != nil {
		d.note("its output: %v", err)
	}
	if ending > time.Second {
		d.note("it took %v to end", ending)
	}
	return d.judge(srv, sent+1, late, memory, seed)
}

func login(srv *authtest.Server, dir string) error {
	st, err := filestore.New(dir)
	if err != nil {
		return err
	}
	c, err := mcpoauth.New(srv.MCPURL(), &mcpoauth.Options{Store: st, Prompt: func(ctx context.Context, p *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
		_, err := srv.Browser(ctx, p.URL)
		return nil, err
	}})
	if err != nil {
		return err
	}
	_, err = c.Login(context.Background(), nil)
	return errors.Join(err, c.Close(context.Background()))
}

func (d *day) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if text := fmt.Sprintf(format, args...); len(d.wrong) < 20 {
		d.wrong = append(d.wrong, text)
	}
}

func (d *day) failures() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, k := range d.failed {
		n += k
	}
	return n
}

// send makes call number n.
func (d *day) send(n int) error {
	d.mu.Lock()
	d.open[n+1] = time.Now()
	d.mu.Unlock()
	return d.p.Send(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"echo","arguments":{"text":"text of %[1]d"}}}`, n+1)
}

// call calls until ctx ends and returns how often.
func (d *day) call(ctx context.Context, rate int) (n int) {
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return n
		}
		select {
		case d.free <- true:
		case <-ctx.Done():
			return n
		}
		if err := d.send(n); err != nil {
			d.note("call %d: %v", n, err)
			return n
		}
		n++
	}
}

// listen looks at every line until the output ends.
func (d *day) listen() error {
	for {
		line, err := d.p.Line()
		if err != nil {
			if strings.Contains(err.Error(), "EOF") {
				return nil
			}
			return err
		}
		var m struct {
			ID     *int `json:"id"`
			Result struct {
				Content []struct{ Text string } `json:"content"`
			} `json:"result"`
			Error *struct {
				Code    int    `json:"code"`
				Message string `json:"message"`
			} `json:"error"`
		}
		if err := json.Unmarshal(line, &m); err != nil || m.ID == nil {
			d.note("it wrote %.200s", line)
			continue
		}
		d.mu.Lock()
		begin, ok := d.open[*m.ID]
		delete(d.open, *m.ID)
		took := time.Since(begin)
		blamed := slices.ContainsFunc(d.troubles, func(t trouble) bool {
			return begin.Before(t.end.Add(after)) && t.begin.Before(time.Now())
		})
		if ok {
			d.slowest = max(d.slowest, took)
		}
		d.mu.Unlock()
		switch {
		case !ok:
			d.note("an answer that nobody waits for, or a second one: %.200s", line)
			continue
		case m.Error == nil && (len(m.Result.Content) != 1 || m.Result.Content[0].Text != fmt.Sprintf("text of %d", *m.ID)):
			d.note("call %d got %.200s", *m.ID, line)
		case m.Error == nil:
			d.mu.Lock()
			d.answered++
			d.mu.Unlock()
		case m.Error.Code == -31001 || !blamed:
			d.note("call %d, sent %v before: %d %s", *m.ID, took.Round(time.Millisecond), m.Error.Code, m.Error.Message)
			fallthrough
		default:
			d.mu.Lock()
			d.failed[fmt.Sprint(m.Error.Code, " ", m.Error.Message)]++
			d.mu.Unlock()
		}
		select {
		case <-d.free:
		default:
		}
	}
}

// drain waits until nothing is open, and returns how many calls got no answer.
func (d *day) drain() int {
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		d.mu.Lock()
		n := len(d.open)
		d.mu.Unlock()
		if n == 0 || time.Now().After(end) {
			return n
		}
	}
}

// trouble makes trouble until ctx ends.
func (d *day) trouble(ctx context.Context, srv *authtest.Server, n *network, r *rand.Rand) {
	between := func(least, most time.Duration) time.Duration {
		return least + time.Duration(r.Int64N(int64(most-least)))
	}
	for {
		if !wait(ctx, between(2*time.Second, 5*time.Second)) {
			return
		}
		d.mu.Lock()
		d.troubles = append(d.troubles, trouble{begin: time.Now(), end: time.Now().Add(time.Hour)})
		d.mu.Unlock()
		var what string
		switch r.IntN(5) {
		case 0:
			what = "the server is deployed anew"
			n.down()
			srv.ForgetSessions()
			wait(ctx, between(200*time.Millisecond, 3*time.Second))
		case 1:
			what = "the network is cut, connections survive"
			n.cut(false)
			wait(ctx, between(100*time.Millisecond, 5*time.Second))
		case 2:
			what = "the network is cut, connections are lost"
			n.cut(true)
			wait(ctx, between(100*time.Millisecond, 5*time.Second))
		case 3:
			what = "the server forgets its sessions"
			srv.ForgetSessions()
		case 4:
			what = "the server takes no token any more"
			srv.Expire()
		}
		n.heal()
		d.mu.Lock()
		d.troubles[len(d.troubles)-1].end = time.Now()
		d.happened[what]++
		d.mu.Unlock()
	}
}

func wait(ctx context.Context, t time.Duration) bool {
	select {
	case <-time.After(t):
		return true
	case <-ctx.Done():
		return false
	}
}

// watch looks at the bridge's memory.
func (d *day) watch(ctx context.Context) (all []int64) {
	for wait(ctx, 500*time.Millisecond) {
		n, err := d.p.Memory()
		if err != nil {
			d.note("memory: %v", err)
			return all
		}
		all = append(all, n)
	}
	return all
}

func (d *day) judge(srv *authtest.Server, sent, unanswered int, memory []int64, seed uint64) error {
	mb := func(n int64) float64 { return float64(n) / (1 << 20) }
	for _, what := range slices.Sorted(keys(d.happened)) {
		fmt.Printf("%6d times %s\n", d.happened[what], what)
	}
	failed := d.failures()
	fmt.Printf("%6d refreshes, %d logins revoked\n%6d calls: %d answered, %d failed, %d without an answer; the slowest took %v\n",
		srv.Count("refresh"), srv.Revoked(), sent, d.answered, failed, unanswered, d.slowest.Round(time.Millisecond))
	for _, what := range slices.Sorted(keys(d.failed)) {
		fmt.Printf("%6d times %s\n", d.failed[what], what)
	}
	if len(memory) >= 8 {
		early, end := median(memory[len(memory)/8:len(memory)/2]), median(memory[len(memory)*3/4:])
		fmt.Printf("memory: %.1f MB in the first half, %.1f MB in the last quarter\n", mb(early), mb(end))
		if float64(end) > 1.15*float64(early)+(4<<20) {
			d.note("memory grows")
		}
	}
	if unanswered > 0 || d.answered+failed != sent {
		d.note("%d calls, but %d answers", sent, d.answered+failed)
	}
	if d.answered < sent/2 {
		d.note("only %d of %d calls came through", d.answered, sent)
	}
	if len(d.wrong) > 0 {
		return fmt.Errorf("with -seed %d:\n  %s", seed, strings.Join(d.wrong, "\n  "))
	}
	fmt.Println("every call one answer, nothing left behind")
	return nil
}

func keys(m map[string]int) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func median(all []int64) int64 {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}
