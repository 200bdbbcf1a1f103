package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestTheHostCannotBeWrittenTo(t *testing.T) {
	t.Parallel()
	s := newMCP(t, old)
	inR, inW := io.Pipe()
	defer inW.Close()
	outR, outW := io.Pipe()
	_ = outR.CloseWithError(errors.New("gone"))
	done := make(chan error, 1)
	c := &http.Client{Transport: &http.Transport{}}
	go func() {
		done <- Run(context.Background(), inR, outW, &Options{URL: s.URL, HTTP: c})
	}()
	_, _ = io.WriteString(inW, fmt.Sprintf(initRequest, old)+"\n")
	if err := <-done; err == nil || !strings.Contains(err.Error(), "writing to the host") {
		t.Error(err)
	}
	if _, err := Run2(nil); err == nil {
		t.Error("no options")
	}
}

// Run2 runs a bridge that should not begin.
func Run2(o *Options) (struct{}, error) {
	return struct{}{}, Run(context.Background(), strings.NewReader(""), io.Discard, o)
}
