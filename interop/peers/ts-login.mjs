// The official TypeScript SDK's client logs in to the server of the first argument; prints how many milliseconds passed until it
// wanted the browser opened.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
let client, verifier;
const start = performance.now();
const provider = {
  redirectUrl: 'http://127.0.0.1:45996/callback',
  clientMetadata: { redirect_uris: ['http://127.0.0.1:45996/callback'], client_name: 'interop', token_endpoint_auth_method: 'none' },
  clientInformation: () => client,
  saveClientInformation: (c) => { client = c; },
  tokens: () => undefined,
  saveTokens: () => {},
  redirectToAuthorization: () => { console.log(performance.now() - start); process.exit(0); },
  saveCodeVerifier: (v) => { verifier = v; },
  codeVerifier: () => verifier,
};
setTimeout(() => process.exit(1), 20_000);
await new Client({ name: 'interop', version: '1' }).connect(new StreamableHTTPClientTransport(new URL(process.argv[2]), { authProvider: provider }));
