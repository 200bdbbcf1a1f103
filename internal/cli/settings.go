package cli

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/mcpoauth/mcpoauth"
)

func (f *flags) setOffline(o *mcpoauth.Options) (err error) {
	o.Scopes.OfflineAccess, err = mode("--offline-access", f.offline)
	return err
}

func (f *flags) setDPoP(o *mcpoauth.Options) (err error) {
	o.DPoP, err = mode("--dpop", f.dpop)
	return err
}

func (f *flags) setPAR(o *mcpoauth.Options) (err error) {
	o.PAR, err = mode("--par", f.par)
	return err
}

// mode reads the value of a flag that says when something is done.
func mode(flag, value string) (mcpoauth.Mode, error) {
	switch value {
	case "", "auto":
		return mcpoauth.Auto, nil
	case "always":
		return mcpoauth.Always, nil
	case "never":
		return mcpoauth.Never, nil
	}
	return 0, invalidValue(flag, value, "auto, always or never")
}

// invalidValue is the error for a value of a flag that is not one of those it has.
func invalidValue(flag, value, valid string) error {
	return &usageError{"invalid value " + quote(value) + " for " + flag, "use " + valid}
}

// setSecrets reads what must not be on a command line, where every user of the machine sees it.
func (f *flags) setSecrets(o *mcpoauth.Options) (err error) {
	switch {
	case f.clientSecret != "":
		o.Client.Secret = f.clientSecret
	case f.clientSecretEnv != "" && f.clientSecretFile != "":
		return &usageError{"--client-secret-env and --client-secret-file exclude each other", "give one of them"}
	case f.clientSecretEnv != "":
		if o.Client.Secret = os.Getenv(f.clientSecretEnv); o.Client.Secret == "" {
			return &usageError{"--client-secret-env: the environment variable " + quote(f.clientSecretEnv) + " is not set", "give the name of the variable, not the secret"}
		}
	case f.clientSecretFile != "":
		o.Client.Secret, err = readSecret("--client-secret-file", f.clientSecretFile)
	case f.clientID != "" && !f.clientOfFile:
		// It is the secret of MCPOAUTH_CLIENT_ID or --client-id: a server of the file must not be shown it.
		o.Client.Secret = os.Getenv("MCPOAUTH_CLIENT_SECRET")
	}
	if err == nil && o.Client.Secret != "" && f.clientID == "" {
		err = &usageError{"a client secret was given without a client ID", "add --client-id"}
	}
	if err == nil && f.initialTokenFile != "" {
		o.Client.InitialAccessToken, err = readSecret("--initial-access-token-file", f.initialTokenFile)
	}
	if err == nil && f.softwareStatementFile != "" {
		o.Client.SoftwareStatement, err = readSecret("--software-statement-file", f.softwareStatementFile)
	}
	return err
}

func (f *flags) setParams(o *mcpoauth.Options) (err error) {
	if o.Server.AuthorizeParams, err = params("--auth-param", f.authParams); err != nil {
		return err
	}
	o.Server.TokenParams, err = params("--token-param", f.tokenParams)
	return err
}

func params(flag string, list []string) (url.Values, error) {
	if len(list) == 0 {
		return nil, nil
	}
	v := url.Values{}
	for _, item := range list {
		name, value, ok := strings.Cut(item, "=")
		if !ok || name == "" {
			return nil, &usageError{flag + " needs NAME=VALUE", "as in " + flag + " access_type=offline"}
		}
		v.Add(name, value)
	}
	return v, nil
}

func (f *flags) setHeaders(o *mcpoauth.Options) (err error) {
	o.Network.Header, err = parseHeaders("--header", f.headers)
	return err
}

// parseHeaders reads header lines, nil if there are none.
func parseHeaders(flag string, lines []string) (http.Header, error) {
	var h http.Header
	for _, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		name = strings.TrimSpace(name)
		if !ok || name == "" || strings.ContainsAny(name, " \t\r\n") {
			return nil, &usageError{flag + " needs \"Name: value\"", "as in " + flag + " 'X-Api-Key: ${API_KEY}', in single quotes: mcpoauth expands it, not the shell"}
		}
		value, err := expand(flag, strings.TrimSpace(value))
		if err != nil {
			return nil, err
		}
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return nil, &usageError{flag + ": the value of " + quote(name) + " has a line break or another control character", "remove what is no part of the value"}
		}
		if h == nil {
			h = http.Header{}
		}
		h.Add(name, value)
	}
	return h, nil
}

// expand replaces ${NAME} by the environment variable, so that a secret need not be an argument.
func expand(flag, s string) (string, error) {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(s, "${")
		b.WriteString(before)
		if !ok {
			return b.String(), nil
		}
		name, after, ok := strings.Cut(rest, "}")
		value := os.Getenv(name)
		if !ok || value == "" {
			return "", &usageError{flag + ": the environment variable " + quote(name) + " is not set", "set it, or write the value without ${…}"}
		}
		b.WriteString(value)
		s = after
	}
}

func (f *flags) setTLS(o *mcpoauth.Options) error {
	if f.caFile != "" {
		b, err := readFile("--ca-file", f.caFile)
		if err != nil {
			return err
		}
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(b) {
			return &usageError{"--ca-file " + quote(f.caFile) + " contains no certificate", "it must be a PEM file (-----BEGIN CERTIFICATE-----)"}
		}
		o.Network.RootCAs = pool
	}
	if f.clientKey != "" && f.clientCert == "" {
		return &usageError{"--client-key needs --client-cert", "give the certificate as well"}
	}
	if f.clientCert != "" {
		cert, err := readFile("--client-cert", f.clientCert)
		if err != nil {
			return err
		}
		key := cert
		if f.clientKey != "" {
			if key, err = readFile("--client-key", f.clientKey); err != nil {
				return err
			}
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return &usageError{"--client-cert " + quote(f.clientCert) + ": " + trimPrefix(err), "certificate and key must be PEM and belong together; --client-key names a separate key file"}
		}
		o.Network.ClientCertificates = []tls.Certificate{pair}
	}
	return nil
}

func (f *flags) setLogger(o *mcpoauth.Options) error {
	level := slog.Level(0)
	switch f.logLevel {
	case "", "off":
		return nil
	case "debug":
		level = slog.LevelDebug
	case "info":
	case "warn":
		level = slog.LevelWarn
	case "error":
		level = slog.LevelError
	default:
		return invalidValue("--log-level", f.logLevel, "debug, info, warn, error or off")
	}
	o.Logger = slog.New(slog.NewTextHandler(f.u.err, &slog.HandlerOptions{Level: level}))
	return nil
}

// maxFile bounds the files that flags name.
const maxFile = 1 << 20

func readFile(flag, name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err == nil && !info.Mode().IsRegular() && info.Mode()&os.ModeNamedPipe == 0 {
		err = errors.New("it is not a regular file")
	}
	var b []byte
	if err == nil {
		var file *os.File
		if file, err = os.Open(name); err == nil {
			b, err = io.ReadAll(io.LimitReader(file, maxFile+1))
			file.Close()
		}
	}
	if err == nil && len(b) > maxFile {
		err = errors.New("it is larger than 1 MiB")
	}
	if err != nil {
		if path, ok := errors.AsType[*os.PathError](err); ok {
			err = path.Err
		}
		return nil, &usageError{flag + " " + quote(name) + ": " + err.Error(), "give a file that can be read"}
	}
	return b, nil
}

func readSecret(flag, name string) (string, error) {
	b, err := readFile(flag, name)
	if err != nil {
		return "", err
	}
	s := strings.TrimRight(string(b), "\r\n")
	if s == "" || strings.ContainsAny(s, "\r\n\x00") {
		return "", &usageError{flag + " " + quote(name) + " does not contain exactly one line of text", "the file must contain the secret and nothing else"}
	}
	return s, nil
}
