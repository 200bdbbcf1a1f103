package store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/mcpoauth/mcpoauth/store"
)

func TestWhatIsUnreachable(t *testing.T) {
	var gone *store.UnreachableError
	for _, err := range []error{&net.OpError{Op: "dial", Err: errors.New("refused")}, &net.DNSError{Err: "no such host"}, io.EOF, fmt.Errorf("x: %w", context.DeadlineExceeded)} {
		if got := store.Unreachable("redis", err); !errors.As(got, &gone) || !errors.Is(got, err) || gone.HintText() == "" {
			t.Errorf("%v: %v", err, got)
		}
	}
	if err := store.Unreachable("redis", errors.New("NOAUTH")); errors.As(err, &gone) || !strings.HasPrefix(err.Error(), "redis: ") {
		t.Errorf("a refusal: %v", err)
	}
}
