package proxy

import (
	"net/http"
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for v, want := range map[string]time.Duration{"": 0, "2": 2 * time.Second, "-1": 0, "abc": 0, "1000000000": time.Minute, "99999999999999999": 0, "1h": 0} {
		if got := retryAfter(http.Header{"Retry-After": {v}}); got != want {
			t.Errorf("%q: %v", v, got)
		}
	}
	date := time.Now().Add(20 * time.Second).UTC().Format(http.TimeFormat)
	if got := retryAfter(http.Header{"Retry-After": {date}}); got < 15*time.Second || got > 21*time.Second {
		t.Errorf("%s: %v", date, got)
	}
}
