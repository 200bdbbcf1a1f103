package mcpoauth

import "sync"

// findings are the findings that a login does not stop at, by ID. The table is made when it is first used.
var findings = sync.OnceValue(func() map[string]Finding {
	return map[string]Finding{
		"no-challenge":          {Severity: SeverityWarning, Message: "the server refuses without a WWW-Authenticate header", Reference: "RFC 9110 section 11.6.1", Fix: "send WWW-Authenticate: Bearer resource_metadata=\"…\" with each 401"},
		"challenge-broken":      {Severity: SeverityWarning, Message: "the challenge cannot be read: a parameter occurs twice, or a quoted string does not end; it is ignored", Reference: "RFC 9110 section 11.2", Fix: "send each parameter once, resource_metadata among them"},
		"challenge-no-metadata": {Severity: SeverityInfo, Message: "the challenge does not say where the resource metadata is, so clients must guess", Reference: "RFC 9728 section 5.1", Fix: "add resource_metadata to the challenge"},
		"open":                  {Severity: SeverityInfo, Message: "the server answers this request without a token, and has OAuth all the same", Reference: "MCP authorization", Fix: "nothing, if some of it is meant to be open"},
		"legacy":                {Severity: SeverityWarning, Message: "there is no protected resource metadata: the server follows MCP 2025-03-26", Reference: "RFC 9728; MCP 2025-06-18 authorization", Fix: "serve /.well-known/oauth-protected-resource"},
		"guessed":               {Severity: SeverityWarning, Message: "there is no metadata at all: the endpoints are guessed", Reference: "RFC 8414", Fix: "serve authorization server metadata"},
		"several-servers":       {Severity: SeverityInfo, Message: "there are several authorization servers; clients choose one", Reference: "RFC 9728 section 7.6", Fix: "nothing; a client can pin one with --auth-server"},
		"issuer-slash":          {Severity: SeverityWarning, Message: "the announced issuer and the document's differ by a slash at the end", Reference: "RFC 8414 section 3.3", Fix: "spell the issuer the same in both documents"},
		"no-code-grant":         {Severity: SeverityWarning, Message: "the grant of this login is not among those that the metadata lists", Reference: "RFC 8414 section 2, grant_types_supported", Fix: "list authorization_code, or the device grant, if clients may use it"},
		"no-client-auth":        {Severity: SeverityWarning, Message: "the metadata lists no way of client authentication that mcpoauth has", Reference: "RFC 8414 section 2, token_endpoint_auth_methods_supported", Fix: "offer none, client_secret_basic, client_secret_post or private_key_jwt"},
		"duplicate-members":     {Severity: SeverityWarning, Message: "members occur twice in the metadata, with equal values", Reference: "RFC 8259 section 4", Fix: "send each member once"},
		"http-addresses":        {Severity: SeverityWarning, Message: "the metadata has addresses with http on a host that is reached by https; they are read as https, and other clients may refuse them", Reference: "RFC 8414 section 2; RFC 9728 section 1.2", Fix: "tell the server which URL it has behind its proxy"},
		"resource-parent":       {Severity: SeverityWarning, Message: "the metadata's resource is not the server's URL but a parent of it", Reference: "RFC 9728 section 3.3", Fix: "name the server's own URL"},
		"no-registration":       {Severity: SeverityWarning, Message: "clients cannot register: neither a registration endpoint nor client metadata documents", Reference: "RFC 7591; MCP authorization, client registration", Fix: "register a client by hand and give it with --client-id"},
		"registration-unseen":   {Severity: SeverityInfo, Message: "whether the server accepts clients that nobody registered by hand is seen only at a login", Reference: "RFC 7591 section 3", Fix: "nothing, if it does; else give clients an initial access token, or register them by hand"},
		"registration-changed":  {Severity: SeverityInfo, Reference: "RFC 7591 section 3.2.2", Fix: "accept the registrations of clients as they are, or ignore what is not known (RFC 7591 section 2)"},
		"no-refresh":            {Severity: SeverityWarning, Message: "refresh tokens are not among the grants: people will log in again whenever a token ends", Reference: "RFC 6749 section 6", Fix: "offer refresh_token"},
		"no-revocation":         {Severity: SeverityInfo, Message: "tokens cannot be revoked: a logout only forgets them", Reference: "RFC 7009", Fix: "add a revocation endpoint"},
		"no-iss":                {Severity: SeverityInfo, Message: "callbacks do not say which issuer they are of", Reference: "RFC 9207", Fix: "send iss and promise it in the metadata"},
		"par-required":          {Severity: SeverityInfo, Message: "authorization requests must be pushed", Reference: "RFC 9126", Fix: "nothing; not every client can"},
		"many-scopes":           {Severity: SeverityInfo, Message: "more than fifty scopes are listed", Reference: "RFC 9728 section 2", Fix: "list those that clients need"},
		"dpop":                  {Severity: SeverityInfo, Message: "the MCP server takes only tokens that are bound to a key (DPoP): a token alone is of no use, and few clients can bind one", Reference: "RFC 9449; MCP extension io.modelcontextprotocol/auth/dpop", Fix: "nothing; take Bearer tokens too if every client is to get in"},
		"pkce-unannounced":      {Severity: SeverityWarning, Message: "PKCE with S256 is not announced; it was let pass", Reference: "MCP authorization; RFC 8414 section 2", Fix: "list S256 in code_challenge_methods_supported"},
		"foreign-endpoints":     {Severity: SeverityInfo, Message: "the endpoints lie on other hosts than the issuer", Reference: "RFC 8414 section 2", Fix: "nothing, if they are the owner's"},
		"login-impossible":      {Severity: SeverityError},
		"provider":              {Severity: SeverityInfo},
	}
})
