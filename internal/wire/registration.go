package wire

import (
	"errors"
	"strings"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/secret"
)

// maxClientID bounds a client_id in bytes: some are URLs.
const maxClientID = 2048

// Registration is the answer to a dynamic registration (RFC 7591 section 3.2.1).
type Registration struct {
	// ClientID has only visible ASCII characters; ClientSecret is empty for a public client.
	ClientID     string
	ClientSecret secret.String
	// SecretExpiry is the zero time if the secret never expires.
	SecretExpiry time.Time
	// AuthMethod is token_endpoint_auth_method, "" if absent.
	AuthMethod string
	// RedirectURIs, GrantTypes and Scope were registered by the server. They may differ from the
	// request.
	RedirectURIs []string
	GrantTypes   []string
	Scope        string
	// RegistrationAccessToken and RegistrationClientURI manage the registration (RFC 7592).
	RegistrationAccessToken secret.String
	RegistrationClientURI   string
	// IssuedAt is the zero time if unknown.
	IssuedAt time.Time
	// Notes are remarks on what is unusual, for a person.
	Notes []string
}

// ParseRegistration decodes the answer to a registration. It fails only if no login
// could succeed: without a usable client_id, or with a secret that cannot be sent.
func ParseRegistration(b []byte) (*Registration, error) {
	o, err := ParseObject(b)
	if err != nil {
		return nil, err
	}
	id := o.Text("client_id")
	switch {
	case id == "":
		return nil, errors.New("it has no client_id")
	case len(id) > maxClientID || !visible(id):
		return nil, errors.New("its client_id is too long or has characters that a client_id cannot have (RFC 6749 appendix A)")
	}
	s := o.Text("client_secret")
	if len(s) > maxSecret || !visible(s) {
		return nil, errors.New("its client_secret is too long or has characters that a secret cannot have (RFC 6749 appendix A)")
	}
	manage := o.String("registration_access_token")
	if !headerSafe(manage) {
		manage = "" // it goes into a header and nowhere else
	}
	return &Registration{
		ClientID: id, ClientSecret: secret.New(s), AuthMethod: o.String("token_endpoint_auth_method"), RedirectURIs: o.Strings("redirect_uris"),
		GrantTypes: o.Strings("grant_types"), Scope: strings.Join(o.Strings("scope"), " "),
		RegistrationAccessToken: secret.New(manage), RegistrationClientURI: o.String("registration_client_uri"),
		SecretExpiry: instant(o, "client_secret_expires_at"), IssuedAt: instant(o, "client_id_issued_at"),
	}, nil
}

// visible reports whether s has only VSCHAR (RFC 6749 appendix A).
func visible(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

const (
	// lastSecond is the last one that a time written as RFC 3339 can hold: the end of the year 9999.
	lastSecond = 253402300799
	// milliseconds is from where on a time in seconds (here of the year 5138) is taken for one in
	// milliseconds.
	milliseconds = 1e11
)

// instant reads a time in seconds since 1970, or as RFC 3339. 0, absence, garbage and what lies
// beyond the year 9999 are the zero time. Values that can only be milliseconds are taken for those.
func instant(o Object, name string) time.Time {
	n, ok := o.Seconds(name)
	if !ok {
		t, err := time.Parse(time.RFC3339, o.String(name))
		if err != nil {
			return time.Time{}
		}
		n = t.Unix()
	}
	if n > milliseconds {
		n /= 1000
	}
	if n <= 0 || n > lastSecond {
		return time.Time{}
	}
	return time.Unix(n, 0)
}
