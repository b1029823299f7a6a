/** The multicast groups that a queue pair is in. */
import { attempt } from './errors.js';
import { gidBytes } from './gid.js';
import { type Handle, native } from './native.js';

export class Memberships {
  readonly #groups = new Map<string, { readonly gid: string; readonly lid: number }>();

  join(qp: Handle, gid: string, lid: number): void {
    const bytes = gidBytes('qp.attachMcast', gid);
    attempt('qp.attachMcast', { gid, lid }, () => native.attachMcast(qp, bytes, lid));
    this.#groups.set(`${gid} ${lid}`, { gid, lid });
  }

  leave(qp: Handle, gid: string, lid: number): void {
    const bytes = gidBytes('qp.detachMcast', gid);
    attempt('qp.detachMcast', { gid, lid }, () => native.detachMcast(qp, bytes, lid));
    this.#groups.delete(`${gid} ${lid}`);
  }

  /** A member of a group can not be destroyed (ibv_attach_mcast(3)). */
  leaveAll(qp: Handle): void {
    for (const { gid, lid } of this.#groups.values()) this.leave(qp, gid, lid);
  }
}
