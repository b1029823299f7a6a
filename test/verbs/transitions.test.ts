/** State changes that the device refuses: the error names what is missing, and what does not belong. */
import t, { type Test } from 'tap';

import {
  type Device,
  type QueuePair,
  type QueuePairAttributes,
  type QueuePairState,
  VerbsError,
} from 'viaduct/verbs';

import { open } from './pair.js';

type Type = 'RC' | 'UC' | 'UD' | 'XRC_SEND' | 'XRC_RECV';
type Steps = Readonly<Partial<Record<QueuePairState, QueuePairAttributes>>>;

function make(device: Device, type: Type): QueuePair {
  if (type === 'XRC_RECV') return device.openXrcd().createQp();
  return device.allocPd().createQp({ type, sendCq: device.createCq(8) });
}

/** What each step takes at least (InfiniBand Vol. 1, table 96), for a queue pair that talks to itself. */
function stepsOf(qp: QueuePair, type: Type): Steps {
  const { qpn, psn, lid, gid, mtu } = qp.endpoint();
  const init = { portNum: 1, pkeyIndex: 0 };
  if (type === 'UD') {
    return { INIT: { ...init, qkey: 5 }, RTR: {}, RTS: { sqPsn: psn } };
  }
  const { linkLayer } = qp.device.queryPort(1);
  const sgidIndex = qp.device.preferredGid(1);
  const global = linkLayer === 'Ethernet' && gid !== null ? { dgid: gid, sgidIndex } : {};
  const responds = type === 'RC' || type === 'XRC_RECV';
  const requests = type === 'RC' || type === 'XRC_SEND';
  return {
    INIT: { ...init, qpAccessFlags: [] },
    RTR: {
      ahAttr: { dlid: lid, ...global },
      pathMtu: mtu,
      destQpNum: qpn,
      rqPsn: psn,
      ...(responds ? { maxDestRdAtomic: 1, minRnrTimer: 12 } : {}),
    },
    RTS: {
      sqPsn: psn,
      ...(type === 'UC' ? {} : { timeout: 14 }),
      ...(requests ? { retryCnt: 7, rnrRetry: 7, maxRdAtomic: 1 } : {}),
    },
  };
}

function refusal(run: () => void): VerbsError {
  try {
    run();
  } catch (error) {
    if (error instanceof VerbsError) return error;
    throw error;
  }
  throw new Error('the change was not refused');
}

function checkStep(t: Test, qp: QueuePair, to: QueuePairState, step: QueuePairAttributes): void {
  const from = qp.query().qpState;
  for (const name of Object.keys(step)) {
    const others = Object.entries(step).filter(([key]) => key !== name);
    const error = refusal(() => qp.modify({ ...Object.fromEntries(others), qpState: to }));
    t.equal(error.code, 'ERR_VERBS_MODIFY');
    t.match(error.operands, { transition: `${from} → ${to}`, missing: [name], notAllowed: [] });
    t.match(error.message, `queue pair ${qp.qpNum} (${qp.type}) could not go`);
    t.match(error.message, `give ${name}`);
    t.equal(qp.query().qpState, from, 'it stays where it was');
  }
  const error = refusal(() => qp.modify({ ...step, qpState: to, rateLimit: 3 }));
  t.match(error.operands, { missing: [], notAllowed: ['rateLimit'] });
  t.match(error.message, 'leave out rateLimit');
  qp.modify({ ...step, qpState: to });
  t.equal(qp.query().qpState, to);
}

for (const type of ['RC', 'UC', 'UD', 'XRC_SEND', 'XRC_RECV'] as const) {
  t.test(`each step of ${type} names the attribute that it lacks`, (t) => {
    const device = open(t);
    if (type.startsWith('XRC') && !device.query().capabilities.includes('xrc')) {
      t.comment(`skipped: ${device.name} has no XRC`);
      t.end();
      return;
    }
    const qp = make(device, type);
    for (const [to, step] of Object.entries(stepsOf(qp, type))) {
      checkStep(t, qp, to as QueuePairState, step);
    }
    t.end();
  });
}

const IMPOSSIBLE: readonly (readonly [QueuePairState, QueuePairState])[] = [
  ['RESET', 'RTR'],
  ['RESET', 'RTS'],
  ['INIT', 'RTS'],
  ['RTS', 'INIT'],
  ['ERR', 'RTS'],
];

for (const [from, to] of IMPOSSIBLE) {
  t.test(`there is no way from ${from} to ${to}, and the error says what there is`, (t) => {
    const qp = make(open(t), 'RC');
    for (const [state, step] of Object.entries(stepsOf(qp, 'RC'))) {
      if (qp.query().qpState === from) break;
      qp.modify({ ...step, qpState: state as QueuePairState });
    }
    if (from === 'ERR') qp.modify({ qpState: 'ERR' });
    const { code, message } = refusal(() => qp.modify({ qpState: to }));
    t.equal(code, 'ERR_VERBS_MODIFY');
    t.match(message, `can not go from ${from} to ${to}; from ${from} there is `);
    t.match(message, `${from} → RESET`);
    t.end();
  });
}

t.test('a value out of range is named with the others', (t) => {
  const qp = make(open(t), 'RC');
  const { message, operands } = refusal(() =>
    qp.modify({ qpState: 'INIT', portNum: 77, pkeyIndex: 0, qpAccessFlags: [] }),
  );
  t.match(operands, { missing: [], notAllowed: [] });
  t.match(
    message,
    /all attributes are there, so a value is out of the device's range: .*portNum 77/,
  );
  t.end();
});
