/**
 * How a process of a given role reaches its cluster's NATS: servers, user, password, inbox prefix.
 *
 * Three roles, one NATS user each, so that permissions can tell them apart: nodes, the deployer, and control clients of
 * any language. A password is `Redacted`: it shows in no log and no error.
 */
import type * as Redacted from "effect/Redacted"

export const natsRoles = ["node", "deployer", "control"] as const
export type NatsRole = (typeof natsRoles)[number]

export interface NatsEndpoint {
  /** `host:port`, loopback here. */
  readonly servers: ReadonlyArray<string>
  readonly user: NatsRole
  readonly password: Redacted.Redacted<string>
  /**
   * To be given to the client; its user may subscribe to no other inbox. All of a role share it, so a process appends a
   * name of its own: `_INBOX_node.n1`.
   */
  readonly inboxPrefix: string
}

export const inboxPrefix = (role: NatsRole): string => `_INBOX_${role}`
