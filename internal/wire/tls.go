package wire

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
)

// TLSRefusal is why a TLS connection came to nothing, where trying again does not help.
type TLSRefusal int

const (
	// NotRefused is every other error.
	NotRefused TLSRefusal = iota
	// WantsCertificate is a server that asks for a client certificate, and got none, or one that it does not accept.
	WantsCertificate
	// NoCommonTLS is a server that knows none of our versions and ciphers.
	NoCommonTLS
	// NoHandshake is one of these two: the servers of TLS 1.2 do not tell them apart.
	NoHandshake
	// UnknownName is a server that does not know the host name.
	UnknownName
)

// TLSRefusalOf classifies an error of net/http by its TLS alert. The types of crypto/tls do not export the alert, so
// this compares texts.
func TLSRefusalOf(err error) TLSRefusal {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		// The server answered with a version of TLS that was not offered.
		if err != nil && strings.Contains(err.Error(), "tls: server selected unsupported protocol version") {
			return NoCommonTLS
		}
		return NotRefused
	}
	for _, a := range alerts {
		if op.Err.Error() == a.alert.Error() {
			return a.means
		}
	}
	return NotRefused
}

// alerts are those of RFC 8446 section 6.2 that another try would meet again.
var alerts = []struct {
	alert tls.AlertError
	means TLSRefusal
}{
	{40, NoHandshake},
	{42, WantsCertificate},
	{43, WantsCertificate},
	{44, WantsCertificate},
	{45, WantsCertificate},
	{46, WantsCertificate},
	{48, WantsCertificate},
	{49, WantsCertificate},
	{70, NoCommonTLS},
	{71, NoCommonTLS},
	{112, UnknownName},
	{116, WantsCertificate},
}
