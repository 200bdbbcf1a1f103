//go:build unix

package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// notifications is how many there are before the answer of the tool that sends them.
const notifications = 1000

// serve is the server that all subjects talk to. It does little, so that it is not what is measured.
func serve() error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	_ = texts()
	fmt.Printf("http://%s/mcp\n", ln.Addr())
	go func() { // it ends with the program that started it
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	mux := http.NewServeMux()
	mux.HandleFunc("/mcp", answer)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	return srv.Serve(ln)
}

// sizes are how long the tools' answers are.
var sizes = map[string]int{"echo": 5, "notify": 5, "mb": 1e6, "mb16": 16e6}

// texts are the answers, in the server alone.
var texts = sync.OnceValue(func() map[string]string {
	t := map[string]string{}
	for name, n := range sizes {
		t[name] = strings.Repeat("hello", n/5)
	}
	return t
})

func answer(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet: // the stream on which nothing ever comes
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return
	case http.MethodDelete:
		return
	}
	var m struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
		Params struct {
			Name            string `json:"name"`
			ProtocolVersion string `json:"protocolVersion"`
			Meta            struct {
				Token json.RawMessage `json:"progressToken"`
			} `json:"_meta"`
		} `json:"params"`
	}
	body, err := io.ReadAll(r.Body)
	if err != nil || json.Unmarshal(body, &m) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if m.ID == nil {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	result := ""
	switch m.Method {
	case "initialize":
		w.Header().Set("Mcp-Session-Id", rand.Text())
		result = fmt.Sprintf(`{"protocolVersion":%q,"capabilities":{"tools":{}},"serverInfo":{"name":"bench","version":"1"}}`, m.Params.ProtocolVersion)
	case "ping":
		result = "{}"
	case "tools/list":
		var list []string
		for name := range sizes {
			list = append(list, fmt.Sprintf(`{"name":%q,"description":"a tool","inputSchema":{"type":"object"}}`, name))
		}
		result = `{"tools":[` + strings.Join(list, ",") + `]}`
	case "tools/call":
		if text, ok := texts()[m.Params.Name]; ok {
			result = `{"content":[{"type":"text","text":"` + text + `"}]}`
		}
	}
	w.Header().Set("Content-Type", "text/event-stream")
	event := func(text string) { _, _ = io.WriteString(w, "event: message\ndata: "+text+"\n\n") }
	if result == "" {
		event(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"there is no such method"}}`, m.ID))
		return
	}
	if m.Params.Name == "notify" && m.Params.Meta.Token != nil {
		for i := range notifications {
			event(fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%s,"progress":%d,"total":%d}}`, m.Params.Meta.Token, i+1, notifications))
		}
	}
	event(`{"jsonrpc":"2.0","id":` + string(m.ID) + `,"result":` + result + `}`)
}
