/** What joins the ranks of a job before there is any channel between them, whichever launcher there is. */

export interface Meeting {
  readonly rank: number;
  readonly size: number;
  /** Every rank calls it, as often as the others: resolves to what each has brought, by rank; up to 32 KiB each. */
  exchange(mine: Uint8Array): Promise<Uint8Array[]>;
  /** Takes leave of the launcher, after the last message. */
  leave(): Promise<void>;
  /** Lets go without a word. */
  close(): void;
}

/** What one rank may bring to an exchange. */
export const EXCHANGE_BYTES = 32768;

/** Everybody's values of a kind, by way of JSON. */
export async function exchangeValues<T>(meeting: Meeting, mine: T): Promise<T[]> {
  const all = await meeting.exchange(Buffer.from(JSON.stringify(mine)));
  return all.map((bytes) => JSON.parse(Buffer.from(bytes).toString()) as T);
}
