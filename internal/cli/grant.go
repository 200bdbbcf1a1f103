package cli

import (
	"os"
	"strings"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/internal/secret"
)

// setGrant understands --grant and what belongs to it.
func (f *flags) setGrant(o *mcpoauth.Options) error {
	if err := f.setClientKey(o); err != nil {
		return err
	}
	source, err := f.assertionSource()
	if err != nil {
		return err
	}
	switch {
	case f.grant == "enterprise-managed":
		o.Grant = mcpoauth.EnterpriseManaged{
			Issuer: f.idp, TokenEndpoint: f.idpTokenEndpoint, ClientID: f.idpClientID, ClientSecret: os.Getenv(f.idpSecretEnv), IDToken: source,
		}
	case f.grant == "workload-identity", f.grant == "" && source != nil:
		o.Grant = mcpoauth.WorkloadIdentity{Assertion: source, Audience: f.assertionAudience}
	case source != nil:
		return &usageError{"an assertion requires --grant workload-identity", "remove the assertion, or use that grant"}
	case f.grant == "device-code":
		o.Grant = mcpoauth.DeviceCode{}
	case f.grant == "client-credentials":
		o.Grant = mcpoauth.ClientCredentials{}
	case f.grant != "":
		return invalidValue("--grant", f.grant, "client-credentials, workload-identity, enterprise-managed or device-code")
	}
	return nil
}

// setClientKey reads the key of a client.
func (f *flags) setClientKey(o *mcpoauth.Options) error {
	if f.clientKeyFile == "" {
		return nil
	}
	b, err := readFile("--client-key-file", f.clientKeyFile)
	if err != nil {
		return err
	}
	if o.Client.Key, err = mcpoauth.ParseClientKey(b, "", f.clientKeyAlg); err != nil {
		return &usageError{"--client-key-file " + quote(f.clientKeyFile) + ": " + strings.TrimPrefix(trimPrefix(err), "client key: "), "give an EC, RSA or Ed25519 private key in PEM, or a private JWK"}
	}
	switch f.clientKeyAudience {
	case "issuer":
	case "token-endpoint":
		o.Client.Key.AudienceTokenEndpoint = true
	default:
		return invalidValue("--client-key-audience", f.clientKeyAudience, "issuer or token-endpoint")
	}
	if f.clientID == "" && f.clientMetadataURL == "" {
		return &usageError{"a client key was given without a client ID", "add --client-id, or --client-metadata-url"}
	}
	return nil
}

// assertionSource is where the workload's token comes from, nil if none is given.
func (f *flags) assertionSource() (mcpoauth.AssertionSource, error) {
	var sources []mcpoauth.AssertionSource
	if f.assertionFile != "" {
		sources = append(sources, mcpoauth.AssertionFile(f.assertionFile))
	}
	if f.assertionEnv != "" {
		sources = append(sources, mcpoauth.AssertionEnv(f.assertionEnv))
	}
	if len(f.assertionCommand) > 0 {
		sources = append(sources, mcpoauth.AssertionCommandEnv(secret.Environ(os.Environ(), f.secretEnv), f.assertionCommand...))
	}
	if f.assertionURL != "" {
		header, err := parseHeaders("--assertion-header", f.assertionHeaders)
		if err != nil {
			return nil, err
		}
		sources = append(sources, mcpoauth.AssertionURL(f.assertionURL, header))
	}
	if f.assertionPlatform != "" {
		source, err := mcpoauth.AssertionPlatform(mcpoauth.Platform(f.assertionPlatform))
		if err != nil {
			return nil, newFailed(err)
		}
		sources = append(sources, source)
	}
	switch len(sources) {
	case 0:
		return nil, nil
	case 1:
		return sources[0], nil
	}
	return nil, &usageError{"more than one source of assertions was given", "give one of --assertion-file, --assertion-env, --assertion-command, --assertion-url and --assertion-platform"}
}
