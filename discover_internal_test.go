package mcpoauth

import (
	"slices"
	"strings"
	"testing"

	"github.com/mcpoauth/mcpoauth/internal/record"
)

// TestAClientStaysAtItsIssuer: the one that the settings name, else the one of its first login.
func TestAClientStaysAtItsIssuer(t *testing.T) {
	t.Parallel()
	const other = "https://b.example.com"
	before := func(f func(*record.Registration)) *record.Login {
		reg := record.Registration{ClientID: "c", Issuer: other, Source: string(SourcePreRegistered)}
		if f != nil {
			f(&reg)
		}
		return &record.Login{Issuer: other, Registration: reg}
	}
	client := Options{Client: ClientOptions{ID: "c"}}
	named := func(issuer string) Options {
		return Options{Client: ClientOptions{ID: "c", Issuer: issuer}}
	}
	for name, tc := range map[string]struct {
		o        Options
		previous *record.Login
		ok       bool
	}{
		"no login":                    {client, nil, true},
		"no client":                   {Options{}, before(nil), true},
		"its issuer":                  {client, before(func(r *record.Registration) { r.Issuer = testIssuer }), true},
		"its issuer, with a slash":    {client, before(func(r *record.Registration) { r.Issuer = testIssuer + "/" }), true},
		"another issuer":              {client, before(nil), false},
		"another client":              {client, before(func(r *record.Registration) { r.ClientID = "d" }), true},
		"another source":              {client, before(func(r *record.Registration) { r.Source = string(SourceDynamic) }), true},
		"no issuer is known":          {client, before(func(r *record.Registration) { r.Issuer = "" }), true},
		"the person says so":          {Options{Client: client.Client, Server: ServerOptions{Issuer: testIssuer}}, before(nil), true},
		"the person gives endpoints":  {Options{Client: client.Client, Server: ServerOptions{Endpoints: Endpoints{Token: "https://a/t", Authorization: "https://a/a"}}}, before(nil), true},
		"it is named":                 {named(testIssuer), before(nil), true},
		"another is named":            {named(other), nil, false},
		"it is named, with a slash":   {named(testIssuer + "/"), nil, true},
		"another is named, and there": {named(other), before(nil), false},
	} {
		err := plainClient(t, tc.o).discoverer.checkClient(testIssuer, tc.previous)
		if (err == nil) != tc.ok || err != nil && !strings.Contains(Hint(err), "--client-issuer") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWhatDiscoveryIsAskedFor follows from the settings.
func TestWhatDiscoveryIsAskedFor(t *testing.T) {
	t.Parallel()
	type wish struct{ registration, document, machine, device bool }
	for name, tc := range map[string]struct {
		o    Options
		want wish
	}{
		"nothing":    {Options{}, wish{registration: true}},
		"a client":   {Options{Client: ClientOptions{ID: "c"}}, wish{}},
		"an issuer":  {Options{Server: ServerOptions{Issuer: testIssuer}}, wish{}},
		"a document": {Options{Client: ClientOptions{MetadataURL: "https://a.example/c.json"}}, wish{registration: true, document: true}},
		"a workload": {Options{Grant: WorkloadIdentity{Assertion: AssertionEnv("X")}}, wish{machine: true}},
		"a device":   {Options{Grant: DeviceCode{}}, wish{registration: true, machine: true, device: true}},
	} {
		r := plainClient(t, tc.o).discoverer.request("")
		if got := (wish{r.NeedsRegistration, r.HasDocument, r.Machine, r.Device}); got != tc.want || len(r.PreferIssuers) != 0 {
			t.Errorf("%s: %+v, %v", name, got, r.PreferIssuers)
		}
	}
	all := Options{
		Client: ClientOptions{ID: "c", Issuer: testIssuer}, Server: ServerOptions{Resource: "https://r", Issuer: "https://p", IgnoreProviders: true},
		Allow: Allow{GuessedEndpoints: true, CrossOriginMetadata: true, MissingPKCE: true, ForeignEndpoints: true},
	}
	r := plainClient(t, all).discoverer.request("https://before")
	if !slices.Equal(r.PreferIssuers, []string{testIssuer, "https://before"}) || r.ResourceOverride != "https://r" || r.PinnedIssuer != "https://p" ||
		!r.NoProviders || !r.AllowGuessedEndpoints || !r.AllowCrossOriginMetadata || !r.AllowMissingPKCE || !r.AllowForeignEndpoints || r.IssuerOnly || r.NoResource || r.ProtocolVersion == "" {
		t.Errorf("got %+v", r)
	}
	if none := plainClient(t, Options{Server: ServerOptions{NoResource: true}}).discoverer.request(""); !none.NoResource || none.AllowGuessedEndpoints || none.AllowCrossOriginMetadata || none.AllowMissingPKCE || none.AllowForeignEndpoints {
		t.Errorf("got %+v", none)
	}
}
