/** A virtual network between machines: frames go from one to the others and nowhere else. */

/** One machine's end of a link. */
export interface LinkEnd {
  /** An open socket of Ethernet frames, one a datagram; it belongs to the link. */
  readonly descriptor: number;
}
