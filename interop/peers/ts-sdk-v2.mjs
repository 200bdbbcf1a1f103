// An MCP server made of the TypeScript SDK v2, which takes the tokens of an oidc-provider: PORT=9601 AS=http://127.0.0.1:9101
import { createMcpExpressApp, getOAuthProtectedResourceMetadataUrl, mcpAuthMetadataRouter, requireBearerAuth } from '@modelcontextprotocol/express';
import { NodeStreamableHTTPServerTransport } from '@modelcontextprotocol/node';
import { McpServer, OAuthError, OAuthErrorCode } from '@modelcontextprotocol/server';
import * as jose from 'jose';
import { z } from 'zod';
const port = Number(process.env.PORT), issuer = process.env.AS, resource = `http://127.0.0.1:${port}/mcp`;
const keys = jose.createRemoteJWKSet(new URL(issuer + '/jwks'));
const oauthMetadata = await (await fetch(issuer + '/.well-known/oauth-authorization-server')).json();
const verifier = {
  async verifyAccessToken(token) {
    try {
      const { payload: p } = await jose.jwtVerify(token, keys, { issuer, audience: resource });
      return { token, clientId: p.client_id, scopes: (p.scope ?? '').split(' '), expiresAt: p.exp };
    } catch (e) {
      throw new OAuthError(OAuthErrorCode.InvalidToken, e.message);
    }
  },
};
const app = createMcpExpressApp();
app.use(mcpAuthMetadataRouter({ oauthMetadata, resourceServerUrl: new URL(resource), scopesSupported: ['mcp:read'] }));
app.post('/mcp', requireBearerAuth({ verifier, requiredScopes: ['mcp:read'], resourceMetadataUrl: getOAuthProtectedResourceMetadataUrl(new URL(resource)) }), async (q, s) => {
  const server = new McpServer({ name: 'ts-sdk-v2', version: '1' });
  server.registerTool('hello', { description: 'say hello', inputSchema: z.object({}) }, async () => ({ content: [{ type: 'text', text: 'hello' }] }));
  const transport = new NodeStreamableHTTPServerTransport({ sessionIdGenerator: undefined });
  await server.connect(transport);
  await transport.handleRequest(q, s, q.body);
});
app.all('/mcp', (q, s) => s.status(405).end());
app.listen(port, '127.0.0.1');
