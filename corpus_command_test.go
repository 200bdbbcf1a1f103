package mcpoauth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
)

// certificates is an authority that certifies whatever host is asked for.
func certificates(t *testing.T) (file string, get func(*tls.ClientHelloInfo) (*tls.Certificate, error)) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		leaf := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, DNSNames: []string{hello.ServerName}}
		der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), key)
		return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
	}
}

// throughProxy plays w as the whole internet behind a proxy on loopback, and returns the proxy's address.
func throughProxy(t *testing.T, w *web, get func(*tls.ClientHelloInfo) (*tls.Certificate, error)) string {
	t.Helper()
	world := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		r.URL.Scheme, r.URL.Host = "https", r.Host
		resp, err := w.RoundTrip(r)
		if err != nil {
			t.Error(err)
			return
		}
		for name, values := range resp.Header {
			rw.Header()[name] = values
		}
		rw.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(rw, resp.Body)
	}))
	world.TLS = &tls.Config{GetCertificate: get}
	world.StartTLS()
	t.Cleanup(world.Close)
	proxy := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			t.Errorf("the proxy got %s %s", r.Method, r.URL)
			return
		}
		there, err := new(net.Dialer).DialContext(r.Context(), "tcp", world.Listener.Addr().String())
		if err != nil && r.Context().Err() != nil {
			return // a request ahead of its need, which was not needed
		}
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = there.Close() }()
		here, buffered, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = here.Close() }()
		_, _ = io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(there, buffered); _ = there.Close() }()
		_, _ = io.Copy(here, there)
	}))
	t.Cleanup(proxy.Close)
	return proxy.URL
}

// copyEnv makes this test binary a program that copies a program.
const copyEnv = "MCPOAUTH_TEST_COPY"

func copyProgram(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o700) // it is to be executed
}

// buildProgram makes the command at path. Unlike go build, go run takes a program that was linked before from the build
// cache; it executes it by this test binary, which copies it instead.
func buildProgram(t *testing.T, path string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "run", "-exec", "'"+self+"'", "./cmd/mcpoauth")
	cmd.Env = append(os.Environ(), copyEnv+"="+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// TestInspectCommandWithRealDocuments is what a person does with such a server: mcpoauth inspect.
func TestInspectCommandWithRealDocuments(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "mcpoauth")
	buildProgram(t, program)
	caFile, get := certificates(t)
	for name, e := range expected(t) {
		if e.Registration != "" || e.Token != "" {
			continue // inspect does not get as far
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := []string{"inspect", "--json", e.Server, "--ca-file", caFile}
			if x := e.Options; x != nil {
				for flag, value := range map[string]string{"--client-id": x.ClientID, "--auth-server": x.AuthServer, "--resource": x.Resource} {
					if value != "" {
						args = append(args, flag, value)
					}
				}
				if x.MissingPKCE {
					args = append(args, "--allow-missing-pkce")
				}
			}
			cmd := exec.CommandContext(t.Context(), program, args...)
			cmd.Env = append(os.Environ(), "MCPOAUTH_DIR="+t.TempDir(), "HTTPS_PROXY="+throughProxy(t, newWeb(t, e), get), "NO_PROXY=")
			out, err := cmd.Output()
			var exit *exec.ExitError
			if want := map[bool]int{true: 0, false: 1}[e.Error == ""]; err != nil && !errors.As(err, &exit) || cmd.ProcessState.ExitCode() != want {
				t.Errorf("%v, want exit code %d", err, want)
			}
			var in mcpoauth.Inspection
			if err := json.Unmarshal(out, &in); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			found := findingsOfDocuments(t, &in)
			if in.Login.Possible != (e.Error == "") || in.Login.Registration != e.Client || !slices.Equal(found, e.Findings) || in.Temporary {
				t.Errorf("%s", out)
			}
		})
	}
}
