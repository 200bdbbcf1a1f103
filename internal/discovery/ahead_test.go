package discovery

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/netguard"
)

// far answers from pages, each request after one round trip.
type far struct {
	pages pages

	mu    sync.Mutex
	asked []string
}

const roundTrip = 100 * time.Millisecond

func (f *far) RoundTrip(r *http.Request) (*http.Response, error) {
	at := r.URL.String()
	f.mu.Lock()
	f.asked = append(f.asked, at)
	f.mu.Unlock()
	select {
	case <-time.After(roundTrip):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	w := httptest.NewRecorder()
	if page := f.pages[at]; page != nil {
		page(w, r)
	} else {
		http.NotFound(w, r)
	}
	return w.Result(), nil
}

// TestRoundTrips: a person waits for each round trip, so what may be asked in parallel is, and a server whose documents
// lie where the specification puts them first sees each request once and no other.
func TestRoundTrips(t *testing.T) {
	t.Parallel()
	const tenant = issuer + "/t1"
	minimum := []string{atPath, issuer + oauthName}
	for name, c := range map[string]struct {
		pages pages
		// challenge is what the challenge names, after one round trip of its own.
		challenge string
		trips     time.Duration
		only      []string
	}{
		"all where it should be":        {usual(), atPath, 2, minimum},
		"a challenge without metadata":  {usual(), "", 2, minimum},
		"another address":               {usual().with(pages{mcpOrigin + "/meta": prm(mcp, issuer)}), mcpOrigin + "/meta", 3, append([]string{mcpOrigin + "/meta"}, minimum...)},
		"metadata at the host's root":   {pages{atRoot: prm(mcp, issuer), issuer + oauthName: asm(issuer, nil)}, "", 3, nil},
		"OpenID Connect":                {pages{atPath: prm(mcp, issuer), issuer + oidcName: asm(issuer, nil)}, atPath, 3, nil},
		"a path, second place":          {pages{atPath: prm(mcp, tenant), issuer + oidcName + "/t1": asm(tenant, nil)}, atPath, 3, nil},
		"a path, last standard place":   {pages{atPath: prm(mcp, tenant), tenant + oidcName: asm(tenant, nil)}, atPath, 3, nil},
		"a path, at the host":           {pages{atPath: prm(mcp, tenant), issuer + oidcName: asm(tenant, nil)}, atPath, 4, nil},
		"without any resource metadata": {pages{mcpOrigin + oauthName: asm(mcpOrigin, nil)}, "", 3, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &far{pages: c.pages}
				client, err := netguard.New(netguard.Config{HTTPClient: &http.Client{Transport: f}})
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				r := Request{ServerURL: mcp}
				r.Ahead = Begin(t.Context(), client, r)
				defer r.Ahead.End()
				time.Sleep(roundTrip) // the request that provokes the challenge
				r.MetadataURL = c.challenge
				if _, err := Discover(t.Context(), client, r); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start); took != c.trips*roundTrip {
					t.Errorf("took %v, want %d round trips", took, c.trips)
				}
				slices.Sort(c.only)
				slices.Sort(f.asked)
				if c.only != nil && !slices.Equal(f.asked, c.only) {
					t.Errorf("asked %q, want %q", f.asked, c.only)
				}
			})
		})
	}
}

// TestAheadEnds: requests whose answers are not needed do not outlive the discovery.
func TestAheadEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, err := netguard.New(netguard.Config{HTTPClient: &http.Client{Transport: slow(time.Hour)}})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		Begin(t.Context(), client, Request{ServerURL: mcp}).End()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r := Request{ServerURL: mcp}
		r.Ahead = Begin(t.Context(), client, r)
		if _, err := Discover(ctx, client, r); err == nil || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		r.Ahead.End()
		if took := time.Since(start); took != time.Second {
			t.Errorf("the end took %v", took)
		}
	})
}
