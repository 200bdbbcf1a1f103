// A worker with @cloudflare/workers-oauth-provider before a small MCP server. ORIGIN is replaced by its address.
import { OAuthProvider } from '@cloudflare/workers-oauth-provider';

const mcp = {
  async fetch(request, env, ctx) {
    if (request.method !== 'POST') return new Response(null, { status: 405 });
    const { id, method } = await request.json();
    if (id === undefined) return new Response(null, { status: 202 });
    const results = {
      initialize: { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo: { name: 'worker', version: '1' } },
      ping: {},
      'tools/list': { tools: [{ name: 'whoami', inputSchema: { type: 'object' } }] },
      'tools/call': { content: [{ type: 'text', text: ctx.props.user }] },
    };
    const result = results[method];
    return Response.json(result ? { jsonrpc: '2.0', id, result } : { jsonrpc: '2.0', id, error: { code: -32601, message: 'there is no such method' } });
  },
};

const site = {
  async fetch(request, env) {
    if (new URL(request.url).pathname !== '/authorize') return new Response('nothing here', { status: 404 });
    const asked = await env.OAUTH_PROVIDER.parseAuthRequest(request);
    if (request.method === 'GET') return new Response('<form method="post"><input name="login"><button type="submit">Allow</button></form>', { headers: { 'content-type': 'text/html' } });
    const user = (await request.formData()).get('login');
    const { redirectTo } = await env.OAUTH_PROVIDER.completeAuthorization({ request: asked, userId: user, metadata: {}, scope: asked.scope, props: { user } });
    return Response.redirect(redirectTo, 302);
  },
};

export default new OAuthProvider({
  apiRoute: '/mcp', apiHandler: mcp, defaultHandler: site,
  authorizeEndpoint: '/authorize', tokenEndpoint: '/token', clientRegistrationEndpoint: '/register', scopesSupported: ['mcp:read'],
  accessTokenTTL: Number('AT_TTL'),
  resourceMetadata: { resource: 'ORIGIN/mcp', authorization_servers: ['ORIGIN'], scopes_supported: ['mcp:read'] },
});
