/** What the software HCA counts of its packets. */

/** What became of the packets of one process. */
export interface ProcessCounters {
  /** The process's number. */
  readonly pid: number;
  /**
   * By name: `packets_received`, `packets_sent`, `bytes_received`, `bytes_sent`, `packets_sent_again`, `timeouts`, NAKs
   * by kind, and `dropped_…` with the reason.
   */
  readonly counters: Readonly<Record<string, bigint>>;
}
