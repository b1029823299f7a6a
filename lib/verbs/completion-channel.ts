/** Completion channels: the file descriptors by which completions reach the event loop. */
import type { Device } from './device.js';
import { ClosedError } from '../errors.js';
import { attempt } from './errors.js';
import { type DescriptorWatch, type Handle, native } from './native.js';
import { Resource } from './resource.js';
import { WaitList } from './waiting.js';

/**
 * A completion channel (ibv_create_comp_channel(3)). Made by `device.createChannel`; queues share the device's own
 * unless they are given another. It is watched by Node's event loop itself, without a thread, and only while
 * somebody waits.
 *
 * ```ts
 * import { openDevice } from 'viaduct/verbs';
 *
 * using device = openDevice();
 * const channel = device.createChannel();
 * const queues = [device.createCq(64, { channel }), device.createCq(64, { channel })];
 * for (const cq of queues) cq.requestNotification();
 * console.log(channel.waitSync(10)); // prints false
 * ```
 */
export class CompletionChannel extends Resource {
  /** The file descriptor that is readable when a queue has an event. */
  readonly descriptor: number;
  readonly #watch: DescriptorWatch;
  readonly #waiters = new Map<Handle, WaitList>();
  #waiting = 0;

  /** @internal */
  static create(device: Device): CompletionChannel {
    const made = attempt('device.createChannel', {}, () => native.createChannel(device.handle));
    return new CompletionChannel(device, made.handle, made.descriptor);
  }

  private constructor(device: Device, handle: number, descriptor: number) {
    super('completion channel', handle, [device]);
    this.descriptor = descriptor;
    this.#watch = new native.DescriptorWatch(descriptor, () => this.#deliver());
  }

  /** @internal Resolves at the next event of the queue with this handle. */
  eventOf(
    queue: Handle,
    call: string,
    deadline: number,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    let list = this.#waiters.get(queue);
    if (list === undefined) {
      let before = 0;
      list = new WaitList((count) => {
        this.#count(count - before);
        before = count;
      });
      this.#waiters.set(queue, list);
    }
    return list.wait(call, deadline, signal);
  }

  /**
   * Blocks until any of the channel's queues has an event, and wakes those who await one.
   *
   * @param timeoutMs Infinity waits for ever
   * @returns false when the time is over
   */
  waitSync(timeoutMs: number): boolean {
    const handle = this.openHandle('channel.waitSync');
    const bounded = timeoutMs === Infinity ? -1 : Math.min(Math.ceil(timeoutMs), 2 ** 31 - 1);
    const ready = attempt('channel.waitSync', {}, () => native.waitForChannel(handle, bounded));
    if (ready) this.#deliver();
    return ready;
  }

  /** @internal Ends the waits for a queue that closes. */
  forget(queue: Handle): void {
    this.#waiters.get(queue)?.failAll(new ClosedError('completion queue', 'cq.next'));
    this.#waiters.delete(queue);
  }

  protected override beforeClose(): void {
    this.#watch.close();
  }

  #count(change: number): void {
    const before = this.#waiting;
    this.#waiting += change;
    if (before === 0 && this.#waiting > 0) this.#watch.start();
    if (before > 0 && this.#waiting === 0) this.#watch.stop();
  }

  #deliver(): void {
    if (this.closed) return;
    let handles: number[];
    try {
      handles = native.takeCqEvents(this.handle);
    } catch (error) {
      // The device is lost: all who wait for it learn it.
      for (const list of this.#waiters.values()) list.failAll(error as Error);
      return;
    }
    for (const queue of handles) this.#waiters.get(queue)?.wakeAll();
  }
}
