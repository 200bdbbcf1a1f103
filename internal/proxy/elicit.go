package proxy

import (
	"context"
	"crypto/rand"
	"encoding/json"
)

// askKey is the context key under which Login finds its bridge.
type askKey struct{}

// AskHost asks the person to open an address, by way of the host (URL mode elicitation, MCP 2025-11-25). ctx is that
// of [Options.Login] or comes from it. It returns what the person did, accept, decline or cancel; ok is false if
// the host cannot be asked: it has not declared that it can, or there is no session yet. done tells the host that
// what the address is for is over.
func AskHost(ctx context.Context, message, address string) (action string, done func(), ok bool) {
	b, _ := ctx.Value(askKey{}).(*bridge)
	if b == nil || !b.elicits() {
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
	answer := make(chan []byte, 1)
	key := idKey([]byte(`"` + id + `"`))
	b.mu.Lock()
	if b.asked == nil {
		b.asked = make(map[string]chan<- []byte)
	}
	b.asked[key] = answer
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		b.asked[key] = nil // what comes now comes too late, and is not the server's
		b.mu.Unlock()
	}()
	done = func() {
		if note, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "method": "notifications/elicitation/complete", "params": map[string]any{"elicitationId": id}}); err == nil {
			b.out.line(note)
		}
	}
	b.out.line(request)
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

// elicits reports whether the host takes requests to open an address now: it said so, and its session has begun.
func (b *bridge) elicits() bool {
	b.mu.Lock()
	m, begun := b.host.initialize, b.host.initialized != nil
	if m != nil {
		retain(m)
	}
	b.mu.Unlock()
	if m == nil {
		return false
	}
	defer m.free()
	p, err := m.bytes()
	if err != nil || !begun {
		return false
	}
	return member(member(member(member(p, "params"), "capabilities"), "elicitation"), "url") != nil
}

// ours hands a response of the host's to whoever asked, and reports whether it was a question of the bridge's.
func (b *bridge) ours(m *message) bool {
	b.mu.Lock()
	answer, ours := b.asked[idKey(m.top.raw(fieldID))]
	b.mu.Unlock()
	if !ours {
		return false
	}
	p, err := m.bytes()
	if err != nil {
		p = nil
	}
	select {
	case answer <- append([]byte(nil), p...):
	default: // answered twice, or too late
	}
	return true
}
