package netguard

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"

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
	case explainRefusal(f, err), explainTLS(f, host, err), explainNetwork(f, host, err):
	case errors.Is(ctx.Err(), context.Canceled):
		f.Message, f.Err = "cancelled", context.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		f.Temporary = true
		f.Message = host + " did not answer in time"
		f.Hint = "try again later"
	default:
		f.Temporary = true
		f.Message = "the connection to " + host + " broke: " + wire.Clean(f.Err.Error())
		f.Hint = "try again later"
	}
	return f
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
