package mcpoauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/netguard"
	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// AssertionSource returns a JWT for an audience, which is the authorization server's issuer unless another is
// configured. A source that cannot choose the audience ignores it. It is called for each token request. An error that
// is [ErrTemporary] may pass.
type AssertionSource func(ctx context.Context, audience string) (string, error)

const (
	// maxAssertion limits a platform's token, in bytes.
	maxAssertion = 64 << 10
	// assertionTimeout limits a request to a platform.
	assertionTimeout = 10 * time.Second
)

// AssertionFile returns a source that reads the file at each call, since platforms replace it (Kubernetes does).
func AssertionFile(path string) AssertionSource {
	return func(context.Context, string) (string, error) {
		f, err := os.Open(path) // the caller's choice
		if err != nil {
			return "", optionError("AssertionFile", err, "name the file that the platform writes with --assertion-file (AssertionFile)")
		}
		defer func() { _ = f.Close() }()
		b, err := io.ReadAll(io.LimitReader(f, maxAssertion))
		return string(b), err
	}
}

// AssertionEnv returns a source that reads an environment variable.
func AssertionEnv(name string) AssertionSource {
	return func(context.Context, string) (string, error) {
		v := os.Getenv(name)
		if v == "" {
			return "", optionError("AssertionEnv", fmt.Errorf("the environment variable %q is not set", name), "set it to the platform's token, or name another with --assertion-env (AssertionEnv)")
		}
		return v, nil
	}
}

// AssertionCommand returns a source that runs a program, without a shell, and reads its standard output. The word
// {audience} in an argument is replaced by the audience. The program inherits the environment without the variables
// whose names begin with MCPOAUTH_, which may hold secrets.
func AssertionCommand(argv ...string) AssertionSource { return AssertionCommandEnv(nil, argv...) }

// AssertionCommandEnv is [AssertionCommand] for a program with an environment of its own, in the form of [os.Environ].
// A nil env is that of AssertionCommand.
func AssertionCommandEnv(env []string, argv ...string) AssertionSource {
	env = slices.Clone(env)
	return func(ctx context.Context, audience string) (string, error) {
		if len(argv) == 0 {
			return "", errors.New("the assertion: there is no command")
		}
		args := slices.Clone(argv[1:])
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "{audience}", audience)
		}
		cmd := exec.CommandContext(ctx, argv[0], args...) // the caller's choice
		cmd.WaitDelay = time.Second
		if cmd.Env = env; env == nil {
			cmd.Env = secret.Environ(os.Environ(), nil)
		}
		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("the assertion: %s: %w", argv[0], err)
		}
		return string(out), nil
	}
}

// AssertionURL returns a source that requests the address with GET. The response is the JWT, or a JSON object with it
// in the member value, access_token, id_token or token. The word {audience} in the address is replaced by the
// audience, escaped. A request over plain http uses no proxy, since such addresses are the machine's own. Redirects
// are not followed. header may be nil.
func AssertionURL(address string, header http.Header) AssertionSource {
	header = header.Clone()
	return func(ctx context.Context, audience string) (string, error) {
		u, err := url.Parse(strings.ReplaceAll(address, "{audience}", url.QueryEscape(audience)))
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			return "", errors.New("the assertion: its address is not an http or https URL")
		}
		if err := (netguard.Config{Header: header}).Check(); err != nil {
			return "", optionError("AssertionURL", err, "remove what is no part of the value, a line break for example")
		}
		ctx, cancel := context.WithTimeout(ctx, assertionTimeout)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
		if err != nil {
			return "", errors.New("the assertion: its address is not a URL")
		}
		for k, v := range header {
			req.Header[k] = v
		}
		transport := &http.Transport{DisableKeepAlives: true}
		if u.Scheme == "https" {
			transport.Proxy = http.ProxyFromEnvironment
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			return "", &TemporaryError{Err: fmt.Errorf("the assertion: %s cannot be reached: %w", plain(u), netguard.WithoutURL(err))}
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxAssertion))
		switch {
		case err != nil:
			return "", &TemporaryError{Err: fmt.Errorf("the assertion: the response of %s broke off: %w", plain(u), err)}
		case resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests:
			return "", &TemporaryError{RetryAfter: wire.RetryAfter(resp.Header, time.Now()), Err: fmt.Errorf("the assertion: %s answers with status %d", plain(u), resp.StatusCode)}
		case resp.StatusCode != http.StatusOK:
			return "", fmt.Errorf("the assertion: %s answers with status %d", plain(u), resp.StatusCode)
		}
		return assertionIn(resp.Header, body), nil
	}
}

// assertionIn returns the JWT of a platform's response.
func assertionIn(h http.Header, body []byte) string {
	text := strings.TrimSpace(string(body))
	if kind, _, _ := mime.ParseMediaType(h.Get("Content-Type")); kind != "application/json" && !strings.HasPrefix(text, "{") {
		return text
	}
	var doc map[string]json.RawMessage
	if json.Unmarshal(body, &doc) != nil {
		return strings.Trim(text, `"`)
	}
	for _, name := range []string{"value", "access_token", "id_token", "token"} {
		var s string
		if json.Unmarshal(doc[name], &s) == nil && s != "" {
			return s
		}
	}
	return ""
}

// Platform is a cloud platform that issues tokens to programs at a well-known address.
type Platform string

const (
	// PlatformGitHubActions is a job in GitHub Actions with the permission id-token: write.
	PlatformGitHubActions Platform = "github-actions"
	// PlatformGoogle is a service account of Google Cloud, by the metadata server.
	PlatformGoogle Platform = "google"
	// PlatformAzure is a managed identity of Azure, by the instance metadata service.
	PlatformAzure Platform = "azure"
)

// request returns where the platform's tokens come from, by its documentation; both parts may name environment
// variables. The address is "" for a platform that is not known.
func (p Platform) request() (address string, header [2]string) {
	switch p {
	case PlatformGitHubActions: // docs.github.com, "OpenID Connect reference", methods for requesting the OIDC token
		return "${ACTIONS_ID_TOKEN_REQUEST_URL}&audience={audience}", [2]string{"Authorization", "Bearer ${ACTIONS_ID_TOKEN_REQUEST_TOKEN}"}
	case PlatformGoogle: // cloud.google.com, "Get an ID token", from the metadata server
		return "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/identity?format=full&audience={audience}", [2]string{"Metadata-Flavor", "Google"}
	case PlatformAzure: // learn.microsoft.com, "How to use managed identities to acquire an access token", over HTTP
		return "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource={audience}", [2]string{"Metadata", "true"}
	}
	return "", [2]string{}
}

// AssertionPlatform returns a source that requests the token of a platform. The error is an [OptionError] for an
// unknown platform.
func AssertionPlatform(p Platform) (AssertionSource, error) {
	template, line := p.request()
	if template == "" {
		return nil, optionError("Grant", fmt.Errorf("unknown platform %q", string(p)), "known are github-actions, google and azure; for others use --assertion-url (AssertionURL)")
	}
	return func(ctx context.Context, audience string) (string, error) {
		var lacking string
		expand := func(s string) string {
			return os.Expand(s, func(variable string) string {
				v := os.Getenv(variable)
				if v == "" {
					lacking = variable
				}
				return v
			})
		}
		address, header := expand(template), http.Header{line[0]: {expand(line[1])}}
		if lacking != "" {
			return "", fmt.Errorf("the assertion: the environment variable %s is not set: the job needs the permission id-token: write", lacking)
		}
		return AssertionURL(address, header)(ctx, audience)
	}, nil
}
