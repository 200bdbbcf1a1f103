//go:build unix

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/mcpoauth/mcpoauth/internal/trials/host"
)

// sdk calls with the official SDK's client.
type sdk struct {
	s    *mcp.ClientSession
	told atomic.Int64
}

func (d *sdk) call(tool string) error {
	p := &mcp.CallToolParams{Name: tool}
	if tool == "notify" {
		p.SetProgressToken(1)
	}
	res, err := d.s.CallTool(context.Background(), p)
	if err != nil {
		return err
	}
	if text, ok := res.Content[0].(*mcp.TextContent); !ok || len(text.Text) != sizes[tool] {
		return fmt.Errorf("%d bytes were to come", sizes[tool])
	}
	return nil
}

func (d *sdk) many(span time.Duration) (int, error) {
	var done atomic.Int64
	errs := make(chan error, atOnce)
	end := time.Now().Add(span)
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			for time.Now().Before(end) {
				if err := d.call("echo"); err != nil {
					errs <- err
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	close(errs)
	return int(done.Load()), <-errs
}

func (d *sdk) notify() (time.Duration, int, error) {
	start := time.Now()
	d.told.Store(0)
	if err := d.call("notify"); err != nil {
		return 0, 0, err
	}
	last := time.Since(start)
	for end := time.Now().Add(late); d.told.Load() < notifications && time.Now().Before(end); last = time.Since(start) {
		time.Sleep(100 * time.Microsecond)
	}
	return last, int(d.told.Load()), nil
}

// direct is a process that calls without a bridge. It says when it is initialized, when its memory is
// to be looked at, and at last its figures; it goes on when it is sent a line.
func direct(url string) error {
	d := &sdk{}
	c := mcp.NewClient(&mcp.Implementation{Name: "bench", Version: "1"}, &mcp.ClientOptions{
		ProgressNotificationHandler: func(context.Context, *mcp.ProgressNotificationClientRequest) { d.told.Add(1) },
	})
	var err error
	if d.s, err = c.Connect(context.Background(), &mcp.StreamableClientTransport{Endpoint: url, MaxEventSize: -1}, nil); err != nil {
		return err
	}
	in := bufio.NewScanner(os.Stdin)
	var f figures
	fmt.Println("initialized")
	in.Scan()
	if err := f.small(d); err != nil {
		return err
	}
	fmt.Println("small")
	in.Scan()
	if err := f.big(d); err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(f); err != nil {
		return err
	}
	in.Scan()
	return nil
}

// measureDirect runs direct.
func measureDirect(url string) (f figures, err error) {
	begin := time.Now()
	p, err := host.Start([]string{os.Args[0]}, []string{directEnv + "=" + url})
	if err != nil {
		return f, err
	}
	defer p.Kill()
	stop := time.AfterFunc(2*time.Minute, p.Kill)
	defer stop.Stop()
	if _, err := p.Line(); err != nil {
		return f, err
	}
	initialize := time.Since(begin)
	if err := p.Send("go on"); err != nil {
		return f, err
	}
	if _, err := p.Line(); err != nil {
		return f, err
	}
	peak, err := p.Peak()
	if err != nil {
		return f, err
	}
	if err := p.Send("go on"); err != nil {
		return f, err
	}
	line, err := p.Line()
	if err != nil {
		return f, err
	}
	if err := json.Unmarshal(line, &f); err != nil {
		return f, err
	}
	f.Initialize, f.Peak = initialize, peak
	f.PeakBig, err = p.Peak()
	return f, err
}
