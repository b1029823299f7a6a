/** The relay of output, chunk by chunk. */
import { PassThrough, Writable } from 'node:stream';

import t from 'tap';

import { LineRelay } from '../../lib/job/line-relay.js';
import { Outlet } from '../../lib/job/outlet.js';

/** A stream that keeps what it is given, and takes one write at a time. */
class Sink extends Writable {
  readonly writes: Buffer[] = [];

  constructor() {
    super({ highWaterMark: 1 });
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    if (chunk.length > 0) this.writes.push(chunk);
    setImmediate(done);
  }

  get text(): string {
    return Buffer.concat(this.writes).toString('utf8');
  }
}

async function relay(chunks: readonly (Buffer | string)[], label = '[3] '): Promise<Sink> {
  const sink = new Sink();
  const outlet = new Outlet(sink, (error) => {
    throw error;
  });
  const source = new PassThrough();
  const lines = new LineRelay(source, outlet, label);
  for (const chunk of chunks) {
    source.write(chunk);
    // Each chunk arrives alone.
    await new Promise(setImmediate);
    await new Promise(setImmediate);
  }
  source.end();
  await lines.done;
  await outlet.flush();
  return sink;
}

t.test('characters that are cut between chunks come out whole', async (t) => {
  const bytes = Buffer.from('aé€😀z\n');
  const sink = await relay(Array.from(bytes, (byte) => Buffer.of(byte)));
  t.equal(sink.text, '[3] aé€😀z\n');
});

t.test('bytes that are no text pass unchanged', async (t) => {
  const bytes = Buffer.from([0xff, 0x00, 0xc3, 0x0a, 0x80, 0x0a]);
  const sink = await relay([bytes], '');
  t.strictSame(Buffer.concat(sink.writes), bytes);
});

t.test('a line is written at once, however it arrived', async (t) => {
  const sink = await relay(['on', 'e\ntwo\nth', 'ree\n']);
  t.strictSame(sink.writes.map(String), ['[3] one\n[3] two\n', '[3] three\n']);
});

t.test('empty lines have labels too', async (t) => {
  t.equal((await relay(['\n\n'])).text, '[3] \n[3] \n');
});

t.test('a line beyond what is held goes on in pieces of whole characters', async (t) => {
  const text = `x${'😀'.repeat(700_000)}`;
  const bytes = Buffer.from(`${text}\nend`);
  const chunks: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += 65_536) chunks.push(bytes.subarray(at, at + 65_536));
  const sink = await relay(chunks);
  t.ok(sink.writes.length > 2, `${sink.writes.length} writes`);
  t.ok(sink.text === `[3] ${text}\n[3] end\n`, 'the text is complete and has one label a line');
  t.notOk(
    sink.writes.some((write) => write.toString('utf8').includes('\ufffd')),
    'no piece ends within a character',
  );
});

t.test('output without end stops being waited for when the rank has ended', async (t) => {
  const sink = new Sink();
  const source = new PassThrough();
  const lines = new LineRelay(source, new Outlet(sink, () => {}), '[0] ');
  source.write('last words');
  lines.rankEnded();
  await lines.done;
  t.equal(sink.text, '[0] last words\n');
});

t.test('a broken outlet is reported once and takes no more', async (t) => {
  const broken: Error[] = [];
  const stream = new Writable({
    write: (_chunk, _encoding, done) => done(new Error('no space left')),
  });
  const outlet = new Outlet(stream, (error) => broken.push(error));
  await outlet.write(Buffer.from('a'));
  await new Promise(setImmediate);
  await outlet.write(Buffer.from('b'));
  await outlet.flush();
  t.strictSame(
    broken.map((error) => error.message),
    ['no space left'],
  );
});
