/** The errors that every layer derives its own from. */
import t from 'tap';

import { ClosedError, ViaductError } from '../lib/errors.js';

class LayerError extends ViaductError {}

t.test('an error carries its code, the call, the operands and the cause', async (t) => {
  const cause = new Error('ENOSPC');
  const error = new LayerError('ERR_LAYER', 'make room', {
    call: 'layer.grow',
    operands: { sizeBytes: 4096 },
    errno: 28,
    cause,
  });
  t.equal(error.code, 'ERR_LAYER');
  t.equal(error.message, 'make room');
  t.equal(error.call, 'layer.grow');
  t.strictSame(error.operands, { sizeBytes: 4096 });
  t.equal(error.errno, 28);
  t.equal(error.cause, cause);
});

t.test('an error is named after its own class, also in its stack', async (t) => {
  const error = new LayerError('ERR_LAYER', 'make room');
  t.equal(error.name, 'LayerError');
  t.ok(error instanceof ViaductError);
  t.ok(error instanceof Error);
  t.match(String(error), /^LayerError: make room/);
});

t.test('an error without details has no operands and no cause of its own', async (t) => {
  const error = new ViaductError('ERR_PLAIN', 'plain');
  t.strictSame(error.operands, {});
  t.equal(error.call, undefined);
  t.equal(error.errno, undefined);
  t.notOk(Object.hasOwn(error, 'cause'));
});

t.test('use after close says what is closed and what to do', async (t) => {
  const error = new ClosedError('aperture', 'aperture.allocate');
  t.equal(error.code, 'ERR_CLOSED');
  t.equal(error.call, 'aperture.allocate');
  t.match(error.message, 'aperture.allocate: this aperture is closed; open or create a new one');
});
