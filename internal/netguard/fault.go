package netguard

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/mcpoauth/mcpoauth/internal/resource"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// unusable marks answers that are not read.
type unusable struct{ err error }

func (e *unusable) Error() string { return "unusable answer: " + e.err.Error() }
func (e *unusable) Unwrap() error { return e.err }

// Fault returns the *wire.Fault for the error of a request that got no usable answer: what happened, at which
// host, and whether trying again may help.
func (c *Client) Fault(ctx context.Context, target string, err error) error {
	f := &wire.Fault{URL: wire.PlainURL(target), Err: WithoutURL(err)}
	host := wire.CleanN(cmp.Or(resource.Host(target), "(not a URL)"), 255)
	switch {
	case explainRefusal(f, err), explainProxy(f, host, err), explainTLS(f, host, err), explainNetwork(f, host, err):
	case errors.Is(ctx.Err(), context.Canceled):
		f.Message, f.Err = "cancelled", context.Canceled
	case errors.Is(err, context.DeadlineExceeded), errors.Is(ctx.Err(), context.DeadlineExceeded):
		f.Temporary, f.Err = true, context.DeadlineExceeded
		f.Message = host + " did not answer in time"
		f.Hint = "check the host and the port: something answers there, but not in time; try again later, or tell the server's owner"
	default:
		f.Temporary = true
		f.Message = "the connection to " + host + " broke: " + wire.Clean(f.Err.Error())
		f.Hint = "check the network, and whether a firewall or a proxy ends connections to " + host + "; try again later"
	}
	return f
}

// proxyRefusal is a proxy's refusal to connect to a host (RFC 9110 section 9.3.6).
type proxyRefusal struct {
	proxy  string
	status int
	// schemes are the ways of authentication that the proxy offers.
	schemes []string
}

func (e *proxyRefusal) Error() string {
	return fmt.Sprintf("the proxy %s answered with status %d", e.proxy, e.status)
}

// refusedByProxy is a hook of http.Transport: it tells a proxy's refusal from other failures.
func refusedByProxy(_ context.Context, proxy *url.URL, _ *http.Request, resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	e := &proxyRefusal{proxy: wire.CleanN(proxy.Host, 255), status: resp.StatusCode}
	for _, line := range resp.Header.Values("Proxy-Authenticate") {
		scheme, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		e.schemes = append(e.schemes, wire.CleanN(scheme, 20))
	}
	return e
}

// explainProxy explains why a proxy did not connect to a host.
func explainProxy(f *wire.Fault, host string, err error) bool {
	e, ok := errors.AsType[*proxyRefusal](err)
	if !ok {
		return false
	}
	f.Unsent, f.Temporary = true, wire.TemporaryStatus(e.status)
	switch {
	case e.status == http.StatusProxyAuthRequired:
		f.Message = "the proxy " + e.proxy + " wants a login"
		if len(e.schemes) > 0 {
			f.Message += " (" + strings.Join(e.schemes, ", ") + ")"
		}
		f.Hint = "for Basic put user and password into HTTPS_PROXY (http://user:password@" + e.proxy + "); for Negotiate, NTLM or Kerberos name a local proxy there that logs in, or exempt the host with NO_PROXY"
	case f.Temporary:
		f.Message = fmt.Sprintf("the proxy %s cannot connect to %s (status %d)", e.proxy, host, e.status)
		f.Hint = "try again later; if it stays so, ask the owner of the proxy, or exempt the host with NO_PROXY"
	default:
		f.Message = fmt.Sprintf("the proxy %s does not let a connection to %s through (status %d)", e.proxy, host, e.status)
		f.Hint = "ask the owner of the proxy to allow the host, or exempt it with NO_PROXY; HTTPS_PROXY names the proxy"
	}
	return true
}

// explainRefusal explains what this package itself has refused: a URL or address, or an answer.
func explainRefusal(f *wire.Fault, err error) bool {
	if guard, ok := errors.AsType[*refused](err); ok {
		f.Unsent = true
		f.Message = f.URL + " is not requested: " + guard.err.Error()
		f.Hint = "--allow-private-network (Options.Allow.PrivateNetwork) allows private addresses, --allow-insecure-http (Options.Allow.InsecureHTTP) plain http"
		return true
	}
	if answer, ok := errors.AsType[*unusable](err); ok {
		f.Message = "the answer of " + f.URL + " is not read: " + answer.err.Error()
		f.Hint = "the server is at fault: show its owner this message"
		return true
	}
	return false
}

// explainTLS explains why a TLS connection was not established, where trying again does not help.
func explainTLS(f *wire.Fault, host string, err error) bool {
	refusal := wire.TLSRefusalOf(err)
	_, plainHTTP := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case isProxyFault(err):
		return false // the TLS connection was the proxy's
	case isCertificate(err):
		f.Message = "the certificate of " + host + " is not accepted: " + wire.Clean(f.Err.Error())
		f.Hint = certificateHint(err)
	case refusal != wire.NotRefused:
		f.Message = host + " ends the TLS connection: " + wire.Clean(f.Err.Error())
		f.Hint = refusalHint(refusal)
	case plainHTTP:
		f.Message = host + " does not speak TLS on this port"
		f.Hint = "check the port; a server on this machine without TLS has a URL that begins with http://"
	default:
		return false
	}
	f.Unsent = true
	return true
}

func isCertificate(err error) bool {
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, invalid := errors.AsType[x509.CertificateInvalidError](err)
	_, name := errors.AsType[x509.HostnameError](err)
	_, verify := errors.AsType[*tls.CertificateVerificationError](err)
	return unknown || invalid || name || verify
}

func certificateHint(err error) string {
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return "compare this machine's clock with another one; if it is right, the server's owner has to renew the certificate"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "check the host in the URL: another server answers there, or its certificate lacks the name"
	}
	return "for a private certificate authority give its certificate with --ca-file (Options.Network.RootCAs)"
}

func refusalHint(r wire.TLSRefusal) string {
	switch r {
	case wire.WantsCertificate:
		return "it asks for a certificate of yours: give one that it knows with --client-cert and --client-key (Options.Network.ClientCertificates)"
	case wire.NoHandshake:
		return "it knows neither TLS 1.2 nor a cipher that is safe today, or it asks for a certificate of yours: give one with --client-cert and --client-key (Options.Network.ClientCertificates)"
	case wire.UnknownName:
		return "check the host in the URL: the server does not know this name"
	case wire.NotRefused, wire.NoCommonTLS:
	}
	return "it knows neither TLS 1.2 nor a cipher that is safe today: its owner has to update it"
}

func isProxyFault(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "proxyconnect"
}

// explainNetwork explains why no connection was made, which may be otherwise at another time.
func explainNetwork(f *wire.Fault, host string, err error) bool {
	op, isOp := errors.AsType[*net.OpError](err)
	unknown, isDNS := errors.AsType[*net.DNSError](err)
	switch {
	case isProxyFault(err):
		f.Message = "the proxy on the way to " + host + " cannot be reached: " + wire.Clean(op.Err.Error())
		f.Hint = "check HTTPS_PROXY and the network, then try again"
	case isDNS:
		f.Message = "the host " + host + " is unknown"
		if !unknown.IsNotFound {
			f.Message = "the host " + host + " cannot be looked up"
		}
		f.Hint = "check the URL and the network"
	case isOp && op.Op == "dial":
		f.Message = host + " cannot be reached: " + wire.Clean(op.Err.Error())
		f.Hint = "check the URL and the network, then try again"
	default:
		return false
	}
	f.Unsent, f.Temporary = true, true
	return true
}

// WithoutURL returns the cause of a *url.Error, without the URL that its text repeats and whose query may hold a
// secret. Other errors are returned as they are.
func WithoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
