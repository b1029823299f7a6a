/** Whether there is anybody to speak PMI-1 to: apart from the client, which most ranks need not load. */

/** Whether a launcher that speaks PMI-1 has started this process. */
export function isPmiOffered(env: Readonly<Record<string, string | undefined>>): boolean {
  return env['PMI_FD'] !== undefined || env['PMI_PORT'] !== undefined;
}
