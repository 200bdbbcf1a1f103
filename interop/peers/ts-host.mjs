// The official TypeScript SDK's client as a host: ts-host.mjs TOOL COMMAND ARGUMENT… starts the command, lists the tools and calls one.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
const [tool, command, ...args] = process.argv.slice(2);
const client = new Client({ name: 'interop', version: '1' });
await client.connect(new StdioClientTransport({ command, args, env: process.env, stderr: 'inherit' }));
const { tools } = await client.listTools();
for (let i = 0; i < 20; i++) {
  const result = await client.callTool({ name: tool, arguments: {} });
  if (result.isError) throw new Error(JSON.stringify(result));
}
console.log('tools:', tools.map((t) => t.name).join(' '));
await client.close();
