// An authorization server made of @node-oauth/oauth2-server, its model in memory: PORT=9401 AT_TTL=6
// It has neither registration nor revocation; the client is "pub". The MCP server asks /introspect.
import { createRequire } from 'node:module';
import express from 'express';
const OAuth2Server = createRequire(import.meta.url)('@node-oauth/oauth2-server'), { Request, Response } = OAuth2Server;
const port = Number(process.env.PORT), issuer = `http://127.0.0.1:${port}`;
const pub = { id: 'pub', grants: ['authorization_code', 'refresh_token'], redirectUris: ['http://127.0.0.1/callback'] };
const codes = new Map(), access = new Map(), refresh = new Map();
const model = {
  getClient: async (id) => (id === pub.id ? pub : null),
  validateRedirectUri: async (uri) => /^http:\/\/127\.0\.0\.1:\d+\/callback$/.test(uri), // any port (RFC 8252 section 7.3)
  validateScope: async (user, client, scope) => scope ?? ['mcp:read'],
  saveAuthorizationCode: async (code, client, user) => { const c = { ...code, client, user }; codes.set(c.authorizationCode, c); return c; },
  getAuthorizationCode: async (code) => codes.get(code),
  revokeAuthorizationCode: async (code) => codes.delete(code.authorizationCode),
  saveToken: async (token, client, user) => { const t = { ...token, client, user }; access.set(t.accessToken, t); if (t.refreshToken) refresh.set(t.refreshToken, t); return t; },
  getRefreshToken: async (text) => refresh.get(text),
  revokeToken: async (token) => refresh.delete(token.refreshToken),
  getAccessToken: async (text) => access.get(text),
};
const server = new OAuth2Server({ model, accessTokenLifetime: Number(process.env.AT_TTL), allowEmptyState: false, requireClientAuthentication: { authorization_code: false, refresh_token: false }, enablePlainPKCE: false });
const run = (f) => async (q, s) => {
  const request = new Request(q), response = new Response(s);
  try {
    await f(request, response);
  } catch (e) {
    if (!response.headers.location) { response.status = e.code || 500; response.body = { error: e.name, error_description: e.message }; }
  }
  s.status(response.status).set(response.headers).send(response.body);
};
const app = express();
app.use(express.urlencoded({ extended: false }));
app.get('/.well-known/oauth-authorization-server', (q, s) => s.json({
  issuer, authorization_endpoint: issuer + '/authorize', token_endpoint: issuer + '/token', response_types_supported: ['code'], scopes_supported: ['mcp:read'],
  grant_types_supported: ['authorization_code', 'refresh_token'], code_challenge_methods_supported: ['S256'], token_endpoint_auth_methods_supported: ['none'],
}));
app.get('/authorize', (q, s) => s.send('<form method="post"><input name="login"><button type="submit">Allow</button></form>'));
app.post('/authorize', run((q, s) => server.authorize(q, s, { authenticateHandler: { handle: async (r) => ({ id: r.body.login }) } })));
app.post('/token', run((q, s) => server.token(q, s)));
app.post('/introspect', async (q, s) => {
  const t = access.get(q.body.token);
  s.json(t && t.accessTokenExpiresAt > new Date() ? { active: true, sub: t.user.id, scope: t.scope.join(' '), exp: Math.floor(t.accessTokenExpiresAt / 1000) } : { active: false });
});
app.listen(port, '127.0.0.1');
