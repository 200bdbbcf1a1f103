package proxy

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"sync"
)

// questions are the bridge's own requests to the host.
type questions struct {
	conn *connection
	out  *output

	mu sync.Mutex
	// asked has the ids of all questions. The channel is nil once nothing waits for the answer: one that comes
	// late must not reach the server either.
	asked map[string]chan<- []byte
}

// questionsKey is the context key under which AskHost finds the questions of its bridge.
type questionsKey struct{}

// CanAskHost reports whether AskHost can ask the host now. ctx is as for AskHost.
func CanAskHost(ctx context.Context) bool {
	q, _ := ctx.Value(questionsKey{}).(*questions)
	return q != nil && q.conn.opensAddresses()
}

// AskHost asks the person to open an address, by way of the host (URL mode elicitation, MCP 2025-11-25). ctx is that
// of [Options.Login] or derived from it. It returns the person's action, accept, decline or cancel; ok is false if
// the host cannot be asked: it has not declared that it can, or there is no session yet. done tells the host that
// the purpose of the address is fulfilled.
func AskHost(ctx context.Context, message, address string) (action string, done func(), ok bool) {
	q, _ := ctx.Value(questionsKey{}).(*questions)
	if !CanAskHost(ctx) {
		return "", nil, false
	}
	id := "mcpoauth-" + rand.Text()
	request, err := json.Marshal(map[string]any{
		"jsonrpc": "2.0", "id": id, "method": "elicitation/create",
		"params": map[string]any{"mode": "url", "elicitationId": id, "url": address, "message": message},
	})
	if err != nil {
		return "", nil, false
	}
	answer, forget := q.await(idKey([]byte(`"` + id + `"`)))
	defer forget()
	done = func() {
		if note, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "method": "notifications/elicitation/complete", "params": map[string]any{"elicitationId": id}}); err == nil {
			q.out.line(note)
		}
	}
	q.out.line(request)
	select {
	case p := <-answer:
		result := member(p, "result")
		action = unquote(member(result, "action"))
		if result == nil || action == "" {
			return "", nil, false // the host cannot after all
		}
	case <-ctx.Done():
		done() // before the host could say that the person has the address
		return "", nil, false
	}
	return action, done, true
}

// await registers a question. Its answer comes on the channel until forget is called.
func (q *questions) await(key string) (answer <-chan []byte, forget func()) {
	ch := make(chan []byte, 1)
	q.set(key, ch)
	return ch, func() { q.set(key, nil) }
}

func (q *questions) set(key string, answer chan<- []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.asked == nil {
		q.asked = make(map[string]chan<- []byte)
	}
	q.asked[key] = answer
}

// takeAnswer passes a response of the host's on, and reports whether it answers a question of the bridge's.
func (q *questions) takeAnswer(m *message) bool {
	q.mu.Lock()
	answer, asked := q.asked[idKey(m.top.raw(fieldID))]
	q.mu.Unlock()
	if !asked {
		return false
	}
	p, err := m.bytes()
	if err != nil {
		p = nil
	}
	select {
	case answer <- bytes.Clone(p):
	default: // answered twice, or too late
	}
	return true
}
