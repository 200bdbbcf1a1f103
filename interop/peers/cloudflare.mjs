// Runs cloudflare-worker.js in workerd, on loopback: PORT=9103 AT_TTL=600
import fs from 'node:fs';
import { build } from 'esbuild';
import { Log, LogLevel, Miniflare, Response } from 'miniflare';
const port = Number(process.env.PORT ?? 9103), here = import.meta.dirname;
const source = fs.readFileSync(here + '/cloudflare-worker.js', 'utf8').replaceAll('ORIGIN/', `http://localhost:${port}/`).replaceAll("'ORIGIN'", `'http://localhost:${port}'`).replaceAll('AT_TTL', process.env.AT_TTL ?? '600');
const { outputFiles } = await build({
  stdin: { contents: source, resolveDir: here, loader: 'js' }, bundle: true, write: false, format: 'esm', platform: 'neutral',
  mainFields: ['module', 'main'], conditions: ['workerd'], external: ['cloudflare:*', 'node:*'],
});
const worker = new Miniflare({
  modules: true, script: outputFiles[0].text, host: '127.0.0.1', port, kvNamespaces: ['OAUTH_KV'], compatibilityDate: '2025-06-01',
  compatibilityFlags: ['nodejs_compat', 'global_fetch_strictly_public'], log: new Log(LogLevel.WARN), telemetry: { enabled: false }, cf: false,
  outboundService: () => new Response('there is no network', { status: 502 }),
});
await worker.ready;
console.log('ready', port);
