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

	"github.com/mcpoauth/mcpoauth/internal/grant"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// WorkloadIdentity is the JWT bearer grant (RFC 7523 section 2.1, SEP-1933): a token that the platform
// gives to the program stands for it. [ClientOptions.ID] may be empty.
type WorkloadIdentity struct {
	// Assertion returns the platform's token. It is called for each token request. It must not be nil.
	Assertion AssertionSource
	// Audience is what the token must be for. Empty is the authorization server: its issuer, or its token
	// endpoint. A token for anybody else is not sent: it could be used there.
	Audience string
}

// AssertionSource returns a JWT for an audience, the authorization server's issuer unless another is
// configured. Sources that cannot choose the audience ignore it.
type AssertionSource func(ctx context.Context, audience string) (string, error)

func (WorkloadIdentity) name() string { return grant.TypeJWTBearer }

func (w WorkloadIdentity) assertion(ctx context.Context, _ *Client, a asked) (string, error) {
	audience, fit := w.Audience, []string{w.Audience}
	if audience == "" {
		audience, fit = a.issuer, []string{a.issuer, strings.TrimSuffix(a.issuer, "/"), a.issuer + "/", a.tokenEndpoint}
	}
	text, err := w.Assertion(ctx, audience)
	if err != nil {
		return "", err
	}
	text = strings.TrimSpace(text)
	claims, err := grant.ReadClaims(text)
	if err != nil {
		return "", fmt.Errorf("the assertion is not a JWT: %w", err)
	}
	if !slices.ContainsFunc(fit, claims.For) {
		return "", &Error{
			Op:      OpToken,
			Message: fmt.Sprintf("the assertion is for %q, and not for %s: it was not sent", wire.Clean(strings.Join(claims.Audience, " ")), wire.Clean(audience)),
			Hint:    "have the platform issue it for the authorization server; if its administrator wants another audience set --assertion-audience (WorkloadIdentity.Audience)",
		}
	}
	return text, nil
}

func (w WorkloadIdentity) check(*Options) error {
	if w.Assertion == nil {
		return optionError("Grant", errors.New("a workload identity needs a source of assertions"), "set --assertion-file, --assertion-env, --assertion-command or --assertion-url (WorkloadIdentity.Assertion)")
	}
	return nil
}

const (
	// maxAssertion bounds a platform's token, bytes.
	maxAssertion = 64 << 10
	// assertionTimeout bounds a question to a platform.
	assertionTimeout = 10 * time.Second
)

// AssertionFile reads the assertion from a file each time: platforms replace it (Kubernetes).
func AssertionFile(path string) AssertionSource {
	return func(context.Context, string) (string, error) {
		f, err := os.Open(path) //nolint:gosec // the caller's choice
		if err != nil {
			return "", optionError("AssertionFile", err, "name the file that the platform writes with --assertion-file (AssertionFile)")
		}
		defer func() { _ = f.Close() }()
		b, err := io.ReadAll(io.LimitReader(f, maxAssertion))
		return string(b), err
	}
}

// AssertionEnv takes the assertion from an environment variable.
func AssertionEnv(name string) AssertionSource {
	return func(context.Context, string) (string, error) {
		v := os.Getenv(name)
		if v == "" {
			return "", optionError("AssertionEnv", fmt.Errorf("the environment variable %q is not set", name), "set it to the platform's token, or name another with --assertion-env (AssertionEnv)")
		}
		return v, nil
	}
}

// AssertionCommand runs a program and takes what it prints. The word {audience} in an argument is
// replaced by the audience.
func AssertionCommand(argv ...string) AssertionSource {
	return func(ctx context.Context, audience string) (string, error) {
		if len(argv) == 0 {
			return "", errors.New("the assertion: there is no command")
		}
		args := slices.Clone(argv[1:])
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "{audience}", audience)
		}
		cmd := exec.CommandContext(ctx, argv[0], args...) //nolint:gosec // the caller's choice
		cmd.WaitDelay = time.Second
		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("the assertion: %s: %w", argv[0], err)
		}
		return string(out), nil
	}
}

// AssertionURL asks an address of the platform with GET, and takes the JWT that it answers, or the one in the
// member value, access_token, id_token or token of a JSON object. The word {audience} in the address is
// replaced by the audience, escaped. Plain http goes through no proxy: such addresses are the machine's own.
// Redirects are not followed. header may be nil.
func AssertionURL(address string, header http.Header) AssertionSource {
	header = header.Clone()
	return func(ctx context.Context, audience string) (string, error) {
		u, err := url.Parse(strings.ReplaceAll(address, "{audience}", url.QueryEscape(audience)))
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			return "", errors.New("the assertion: its address is not an http or https URL")
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
			return "", &TemporaryError{Err: fmt.Errorf("the assertion: %s cannot be asked: %w", plain(u), withoutURL(err))}
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxAssertion))
		switch {
		case err != nil:
			return "", &TemporaryError{Err: fmt.Errorf("the assertion: the answer of %s broke off: %w", plain(u), err)}
		case resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests:
			return "", &TemporaryError{RetryAfter: wire.RetryAfter(resp.Header, time.Now()), Err: fmt.Errorf("the assertion: %s answers with status %d", plain(u), resp.StatusCode)}
		case resp.StatusCode != http.StatusOK:
			return "", fmt.Errorf("the assertion: %s answers with status %d", plain(u), resp.StatusCode)
		}
		return assertionIn(resp.Header, body), nil
	}
}

// assertionIn takes the JWT out of a platform's answer.
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

// platforms are those that give programs tokens at a well-known address, each by its own documentation.
var platforms = map[string]struct {
	// address may name environment variables; header lines may too.
	address string
	header  [2]string
}{
	// docs.github.com, "OpenID Connect reference", methods for requesting the OIDC token
	"github-actions": {"${ACTIONS_ID_TOKEN_REQUEST_URL}&audience={audience}", [2]string{"Authorization", "Bearer ${ACTIONS_ID_TOKEN_REQUEST_TOKEN}"}},
	// cloud.google.com, "Get an ID token", from the metadata server
	"google": {"http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/identity?format=full&audience={audience}", [2]string{"Metadata-Flavor", "Google"}},
	// learn.microsoft.com, "How to use managed identities to acquire an access token", over HTTP
	"azure": {"http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource={audience}", [2]string{"Metadata", "true"}},
}

// Platforms returns the names that [AssertionPlatform] knows, sorted.
func Platforms() []string {
	var names []string
	for name := range platforms {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// AssertionPlatform asks the platform of that name, as its documentation says: see [Platforms].
func AssertionPlatform(name string) (AssertionSource, error) {
	p, ok := platforms[name]
	if !ok {
		return nil, optionError("Grant", fmt.Errorf("%q is no platform that is known", name), "known are "+strings.Join(Platforms(), ", ")+"; for others use --assertion-url (AssertionURL)")
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
		address, header := expand(p.address), http.Header{p.header[0]: {expand(p.header[1])}}
		if lacking != "" {
			return "", fmt.Errorf("the assertion: the environment variable %s is not set: the job needs the permission id-token: write", lacking)
		}
		return AssertionURL(address, header)(ctx, audience)
	}, nil
}
