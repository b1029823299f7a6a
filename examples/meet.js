// How the verbs examples find each other: a TCP connection that carries lines of JSON. RDMA itself needs none of it,
// but two queue pairs must learn each other's endpoints somehow.
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';

/** @typedef {ReturnType<typeof peerOf>} Peer */

/** @param {import('node:net').Socket} socket */
function peerOf(socket) {
  const lines = createInterface(socket)[Symbol.asyncIterator]();
  return {
    /**
     * Tells the peer a value and returns the one that it tells. JSON has no bigint: such go as text.
     *
     * @param {unknown} mine
     */
    async exchange(mine) {
      const text = JSON.stringify(mine, (_, value) =>
        typeof value === 'bigint' ? String(value) : value,
      );
      socket.write(`${text}\n`);
      const { value, done } = await lines.next();
      if (done) throw new Error('the peer has gone');
      return JSON.parse(value);
    },
    gone: once(socket, 'close'),
    leave: () => socket.end(),
  };
}

/**
 * Calls back for each peer that comes. Port 0 is any that is free; the server's `address()` tells which.
 *
 * @param {number} port
 * @param {(peer: Peer) => Promise<void>} onPeer
 */
export async function listen(port, onPeer) {
  const server = createServer((socket) => {
    onPeer(peerOf(socket)).catch((error) => {
      console.error(error.message);
      socket.destroy();
    });
  });
  await once(server.listen(port), 'listening');
  const address = server.address();
  if (typeof address === 'object') console.log(`listening on port ${address?.port}`);
  return server;
}

/**
 * @param {string} host
 * @param {number} port
 */
export async function dial(host, port) {
  const socket = connect(port, host);
  await once(socket, 'connect');
  return peerOf(socket);
}
