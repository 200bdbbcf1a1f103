package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/internal/terminal"
	"github.com/mcpoauth/mcpoauth/store/sealed"
)

// flags are the common flags. Each can also be given as MCPOAUTH_<NAME> in the environment; a
// flag wins.
type flags struct {
	u    *ui
	args []string // of the program
	// unmade makes the common flags, which nothing has needed yet; nil if they are made.
	unmade func()

	// secretEnv are the environment variables that settings name because they hold secrets: no program that is started
	// inherits them.
	secretEnv []string

	// config names the configuration file; clientOfFile means that it has the client.
	config       string
	clientOfFile bool

	profile, store, logLevel string
	seal                     []string
	sealPlain                bool
	keyringKeys              []sealed.Key // those that --seal keyring has found
	timeout                  time.Duration

	scopes, dropScopes, addScopes []string
	scopeSeparator, offline       string

	clientID, clientSecretEnv, clientSecretFile string
	clientKeyFile, clientKeyAlg, grant          string
	clientKeyAudience                           string
	assertionFile, assertionEnv                 string
	assertionCommand                            []string
	assertionURL, assertionPlatform             string
	assertionAudience                           string
	assertionHeaders                            []string
	idp                                         string
	idpTokenEndpoint, idpClientID, idpSecretEnv string
	// clientSecret and clientMetadata have no flag of their own, but aliases of proxy's.
	clientSecret                            string
	clientMetadata                          map[string]any
	clientAuthMethod, clientIssuer          string
	clientMetadataURL, clientName           string
	initialTokenFile, softwareStatementFile string
	dpop, par                               string

	callbackHost, callbackPath string
	callbackPort               int

	endpoints               mcpoauth.Endpoints
	ignoreProviders         bool
	resource, authServer    string
	callbackIssuer          string
	noResource              bool
	authParams, tokenParams []string
	tokenMember, tokenType  string

	headers, headerOrigins        []string
	caFile, clientCert, clientKey string

	allowPrivateNetwork, allowInsecureHTTP, allowGuessedEndpoints     bool
	allowCrossOriginMetadata, allowMissingPKCE, allowForeignEndpoints bool
}

// Annotations of flags: one that the help lists apart, one that has an environment variable.
const (
	commonFlag = "mcpoauth_common"
	envFlag    = "mcpoauth_env"
)

// wanted reports whether the command line is for cmd. The flags of the others are not made: that
// would be half of the time that a program takes which only prints a token.
func (f *flags) wanted(cmd *cobra.Command) bool {
	return slices.ContainsFunc(f.args, func(arg string) bool { return arg == cmd.Name() || cmd.HasAlias(arg) })
}

// setDefaults sets what is not zero where no flag says otherwise.
func (f *flags) setDefaults() {
	f.store, f.logLevel, f.offline, f.clientKeyAudience, f.dpop, f.par = "file", "off", "auto", "issuer", "auto", "auto"
}

// addStore adds the flags of commands that only look at the store.
func (f *flags) addStore(cmd *cobra.Command) {
	if !f.wanted(cmd) {
		return
	}
	f.setDefaults()
	common(cmd, func(fs *pflag.FlagSet) {
		fs.StringVar(&f.config, configFlag, "", "`FILE` with settings of servers (mcpoauth/mcpoauth.toml in the user's configuration directory by default)")
		fs.StringVar(&f.profile, "profile", "", "`NAME` of one of several accounts on a server")
		fs.StringVar(&f.store, "store", f.store, "`WHERE` logins are kept: file, file:DIR, keyring, redis://… or postgres://…")
		fs.StringArrayVar(&f.seal, "seal", nil, "seal the stored logins with this `KEY`: file:PATH, env:NAME, passphrase-env:NAME, passphrase-file:PATH or keyring (repeatable: the first seals, all open)")
		fs.BoolVar(&f.sealPlain, "seal-plain", false, "accept logins that are not sealed yet, and seal them")
		fs.StringVar(&f.logLevel, "log-level", f.logLevel, "`LEVEL` of the log on stderr: debug, info, warn, error or off")
		fs.DurationVar(&f.timeout, "timeout", 0, "`TIME` limit of the wait for the person when logging in (default 5m), otherwise of the whole command")
	})
}

// addWhenNeeded adds all common flags to a command of which scripts run many: at once if the command line has a flag,
// else only if the environment or the configuration file sets one. Its RunE must be that of f.run.
func (f *flags) addWhenNeeded(cmd *cobra.Command) {
	isFlag := func(arg string) bool { return strings.HasPrefix(arg, "-") }
	if len(f.args) == 0 || f.args[0] != cmd.Name() || slices.ContainsFunc(f.args, isFlag) {
		f.addAll(cmd)
		return
	}
	f.setDefaults()
	f.unmade = func() { f.addAll(cmd) }
}

// isSet reports whether the environment or the configuration file may set a flag.
func isSet() bool {
	if slices.ContainsFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, envPrefix) && !strings.HasPrefix(v, envPrefix+"DIR=")
	}) {
		return true
	}
	path, _ := configFile("")
	if path == "" {
		return false
	}
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// addAll adds all common flags.
func (f *flags) addAll(cmd *cobra.Command) {
	if !f.wanted(cmd) {
		return
	}
	f.addStore(cmd)
	common(cmd, func(fs *pflag.FlagSet) {
		fs.StringArrayVar(&f.scopes, "scope", nil, "request this `SCOPE` instead of those that the server suggests (repeatable)")
		fs.StringArrayVar(&f.dropScopes, "drop-scope", nil, "do not request this `SCOPE` (repeatable)")
		fs.StringVar(&f.scopeSeparator, "scope-separator", "", "`CHARACTER` between the scopes of a request: a comma for servers that require it, otherwise a space")
		fs.StringVar(&f.offline, "offline-access", f.offline, "`WHEN` to ask for offline_access: auto (where advertised), always or never")

		fs.StringVar(&f.clientID, "client-id", "", "`ID` of a client registered with the server beforehand")
		fs.StringVar(&f.clientSecretEnv, "client-secret-env", "", "environment `VARIABLE` that holds its secret")
		fs.StringVar(&f.clientSecretFile, "client-secret-file", "", "`FILE` that holds its secret")
		fs.StringVar(&f.clientKeyFile, "client-key-file", "", "`FILE` with its private key (PEM or JWK), instead of a secret")
		fs.StringVar(&f.clientKeyAlg, "client-key-alg", "", "`ALGORITHM` to sign with, if not the key's usual one: PS256 for example")
		fs.StringVar(&f.clientKeyAudience, "client-key-audience", f.clientKeyAudience, "`WHO` gets what the key signs: issuer, or token-endpoint for servers that insist on that")
		fs.StringVar(&f.clientAuthMethod, "client-auth-method", "", "`HOW` it authenticates: none, client_secret_basic, client_secret_post or private_key_jwt")
		fs.StringVar(&f.grant, "grant", "", "`HOW` tokens are obtained: client-credentials, workload-identity, enterprise-managed or device-code; by default a browser")
		fs.StringVar(&f.idp, "idp", "", "`ISSUER` of the company's identity provider, for --grant enterprise-managed")
		fs.StringVar(&f.idpTokenEndpoint, "idp-token-endpoint", "", "`URL` of its token endpoint, where the ID token comes from elsewhere (--assertion-…)")
		fs.StringVar(&f.idpClientID, "idp-client-id", "", "`ID` of the client there")
		fs.StringVar(&f.idpSecretEnv, "idp-client-secret-env", "", "environment `VARIABLE` that holds its secret")
		fs.StringVar(&f.assertionFile, "assertion-file", "", "`FILE` with the workload's token, read each time")
		fs.StringVar(&f.assertionEnv, "assertion-env", "", "environment `VARIABLE` with the workload's token")
		fs.StringArrayVar(&f.assertionCommand, "assertion-command", nil, "`WORD` of the command that prints the workload's token; {audience} is replaced (repeat for each word)")
		fs.StringVar(&f.dpop, "dpop", f.dpop, "`WHEN` tokens are bound to a key (DPoP): auto (where the server asks for it), always or never")
		fs.StringVar(&f.par, "par", f.par, "`WHEN` authorization requests are pushed (PAR): auto (where the server demands it), always or never")
		fs.StringVar(&f.assertionURL, "assertion-url", "", "`URL` that answers with the workload's token; {audience} is replaced")
		fs.StringArrayVar(&f.assertionHeaders, "assertion-header", nil, "`\"Name: value\"` for it; ${VAR} is replaced from the environment (repeatable)")
		fs.StringVar(&f.assertionPlatform, "assertion-platform", "", "`NAME` of the platform to ask for the workload's token: "+"github-actions, google, azure")
		fs.StringVar(&f.assertionAudience, "assertion-audience", "", "`AUDIENCE` of the workload's token (default: the authorization server)")
		fs.StringVar(&f.clientIssuer, "client-issuer", "", "`ISSUER` that the client is registered with; it is used with no other")
		fs.StringVar(&f.clientMetadataURL, "client-metadata-url", "", "`URL` of a hosted client metadata document")
		fs.StringVar(&f.clientName, "client-name", "", "`NAME` shown on the consent page")
		fs.StringVar(&f.initialTokenFile, "initial-access-token-file", "", "`FILE` with the initial access token for a registration")
		fs.StringVar(&f.softwareStatementFile, "software-statement-file", "", "`FILE` with the software statement of a registration")

		fs.StringVar(&f.callbackHost, "callback-host", "", "`HOST` of the redirect URI: 127.0.0.1, localhost or ::1")
		fs.IntVar(&f.callbackPort, "callback-port", 0, "`PORT` of the redirect URI (0: the registered one, or a free one)")
		fs.StringVar(&f.callbackPath, "callback-path", "", "`PATH` of the redirect URI (default /callback, and below it a part of the issuer's own where that is safer)")

		fs.StringVar(&f.resource, "resource", "", "send this resource indicator (a `URI`) instead of the server's")
		fs.BoolVar(&f.noResource, "no-resource", false, "send no resource indicator")
		fs.StringVar(&f.authServer, "auth-server", "", "use the authorization server with this `ISSUER` and no other")
		fs.StringVar(&f.callbackIssuer, "callback-issuer", "", "accept this `ISSUER` in callbacks, too, from a server that names another one there")
		fs.StringVar(&f.endpoints.Authorization, "authorization-endpoint", "", "`URL` of the authorization server's endpoint, where its metadata is missing or wrong")
		fs.StringVar(&f.endpoints.Token, "token-endpoint", "", "`URL` of its token endpoint")
		fs.StringVar(&f.endpoints.Registration, "registration-endpoint", "", "`URL` of its registration endpoint")
		fs.StringVar(&f.endpoints.Revocation, "revocation-endpoint", "", "`URL` of its revocation endpoint")
		fs.StringVar(&f.endpoints.DeviceAuthorization, "device-authorization-endpoint", "", "`URL` of its device authorization endpoint")
		fs.StringVar(&f.endpoints.PushedAuthorizationRequest, "pushed-authorization-request-endpoint", "", "`URL` of its endpoint for pushed authorization requests")
		fs.BoolVar(&f.ignoreProviders, "ignore-providers", false, "ignore what is built in about some authorization servers beyond their metadata")
		fs.StringArrayVar(&f.authParams, "auth-param", nil, "extra `NAME=VALUE` of the authorization request (repeatable)")
		fs.StringArrayVar(&f.tokenParams, "token-param", nil, "extra `NAME=VALUE` of token requests (repeatable)")

		fs.StringVar(&f.tokenMember, "token-member", "", "`MEMBER` of the token response that holds the token, where a server nests it (Slack: authed_user)")

		fs.StringArrayVar(&f.headers, "header", nil, "extra `\"Name: value\"` for the server; ${VAR} is replaced from the environment (repeatable)")
		fs.StringArrayVar(&f.headerOrigins, "header-origin", nil, "another `ORIGIN` that receives the extra headers (repeatable)")
		fs.StringVar(&f.caFile, "ca-file", "", "PEM `FILE` of certificate authorities to trust besides the system's")
		fs.StringVar(&f.clientCert, "client-cert", "", "PEM `FILE` of the certificate to present")
		fs.StringVar(&f.clientKey, "client-key", "", "PEM `FILE` of its key, if it is not in the same file")

		fs.BoolVar(&f.allowPrivateNetwork, "allow-private-network", false, "allow a public server to name private addresses")
		fs.BoolVar(&f.allowInsecureHTTP, "allow-insecure-http", false, "allow plain http on any host")
		fs.BoolVar(&f.allowGuessedEndpoints, "allow-guessed-endpoints", false, "guess /authorize, /token and /register for a server without metadata")
		fs.BoolVar(&f.allowCrossOriginMetadata, "allow-cross-origin-metadata", false, "allow the resource metadata on another origin")
		fs.BoolVar(&f.allowMissingPKCE, "allow-missing-pkce", false, "allow a server that does not advertise PKCE with S256")
		fs.BoolVar(&f.allowForeignEndpoints, "allow-foreign-endpoints", false, "allow endpoints under different domains")
		fs.StringVar(&f.tokenType, "allow-token-type", "", "accept tokens of this `TYPE`, one of the server's own, as Bearer (Slack: user)")
	})
}

// common adds flags that the help lists apart from a command's own.
func common(cmd *cobra.Command, add func(*pflag.FlagSet)) {
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	add(fs)
	fs.VisitAll(func(fl *pflag.Flag) {
		fl.Annotations = map[string][]string{commonFlag: nil, envFlag: nil}
		cmd.Flags().AddFlag(fl)
	})
}

// envPrefix begins the names of the variables that stand for flags.
const envPrefix = "MCPOAUTH_"

// envName is the variable that stands for a flag.
func envName(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// fromEnv sets the flags that were not given from the environment. Variables of repeatable
// flags hold one value a line, scopes are separated by spaces.
func fromEnv(cmd *cobra.Command) error {
	var bad error
	cmd.Flags().VisitAll(func(fl *pflag.Flag) {
		if _, ok := fl.Annotations[envFlag]; !ok || fl.Changed || bad != nil {
			return
		}
		name := envName(fl.Name)
		value := os.Getenv(name)
		if value == "" {
			return
		}
		values := []string{value}
		switch {
		case strings.HasSuffix(fl.Name, "scope"):
			values = strings.Fields(value)
		case fl.Value.Type() == "stringArray":
			values = strings.Split(strings.TrimSpace(value), "\n")
		}
		for _, v := range values {
			if err := cmd.Flags().Set(fl.Name, strings.TrimSpace(v)); err != nil {
				// The flag package's text would show the value.
				bad = &usageError{"the environment variable " + name + " has no valid value for --" + fl.Name, "unset it, or give it a value as in --" + fl.Name + " (" + strings.ReplaceAll(fl.Usage, "`", "") + ")"}
				return
			}
		}
	})
	return bad
}

// settle sets the flags that the command line leaves to the environment and to the configuration file.
func (f *flags) settle(cmd *cobra.Command, args []string) error {
	if f.unmade != nil {
		if !isSet() {
			return nil
		}
		f.unmade()
		f.unmade = nil
	}
	if err := fromEnv(cmd); err != nil {
		return err
	}
	_, err := f.fromFile(cmd, args)
	cmd.Flags().Visit(func(fl *pflag.Flag) { f.secretEnv = append(f.secretEnv, variablesOf(fl)...) })
	return err
}

// variablesOf returns the environment variables that a flag names because they hold secrets.
func variablesOf(fl *pflag.Flag) []string {
	values := []string{fl.Value.String()}
	if list, ok := fl.Value.(pflag.SliceValue); ok {
		values = list.GetSlice()
	}
	var names []string
	for _, v := range values {
		names = append(names, secretVariables(fl.Name, v)...)
	}
	return names
}

// options turns flags and environment into the library's options. Prompt stays nil.
func (f *flags) options(cmd *cobra.Command, args []string) (*mcpoauth.Options, error) {
	if err := f.settle(cmd, args); err != nil {
		return nil, err
	}
	o := &mcpoauth.Options{
		Profile:  f.profile,
		Scopes:   mcpoauth.ScopeOptions{Request: words(f.scopes), Drop: words(f.dropScopes), Separator: mcpoauth.ScopeSeparator(f.scopeSeparator)},
		Client:   mcpoauth.ClientOptions{Name: f.clientName, Metadata: f.clientMetadata, ID: f.clientID, AuthMethod: mcpoauth.AuthMethod(f.clientAuthMethod), Issuer: f.clientIssuer, MetadataURL: f.clientMetadataURL},
		Callback: mcpoauth.CallbackOptions{Host: f.callbackHost, Port: f.callbackPort, Path: f.callbackPath},
		Server:   mcpoauth.ServerOptions{Resource: f.resource, NoResource: f.noResource, Issuer: f.authServer, CallbackIssuer: f.callbackIssuer, Endpoints: f.endpoints, IgnoreProviders: f.ignoreProviders, TokenMember: f.tokenMember},
		Network:  mcpoauth.NetworkOptions{HeaderOrigins: f.headerOrigins},
		Allow:    mcpoauth.Allow{PrivateNetwork: f.allowPrivateNetwork, InsecureHTTP: f.allowInsecureHTTP, GuessedEndpoints: f.allowGuessedEndpoints, CrossOriginMetadata: f.allowCrossOriginMetadata, MissingPKCE: f.allowMissingPKCE, ForeignEndpoints: f.allowForeignEndpoints, TokenType: f.tokenType},
	}
	if f.timeout < 0 {
		return nil, &usageError{"--timeout is negative", "give a duration such as 30s or 5m"}
	}
	if f.resource != "" && f.noResource {
		return nil, &usageError{"--resource and --no-resource exclude each other", "give one of them"}
	}
	steps := []func(*mcpoauth.Options) error{
		func(o *mcpoauth.Options) error { return f.setStore(cmd.Context(), o) }, f.setOffline, f.setDPoP, f.setPAR, f.setSecrets, f.setGrant, f.setParams, f.setHeaders, f.setTLS, f.setLogger,
	}
	for _, set := range steps {
		if err := set(o); err != nil {
			return nil, err
		}
	}
	o.Trace = &mcpoauth.Trace{
		Waiting: f.waiting,
		SaveFailed: func(_ context.Context, _ mcpoauth.LoginEvent, err error) {
			f.u.warn("the new token is not known to be saved; if it is not by the time this program ends, it is lost: %s", err)
		},
	}
	return o, nil
}

// waiting shows the waits that are not the person's; login shows those itself.
func (f *flags) waiting(_ context.Context, w mcpoauth.Waiting) {
	switch w.For {
	case mcpoauth.WaitLoginElsewhere:
		f.u.startWait(terminal.Wait{What: "another process is logging in to this server; waiting for it", Deadline: w.Deadline})
	case mcpoauth.WaitRefreshElsewhere:
		f.u.startWait(terminal.Wait{What: "another process is refreshing this login; waiting for it", Deadline: w.Deadline, Delay: time.Second})
	case mcpoauth.WaitLogin:
		f.u.endWait() // the prompt shows it
	}
}

// words splits values that hold several words.
func words(list []string) []string {
	var out []string
	for _, s := range list {
		out = append(out, strings.Fields(s)...)
	}
	return out
}
