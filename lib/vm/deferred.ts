/** A promise with its two ends in one object; Node.js 20 has no Promise.withResolvers. */
export class Deferred<T> {
  readonly promise: Promise<T>;
  resolve!: (value: T) => void;
  reject!: (reason: unknown) => void;

  constructor() {
    this.promise = new Promise<T>((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    // Whoever awaits it gets the rejection; that nobody does is no failure of its own.
    this.promise.catch(() => {});
  }
}
