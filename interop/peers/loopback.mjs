// node --import ./loopback.mjs SERVER: a server that would listen everywhere listens on loopback only.
import net from 'node:net';
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (first, ...rest) {
  const port = typeof first === 'object' && first !== null ? first.port : first;
  if (port === undefined) return listen.call(this, first, ...rest);
  return listen.call(this, { port: Number(port), host: '127.0.0.1' }, ...rest.filter((a) => typeof a === 'function'));
};
