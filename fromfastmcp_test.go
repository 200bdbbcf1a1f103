package mcpoauth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// The examples of docs/from-fastmcp.md that are not in example_test.go.

// pingMessage is an MCP request that needs a token.
const pingMessage = `{"jsonrpc":"2.0","id":1,"method":"ping"}`

// status sends an MCP request and returns the status of the response.
func status(hc *http.Client, url string) string {
	resp, err := hc.Post(url, "application/json", strings.NewReader(pingMessage))
	if err != nil {
		return err.Error()
	}
	resp.Body.Close()
	return resp.Status
}

// FastMCP's discover_oauth_metadata(server_base_url). The URL is the MCP server's own.
func ExampleClient_Discover() {
	srv, _ := exampleServer()
	defer srv.Close()
	client, _ := mcpoauth.New(srv.MCPURL(), &mcpoauth.Options{Store: memstore.New()})
	defer client.Close(context.Background())

	d, err := client.Discover(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(d.Issuer == srv.Issuer(), d.Server.TokenEndpoint == srv.TokenEndpoint(), d.Server.CodeChallengeMethodsSupported)
	// Output: true true [S256]
}

// FastMCP's check_if_auth_required(mcp_url), and why a login would or would not work.
func ExampleClient_Inspect() {
	srv, _ := exampleServer()
	defer srv.Close()
	client, _ := mcpoauth.New(srv.MCPURL(), &mcpoauth.Options{Store: memstore.New()})
	defer client.Close(context.Background())

	in, err := client.Inspect(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	required := in.Challenge != nil && in.Challenge.Status == http.StatusUnauthorized
	fmt.Println(required, in.Login.Possible, in.Login.Registration)
	// Output: true true dynamic
}

// FastMCP's FileTokenStorage.clear(): the login is forgotten here, and the server is not told. Logout tells it.
func ExampleClient_Clear() {
	srv, person := exampleServer()
	defer srv.Close()
	ctx := context.Background()
	client, _ := mcpoauth.New(srv.MCPURL(), &mcpoauth.Options{Store: memstore.New(), Prompt: person})
	defer client.Close(ctx)
	if _, err := client.Login(ctx, nil); err != nil {
		fmt.Println(err)
	}

	err := client.Clear(ctx, nil)
	_, missing := client.Token(ctx, nil)
	fmt.Println(err, errors.Is(missing, mcpoauth.ErrLoginRequired))
	// Output: <nil> true
}

// FastMCP's FileTokenStorage.clear_all(cache_dir), for any store.
func ExampleClearAll() {
	srv, person := exampleServer()
	defer srv.Close()
	ctx, logins := context.Background(), memstore.New()
	for _, profile := range []string{"home", "work"} {
		client, _ := mcpoauth.New(srv.MCPURL(), &mcpoauth.Options{Store: logins, Profile: profile, Prompt: person})
		if _, err := client.Login(ctx, nil); err != nil {
			fmt.Println(err)
		}
		client.Close(ctx)
	}

	removed, err := mcpoauth.ClearAll(ctx, logins, nil)
	fmt.Println(removed, err)
	// Output: 2 <nil>
}

// FastMCP's redirect_handler(authorization_url). A Prompt may show the URL in a way of its own.
func ExamplePrompt() {
	srv, _ := exampleServer()
	defer srv.Close()
	prompt := func(ctx context.Context, p *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
		fmt.Println(p.ServerURL == srv.MCPURL(), p.Issuer == srv.Issuer(), p.Scopes)
		_, err := srv.Browser(ctx, p.URL) // the person allows it
		return nil, err                   // go on waiting for the callback
	}
	client, _ := mcpoauth.New(srv.MCPURL(), &mcpoauth.Options{Store: memstore.New(), Prompt: prompt, Scopes: mcpoauth.ScopeOptions{Request: []string{"mcp:read"}}})
	defer client.Close(context.Background())

	token, err := client.Login(context.Background(), nil)
	fmt.Println(token.Scopes(), err)
	// Output:
	// true true [mcp:read offline_access]
	// [mcp:read offline_access] <nil>
}

// FastMCP's set_tokens and set_client_info: tokens that another program has.
func ExampleClient_Import() {
	srv, person := exampleServer()
	defer srv.Close()
	ctx := context.Background()
	theirs := memstore.New()
	other, _ := mcpoauth.New(srv.MCPURL(), &mcpoauth.Options{Store: theirs, Prompt: person})
	token, err := other.Login(ctx, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	made, _ := other.Status(ctx)

	client, _ := mcpoauth.New(srv.MCPURL(), &mcpoauth.Options{Store: memstore.New()})
	defer client.Close(ctx)
	_, err = client.Import(ctx, &mcpoauth.ImportedLogin{
		AccessToken: token.AccessToken(), Expiry: token.Expiry(), Scopes: token.Scopes(), ClientID: made.ClientID, Issuer: made.Issuer,
	}, nil)
	fmt.Println(err)
	fmt.Println(status(client.HTTPClient(), srv.MCPURL()))
	// Output:
	// <nil>
	// 200 OK
}

// FastMCP's get_client_info, and the absolute expiry that its StoredToken keeps.
func ExampleClient_Status() {
	srv, person := exampleServer()
	defer srv.Close()
	ctx := context.Background()
	client, _ := mcpoauth.New(srv.MCPURL(), &mcpoauth.Options{Store: memstore.New(), Prompt: person})
	defer client.Close(ctx)
	if _, err := client.Login(ctx, nil); err != nil {
		fmt.Println(err)
	}

	st, err := client.Status(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(st.ClientID != "", st.RegistrationSource, st.State, time.Until(st.Expiry).Round(time.Hour), st.CanRefresh)
	// Output: true dynamic valid 1h0m0s true
}

// FastMCP's client_id, client_secret and issuer: a client that was registered by hand.
func ExampleClientOptions() {
	srv, person := exampleServer()
	defer srv.Close()
	srv.AddClient(authtest.Client{ID: "by-hand", Secret: "s3cret", RedirectURIs: []string{"http://127.0.0.1/callback"}})
	client, err := mcpoauth.New(srv.MCPURL(), &mcpoauth.Options{
		Store:  memstore.New(),
		Client: mcpoauth.ClientOptions{ID: "by-hand", Secret: "s3cret", Issuer: srv.Issuer()},
		Prompt: person,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close(context.Background())

	fmt.Println(status(client.HTTPClient(), srv.MCPURL()), srv.Count("registration"))
	// Output: 200 OK 0
}

// FastMCP's client_metadata_url: the client's ID is the URL of a document about it.
func ExampleClientOptions_metadataURL() {
	const document = "https://app.example/oauth/client.json"
	srv, err := authtest.Start(&authtest.Options{MetadataDocuments: map[string][]string{document: {"http://127.0.0.1/callback"}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	client, err := mcpoauth.New(srv.MCPURL(), &mcpoauth.Options{
		Store:  memstore.New(),
		Client: mcpoauth.ClientOptions{MetadataURL: document},
		Prompt: func(ctx context.Context, p *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
			_, err := srv.Browser(ctx, p.URL)
			return nil, err
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close(context.Background())

	fmt.Println(status(client.HTTPClient(), srv.MCPURL()), srv.Count("registration"))
	// Output: 200 OK 0
}

// FastMCP's callback_port and callback_host. Without a port the one of the registration is used, or a free one.
func ExampleCallbackOptions() {
	srv, _ := exampleServer()
	defer srv.Close()
	client, err := mcpoauth.New(srv.MCPURL(), &mcpoauth.Options{
		Store:    memstore.New(),
		Callback: mcpoauth.CallbackOptions{Host: "localhost", Path: "/oauth/callback"},
		Prompt: func(ctx context.Context, p *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
			fmt.Println(strings.HasPrefix(p.RedirectURI, "http://localhost:"), strings.HasSuffix(p.RedirectURI, "/oauth/callback"))
			_, err := srv.Browser(ctx, p.URL)
			return nil, err
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close(context.Background())

	_, err = client.Login(context.Background(), nil)
	fmt.Println(err)
	// Output:
	// true true
	// <nil>
}

// FastMCP's httpx_client_factory: the http.Client of the OAuth requests.
func ExampleNetworkOptions() {
	srv, person := exampleServer()
	defer srv.Close()
	client, err := mcpoauth.New(srv.MCPURL(), &mcpoauth.Options{
		Store: memstore.New(),
		Network: mcpoauth.NetworkOptions{
			HTTPClient: &http.Client{Transport: &http.Transport{ResponseHeaderTimeout: 20 * time.Second}},
			UserAgent:  "example/1.0",
		},
		Prompt: person,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close(context.Background())
	if _, err := client.Login(context.Background(), nil); err != nil {
		fmt.Println(err)
	}

	agents := map[string]bool{}
	for _, r := range srv.Requests() {
		if r.Leg == "registration" || r.Leg == "token" {
			agents[r.Header.Get("User-Agent")] = true
		}
	}
	fmt.Println(agents)
	// Output: map[example/1.0:true]
}

// FastMCP's callback_timeout: how long a login waits for the person.
func ExampleOptions_loginTimeout() {
	srv, _ := exampleServer()
	defer srv.Close()
	client, err := mcpoauth.New(srv.MCPURL(), &mcpoauth.Options{
		Store:        memstore.New(),
		LoginTimeout: 100 * time.Millisecond,
		Prompt: func(context.Context, *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
			return nil, nil // the person has left
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close(context.Background())

	_, err = client.Login(context.Background(), nil)
	fmt.Println(errors.Is(err, mcpoauth.ErrTemporary))
	fmt.Println(err)
	// Output:
	// true
	// no response came back from the browser within 100ms
}

// FastMCP's ClientNotFoundError and ExpiredClientRegistrationError are no errors here: a registration that the server has
// forgotten, or whose secret has expired, is replaced at the next login.
func ExampleClient_Login() {
	srv, person := exampleServer()
	defer srv.Close()
	ctx := context.Background()
	client, _ := mcpoauth.New(srv.MCPURL(), &mcpoauth.Options{Store: memstore.New(), Prompt: person})
	defer client.Close(ctx)
	token, err := client.Login(ctx, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	srv.ForgetClients()

	_, err = client.TokenRejected(ctx, token)
	required, _ := errors.AsType[*mcpoauth.LoginRequiredError](err)
	fmt.Println(required.Reason)
	_, err = client.Login(ctx, nil)
	fmt.Println(srv.Count("registration"), err)
	// Output:
	// the server no longer accepts this client
	// 2 <nil>
}

// An Error says in which step something failed, what the server said, and what to do.
func ExampleError() {
	srv, _ := exampleServer()
	defer srv.Close()
	client, _ := mcpoauth.New(srv.MCPURL(), &mcpoauth.Options{
		Store: memstore.New(),
		Prompt: func(ctx context.Context, p *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
			back, err := srv.Decide(ctx, p.URL, false) // the person denies it
			return &mcpoauth.LoginReply{RedirectURL: back}, err
		},
	})
	defer client.Close(context.Background())

	_, err := client.Login(context.Background(), nil)
	if e, ok := errors.AsType[*mcpoauth.Error](err); ok {
		fmt.Println(e.Op, e.Code, errors.Is(err, mcpoauth.ErrAccessDenied))
		fmt.Println(mcpoauth.Hint(err))
	}
	// Output:
	// authorization access_denied true
	// run the login again and allow the access
}

// FastMCP's BearerAuth(token): a request that has an Authorization header is sent as it is.
func ExampleTransport_ownToken() {
	srv, person := exampleServer()
	defer srv.Close()
	ctx := context.Background()
	maker, _ := mcpoauth.New(srv.MCPURL(), &mcpoauth.Options{Store: memstore.New(), Prompt: person})
	mine, err := maker.Login(ctx, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	maker.Close(ctx)

	client, _ := mcpoauth.New(srv.MCPURL(), &mcpoauth.Options{Store: memstore.New()})
	defer client.Close(ctx)
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, srv.MCPURL(), strings.NewReader(pingMessage))
	req.Header.Set("Authorization", mine.Authorization())
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.HTTPClient().Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	fmt.Println(resp.Status)
	// Output: 200 OK
}

// machines starts a server for programs without a person, which checks their token requests.
func machines(check func(form map[string]string, r *http.Request) string) *robots {
	srv := &robots{life: 3600, valid: map[string]bool{}, judge: check}
	srv.Server = httptest.NewServer(http.HandlerFunc(srv.serve))
	return srv
}

// FastMCP's ClientCredentialsOAuthProvider(client_id, client_secret, scopes, issuer).
func ExampleClientCredentials() {
	srv := machines(basic("nightly", "s3cret"))
	defer srv.Close()
	client, err := mcpoauth.New(srv.url(), &mcpoauth.Options{
		Store:  memstore.New(),
		Grant:  mcpoauth.ClientCredentials{},
		Client: mcpoauth.ClientOptions{ID: "nightly", Secret: "s3cret", Issuer: srv.URL},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close(context.Background())

	fmt.Println(status(client.HTTPClient(), srv.url()))
	// Output: 200 OK
}

// FastMCP's PrivateKeyJWTOAuthProvider with SignedJWTParameters: a key instead of a secret. The assertion's issuer,
// subject, audience and times are filled in. ParseClientKey reads a key in PEM or a JWK.
func ExampleNewClientKey() {
	signer, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader) // or one in a KMS: any crypto.Signer
	srv := machines(func(form map[string]string, _ *http.Request) string {
		if form["client_id"] != "nightly" || form["client_assertion"] == "" {
			return "invalid_client"
		}
		return ""
	})
	defer srv.Close()
	key, err := mcpoauth.NewClientKey(signer, "2026-01", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	client, err := mcpoauth.New(srv.url(), &mcpoauth.Options{
		Store:  memstore.New(),
		Grant:  mcpoauth.ClientCredentials{},
		Client: mcpoauth.ClientOptions{ID: "nightly", Key: key},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close(context.Background())

	fmt.Println(key)
	fmt.Println(status(client.HTTPClient(), srv.url()))
	// Output:
	// client key (ES256)
	// 200 OK
}

// FastMCP's static_assertion_provider(token), and workload identity in general: a token of the platform stands for the
// program.
func ExampleWorkloadIdentity() {
	srv := machines(func(form map[string]string, _ *http.Request) string {
		if form["grant_type"] != "urn:ietf:params:oauth:grant-type:jwt-bearer" || form["assertion"] == "" {
			return "invalid_grant"
		}
		return ""
	})
	defer srv.Close()
	encode := base64.RawURLEncoding.EncodeToString
	token := encode([]byte(`{"alg":"RS256"}`)) + "." + encode([]byte(`{"sub":"job-7","aud":"`+srv.URL+`"}`)) + "." + encode([]byte("signature"))
	client, err := mcpoauth.New(srv.url(), &mcpoauth.Options{
		Store: memstore.New(),
		Grant: mcpoauth.WorkloadIdentity{Assertion: func(_ context.Context, audience string) (string, error) {
			return token, nil // AssertionFile, AssertionEnv, AssertionPlatform and others ask the platform
		}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close(context.Background())

	fmt.Println(status(client.HTTPClient(), srv.url()))
	// Output: 200 OK
}

// fastMCPNames are what fastmcp.client.auth has had in releases 2.6 to 4.2: names of the module, methods of its storage,
// and parameters of its providers.
var fastMCPNames = []string{
	// Releases 2.6 to 2.12.
	"default_cache_dir", "OAuth", "mcp_url", "scopes", "client_name", "token_storage_cache_dir", "additional_client_metadata", "callback_port",
	"OAuthClientProvider", "ServerOAuthMetadata", "OAuthToken", "StoredToken", "discover_oauth_metadata", "check_if_auth_required",
	"ClientNotFoundError", "redirect_handler", "callback_handler", "async_auth_flow",
	"FileTokenStorage", "FileTokenStorage.get_base_url", "FileTokenStorage.get_cache_key", "FileTokenStorage.get_tokens", "FileTokenStorage.set_tokens",
	"FileTokenStorage.get_client_info", "FileTokenStorage.set_client_info", "FileTokenStorage.clear", "FileTokenStorage.clear_all",
	// Later releases.
	"token_storage", "TokenStorageAdapter", "TokenStorageAdapter.get_token_expiry", "client_id", "client_secret", "issuer", "client_metadata_url",
	"httpx_client_factory", "callback_host", "callback_timeout", "ExpiredClientRegistrationError",
	"BearerAuth", "ClientCredentialsOAuthProvider", "token_endpoint_auth_method", "PrivateKeyJWTOAuthProvider", "assertion_provider",
	"SignedJWTParameters", "static_assertion_provider", "create_oauth_callback_server",
}

// examplesIn returns the examples of a directory's tests whose output is compared.
func examplesIn(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	fset := token.NewFileSet()
	for _, path := range paths {
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	var names []string
	for _, e := range doc.Examples(files...) {
		if e.Output != "" || e.EmptyOutput {
			names = append(names, "Example"+e.Name)
		}
	}
	return names
}

var (
	fastMCPName = regexp.MustCompile("`([A-Za-z_.]+)[`(]")
	exampleName = regexp.MustCompile("`(?:(filestore|store)\\.)?(Example\\w*)`")
)

// TestEveryNameOfFastMCPHasAnExample: each has a row in docs/from-fastmcp.md, and each row names examples that run.
func TestEveryNameOfFastMCPHasAnExample(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(filepath.Join("docs", "from-fastmcp.md"))
	if err != nil {
		t.Fatal(err)
	}
	examples := map[string][]string{"": examplesIn(t, "."), "store": examplesIn(t, "store"), "filestore": examplesIn(t, filepath.Join("store", "filestore"))}
	var rows []string
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "| `") || len(cells) != 4 {
			if strings.HasPrefix(line, "|") && !strings.HasPrefix(line, "| FastMCP") && !strings.HasPrefix(line, "|---") {
				t.Errorf("not a row of four cells: %s", line)
			}
			continue
		}
		for _, m := range fastMCPName.FindAllStringSubmatch(cells[0], -1) {
			rows = append(rows, m[1])
		}
		named := exampleName.FindAllStringSubmatch(cells[3], -1)
		if len(named) == 0 {
			t.Errorf("no example is named: %s", line)
		}
		for _, m := range named {
			if !slices.Contains(examples[m[1]], m[2]) {
				t.Errorf("there is no %s with an output: %s", m[0], line)
			}
		}
	}
	for _, name := range fastMCPNames {
		if !slices.Contains(rows, name) {
			t.Errorf("%s has no row", name)
		}
	}
}
