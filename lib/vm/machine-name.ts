/** What a machine may be called: its name is also its host name and part of a path. */
export const isMachineName = (name: string): boolean =>
  /^[A-Za-z0-9][A-Za-z0-9.-]{0,62}$/.test(name);
