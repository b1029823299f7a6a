/** Which attributes each change of a queue pair's state needs and allows, to explain a change that was refused. */
import type { QueuePairState, QueuePairType } from './enumerations.js';
import type { QueuePairAttributes } from './queue-pair-attributes.js';

type Attribute = keyof QueuePairAttributes;

interface Rule {
  readonly required: readonly Attribute[];
  readonly optional: readonly Attribute[];
}

type Rules = Partial<Record<QueuePairType, Rule>>;

const rule = (required: readonly Attribute[], optional: readonly Attribute[] = []): Rule => ({
  required,
  optional,
});

/** Types that differ in nothing here share a rule. */
function rules(byTypes: readonly (readonly [readonly QueuePairType[], Rule])[]): Rules {
  return Object.fromEntries(byTypes.flatMap(([types, each]) => types.map((type) => [type, each])));
}

const CONNECTED_TARGETS = ['RC', 'XRC_RECV'] as const;
const ALTERNATE = ['altAhAttr', 'altPkeyIndex', 'altPortNum', 'altTimeout'] as const;

/** InfiniBand Architecture Specification, Vol. 1, 11.2.5.2, table 96; ibv_modify_qp(3). */
const TRANSITIONS: Readonly<Record<string, Rules>> = {
  'RESET → INIT': rules([
    [['RC', 'UC', 'XRC_SEND', 'XRC_RECV'], rule(['pkeyIndex', 'portNum', 'qpAccessFlags'])],
    [['UD'], rule(['pkeyIndex', 'portNum', 'qkey'])],
    [['RAW_PACKET'], rule(['portNum'])],
  ]),
  'INIT → INIT': rules([
    [['RC', 'UC', 'XRC_SEND', 'XRC_RECV'], rule([], ['pkeyIndex', 'portNum', 'qpAccessFlags'])],
    [['UD'], rule([], ['pkeyIndex', 'portNum', 'qkey'])],
    [['RAW_PACKET'], rule([], ['portNum'])],
  ]),
  'INIT → RTR': rules([
    [
      CONNECTED_TARGETS,
      rule(
        ['ahAttr', 'pathMtu', 'destQpNum', 'rqPsn', 'maxDestRdAtomic', 'minRnrTimer'],
        ['pkeyIndex', 'qpAccessFlags', ...ALTERNATE],
      ),
    ],
    [
      ['UC', 'XRC_SEND'],
      rule(
        ['ahAttr', 'pathMtu', 'destQpNum', 'rqPsn'],
        ['pkeyIndex', 'qpAccessFlags', ...ALTERNATE],
      ),
    ],
    [['UD'], rule([], ['pkeyIndex', 'qkey'])],
    [['RAW_PACKET'], rule([])],
  ]),
  'RTR → RTS': rules([
    [
      ['RC', 'XRC_SEND'],
      rule(
        ['sqPsn', 'timeout', 'retryCnt', 'rnrRetry', 'maxRdAtomic'],
        ['qpAccessFlags', 'minRnrTimer', 'pathMigState', ...ALTERNATE],
      ),
    ],
    [
      ['XRC_RECV'],
      rule(['sqPsn', 'timeout'], ['qpAccessFlags', 'minRnrTimer', 'pathMigState', ...ALTERNATE]),
    ],
    [['UC'], rule(['sqPsn'], ['qpAccessFlags', 'pathMigState', ...ALTERNATE])],
    [['UD'], rule(['sqPsn'], ['qkey'])],
    [['RAW_PACKET'], rule([], ['rateLimit'])],
  ]),
  'RTS → RTS': rules([
    [CONNECTED_TARGETS, rule([], ['qpAccessFlags', 'minRnrTimer', 'pathMigState', ...ALTERNATE])],
    [['UC', 'XRC_SEND'], rule([], ['qpAccessFlags', 'pathMigState', ...ALTERNATE])],
    [['UD'], rule([], ['qkey'])],
    [['RAW_PACKET'], rule([], ['rateLimit'])],
  ]),
};

const ALWAYS: readonly Attribute[] = ['qpState', 'curQpState'];
const ANY_TO = new Set<QueuePairState>(['RESET', 'ERR']);

export interface ModifyDiagnosis {
  readonly transition: string;
  readonly missing: readonly Attribute[];
  readonly notAllowed: readonly Attribute[];
  readonly text: string;
}

/** Why a device may have refused this change. */
export function diagnoseModify(
  type: QueuePairType,
  from: QueuePairState,
  attributes: QueuePairAttributes,
): ModifyDiagnosis {
  const to = attributes.qpState ?? from;
  const transition = `${from} → ${to}`;
  const given = (Object.keys(attributes) as Attribute[]).filter(
    (name) => attributes[name] !== undefined && !ALWAYS.includes(name),
  );
  if (ANY_TO.has(to)) {
    const text =
      given.length > 0
        ? `this change takes no other attributes; leave out ${given.join(', ')}`
        : from === 'RESET'
          ? 'the kernel does not take a new queue pair there; bring it to INIT first'
          : 'the device refused a change that is always allowed; look at its asynchronous events';
    return { transition, missing: [], notAllowed: given, text };
  }
  const found = TRANSITIONS[transition]?.[type];
  if (found === undefined) {
    const ways = Object.keys(TRANSITIONS).filter((each) => each.startsWith(`${from} → `));
    const text =
      `a queue pair of type ${type} can not go from ${from} to ${to}; from ${from} there is ` +
      [...ways, `${from} → RESET`, `${from} → ERR`].join(', ');
    return { transition, missing: [], notAllowed: [], text };
  }
  const missing = found.required.filter((name) => !given.includes(name));
  const notAllowed = given.filter(
    (name) => !found.required.includes(name) && !found.optional.includes(name),
  );
  const parts = [
    ...(missing.length > 0 ? [`give ${missing.join(', ')}`] : []),
    ...(notAllowed.length > 0 ? [`leave out ${notAllowed.join(', ')}`] : []),
  ];
  const values = given.map((name) => `${name} ${JSON.stringify(attributes[name])}`).join(', ');
  const text =
    parts.length > 0
      ? parts.join(' and ')
      : `all attributes are there, so a value is out of the device's range: ${values}`;
  return { transition, missing, notAllowed, text };
}
