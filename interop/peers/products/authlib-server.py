"""An authorization server made of Authlib (Flask, in memory), on loopback.

PORT=9201 AT_TTL=6: its port and the lifetime of access tokens in seconds. Clients register themselves (RFC 7591).
"""
import os
import time

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # loopback has no TLS

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import AuthorizationCodeMixin, ClientMixin, TokenMixin, grants
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7591 import ClientRegistrationEndpoint
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from authlib.oauth2.rfc9207 import IssuerParameter
from flask import Flask, jsonify, request

port = int(os.environ["PORT"])
issuer = f"http://127.0.0.1:{port}"
lifetime = int(os.environ["AT_TTL"])
methods = ["none", "client_secret_basic", "client_secret_post"]
grant_types = ["authorization_code", "refresh_token"]
metadata = {
    "issuer": issuer,
    "authorization_endpoint": issuer + "/authorize",
    "token_endpoint": issuer + "/token",
    "registration_endpoint": issuer + "/register",
    "revocation_endpoint": issuer + "/revoke",
    "introspection_endpoint": issuer + "/introspect",
    "response_types_supported": ["code"],
    "grant_types_supported": grant_types,
    "scopes_supported": ["mcp:read"],
    "code_challenge_methods_supported": ["S256"],
    "token_endpoint_auth_methods_supported": methods,
    "authorization_response_iss_parameter_supported": True,
}


class Person:
    def __init__(self, name):
        self.name = name

    def get_user_id(self):
        return self.name


class Client(ClientMixin):
    def __init__(self, client_id, secret, described):
        self.client_id, self.secret, self.described = client_id, secret, described

    @property
    def client_info(self):
        return {"client_id": self.client_id, "client_secret": self.secret, "client_id_issued_at": int(time.time()), "client_secret_expires_at": 0}

    @property
    def client_metadata(self):
        return self.described

    def get_client_id(self):
        return self.client_id

    def get_default_redirect_uri(self):
        return self.described["redirect_uris"][0]

    def get_allowed_scope(self, scope):
        return scope or "mcp:read"

    def check_redirect_uri(self, uri):
        return uri in self.described["redirect_uris"]

    def check_client_secret(self, secret):
        return self.secret == secret

    def check_endpoint_auth_method(self, method, endpoint):
        return endpoint != "token" or method == self.described.get("token_endpoint_auth_method", "client_secret_basic")

    def check_response_type(self, response_type):
        return response_type == "code"

    def check_grant_type(self, grant_type):
        return grant_type in self.described.get("grant_types", ["authorization_code"])


class Token(TokenMixin):
    def __init__(self, issued, client, user):
        self.issued, self.client, self.user, self.at, self.dead = issued, client, user, time.time(), False

    def check_client(self, client):
        return client.client_id == self.client.client_id

    def get_scope(self):
        return self.issued.get("scope", "")

    def get_expires_in(self):
        return self.issued["expires_in"]

    def is_expired(self):
        return time.time() > self.at + self.issued["expires_in"]

    def is_revoked(self):
        return self.dead

    def get_user(self):
        return self.user

    def get_client(self):
        return self.client


class Code(AuthorizationCodeMixin):
    def __init__(self, **members):
        self.__dict__.update(members)

    def get_redirect_uri(self):
        return self.redirect_uri

    def get_scope(self):
        return self.scope


clients = {"mcp": Client("mcp", "secret", {"redirect_uris": []})}  # the MCP server, which asks about tokens
codes, tokens = {}, []


def find_token(self, text, hint=None):
    return next((t for t in tokens if text in (t.issued.get("refresh_token"), t.issued.get("access_token"))), None)


class CodeGrant(grants.AuthorizationCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = methods

    def save_authorization_code(self, code, r):
        d = r.payload.data
        codes[code] = Code(code=code, client_id=r.client.client_id, redirect_uri=r.payload.redirect_uri, scope=r.payload.scope or "mcp:read", user=r.user,
                           code_challenge=d.get("code_challenge"), code_challenge_method=d.get("code_challenge_method"))

    def query_authorization_code(self, code, client):
        c = codes.get(code)
        return c if c and c.client_id == client.client_id else None

    def delete_authorization_code(self, code):
        codes.pop(code.code, None)

    def authenticate_user(self, code):
        return code.user


class RefreshGrant(grants.RefreshTokenGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = methods
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, text):
        return next((t for t in tokens if t.issued.get("refresh_token") == text and not t.dead), None)

    def authenticate_user(self, token):
        return token.user

    def revoke_old_credential(self, token):
        token.dead = True


class Revocation(RevocationEndpoint):
    CLIENT_AUTH_METHODS = methods
    query_token = find_token

    def revoke_token(self, token, r):
        token.dead = True


class Introspection(IntrospectionEndpoint):
    CLIENT_AUTH_METHODS = methods
    query_token = find_token

    def check_permission(self, token, client, r):
        return client.client_id == "mcp"

    def introspect_token(self, token):
        return {"active": not token.dead, "sub": token.user.name, "scope": token.get_scope(), "exp": int(token.at + token.issued["expires_in"])}


class Registration(ClientRegistrationEndpoint):
    def authenticate_token(self, r):
        return True

    def get_server_metadata(self):
        return metadata

    def save_client(self, info, described, r):
        c = Client(info["client_id"], info.get("client_secret", ""), dict(described))
        clients[c.client_id] = c
        return c


class Issuer(IssuerParameter):
    def get_issuer(self):
        return issuer


app = Flask(__name__)
app.config.update(OAUTH2_TOKEN_EXPIRES_IN={g: lifetime for g in grant_types}, OAUTH2_REFRESH_TOKEN_GENERATOR=True)
server = AuthorizationServer(app, query_client=clients.get, save_token=lambda issued, r: tokens.append(Token(issued, r.client, r.user)))
server.register_extension(Issuer())
server.register_grant(CodeGrant, [CodeChallenge(required=True)])
server.register_grant(RefreshGrant)
for endpoint in Revocation, Introspection, Registration:
    server.register_endpoint(endpoint)


@app.get("/.well-known/oauth-authorization-server")
def document():
    return jsonify(metadata)


@app.route("/authorize", methods=["GET", "POST"])
def authorize():
    if request.method == "GET":
        server.get_consent_grant(request, end_user=Person("?"))  # refuses what is wrong before a person is asked
        return '<form method="post"><input name="login"><button type="submit">Allow</button></form>'
    person = Person(request.form["login"])
    return server.create_authorization_response(request, grant_user=person, grant=server.get_consent_grant(request, end_user=person))


@app.post("/token")
def token():
    return server.create_token_response()


for path, name in ("/revoke", "revocation"), ("/introspect", "introspection"), ("/register", "client_registration"):
    app.add_url_rule(path, name, (lambda n: lambda: server.create_endpoint_response(n))(name), methods=["POST"])
app.run("127.0.0.1", port, threaded=True)
