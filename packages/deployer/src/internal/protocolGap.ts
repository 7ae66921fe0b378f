/**
 * May two versions live in one cluster? A build speaks the newest version of the protocols and the one before it, so two that are one
 * version apart have one in common. docs/versions.md says what a version of the protocols is.
 */

/** Least and most, as a node's lease says. */
export type ProtocolRange = readonly [least: number, most: number]

export const isTooFarApart = (a: ProtocolRange, b: ProtocolRange): boolean =>
  a[1] < b[0] || b[1] < a[0] || Math.abs(a[1] - b[1]) > 1

export const describeRange = ([least, most]: ProtocolRange): string =>
  least === most ? `version ${most}` : `versions ${least} to ${most}`
