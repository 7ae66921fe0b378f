/**
 * How a process of a given role reaches its cluster's NATS: servers, user, password, inbox prefix.
 *
 * One NATS user per role, so that permissions can tell them apart. A password is `Redacted`: it shows in no log and no error.
 */
import type * as Redacted from "effect/Redacted"

/**
 * - `node`, `deployer`: the cluster itself.
 * - `operator`: people and tools that look after nodes: every control command.
 * - `control`: backends of any language: rooms, producers, consumers and recordings, and a look at the nodes.
 * - `observer`: dashboards: what changes nothing.
 */
export const natsRoles = ["node", "deployer", "operator", "control", "observer"] as const
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
