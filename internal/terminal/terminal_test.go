package terminal

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestWaitingWritesPlainLinesWithoutATerminal(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	s := w.Start(Wait{What: "waiting for something", Deadline: time.Now().Add(5 * time.Minute)})
	deadline := time.Now().Add(5 * time.Second)
	for {
		w.mu.Lock()
		n := b.Len()
		w.mu.Unlock()
		if n > 0 || time.Now().After(deadline) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	s.End()
	if got := b.String(); got != "waiting for something, 5m left\n" {
		t.Errorf("got %q", got)
	}
	b.Reset()
	w.Start(Wait{What: "never shown", Delay: time.Hour}).End()
	if b.Len() != 0 {
		t.Errorf("a wait that was over before its delay was shown: %q", b.String())
	}
}

func TestWaitingLineIsRewrittenInPlaceAndTakenAway(t *testing.T) {
	var b bytes.Buffer
	w := &Waiting{Wait: Wait{What: "waiting", Deadline: time.Now().Add(100 * time.Second)}, to: NewWriter(&b), live: true, width: 40}
	w.show()
	w.Deadline = time.Now().Add(5 * time.Second)
	w.show()
	w.erase()
	if strings.ContainsAny(b.String(), "\n\x1b") || strings.Count(b.String(), "\r") != 4 {
		t.Errorf("got %q", b.String())
	}
	parts := strings.Split(b.String(), "\r")
	if len(parts[1]) != len(parts[2]) || strings.TrimSpace(parts[3]) != "" || len(parts[3]) < len(strings.TrimRight(parts[2], " ")) {
		t.Errorf("a rest of the line stays: %q", parts)
	}
}

func TestSSHTarget(t *testing.T) {
	env := func(m map[string]string) func(string) string { return func(k string) string { return m[k] } }
	got := sshTarget(env(map[string]string{"SSH_CONNECTION": "192.0.2.1 5000 198.51.100.7 2222", "USER": "ann"}))
	if got != "ann@198.51.100.7 -p 2222" {
		t.Errorf("got %q", got)
	}
	if got := sshTarget(env(map[string]string{"SSH_CONNECTION": "192.0.2.1 5000 198.51.100.7 22", "USER": "$(x)"})); got != "'$(x)@198.51.100.7'" {
		t.Errorf("got %q", got)
	}
	if got := SSHForward("http://[::1]:8910/callback"); !strings.HasPrefix(got, "ssh -L 8910:[::1]:8910 ") {
		t.Errorf("got %q", got)
	}
}

func TestShortDurations(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 45 * time.Second: "45s", 4*time.Minute + 59*time.Second: "4m 59s", 5 * time.Minute: "5m",
		54*time.Minute + 20*time.Second: "54m", time.Hour: "1h", 3*time.Hour + 20*time.Minute: "3h 20m", 12 * 24 * time.Hour: "12d",
	} {
		if got := Short(d); got != want {
			t.Errorf("Short(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestPastedLinesAreBounded(t *testing.T) {
	in := NewInput(strings.NewReader("one\n" + strings.Repeat("x", 5*maxLine) + "\ntwo"))
	var got []string
	for {
		typing := in.Await(func(line string) error {
			if line == "" {
				return errNoPoll
			}
			return nil
		})
		l, ok := <-typing.Lines
		typing.End()
		if !ok {
			break
		}
		got = append(got, l.Text)
	}
	if strings.Join(got, "|") != "one|two" {
		t.Errorf("got %d lines, first %.20q", len(got), got)
	}
}
