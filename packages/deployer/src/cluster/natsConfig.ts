/**
 * The embedded nats-server's configuration: one account, one user per role, and what each may publish and subscribe. docs/nats.md says the
 * same for somebody's own nats-server; a test drives both.
 *
 * A client reaches the control commands of its role and its own inbox, nothing else. Within one role all trust each other, and whoever
 * knows another's inbox to the letter can have an answer sent there: inboxes are random. Subjects are those of `Address.subjects`.
 */
import type { NatsRole } from "./natsEndpoint.ts"
import { inboxPrefix, natsRoles } from "./natsEndpoint.ts"

export interface NatsConfig {
  readonly cluster: string
  readonly serverName: string
  readonly port: number
  readonly storeFolder: string
  /** By role. A role without a password has no user. */
  readonly passwords: Readonly<Record<string, string>>
}

interface Permissions {
  readonly publish: { readonly allow: ReadonlyArray<string>; readonly deny?: ReadonlyArray<string> }
  readonly subscribe: { readonly allow: ReadonlyArray<string> }
  /** May answer a request once, to whatever inbox it named, for two minutes: the server's own meaning of `true`. */
  readonly allow_responses?: true
}

/**
 * JetStream: streams and consumers are made, read and asked about, and never removed, emptied or changed. What it answers comes to
 * the asker's inbox.
 */
const jetStream = [
  "$JS.API.INFO",
  "$JS.API.STREAM.NAMES",
  "$JS.API.STREAM.LIST",
  "$JS.API.STREAM.INFO.*",
  "$JS.API.STREAM.CREATE.*",
  "$JS.API.STREAM.MSG.GET.*",
  "$JS.API.CONSUMER.>",
  "$JS.ACK.>",
  "$JS.FC.>"
]

/** A node writes leases, directory and receipts, and clears the marks of what it removed. */
const registry = ["$KV.>", "$JS.API.STREAM.MSG.DELETE.*"]

const permissions = (cluster: string): Record<NatsRole, Permissions> => {
  const root = `ebb.v1.${cluster}`
  const inbox = (role: NatsRole) => `${inboxPrefix(role)}.>`
  // Answers that are more than one, or later than two minutes: between nodes and the deployer only.
  const peers = [inbox("node"), inbox("deployer")]
  /** Asks every node of itself: `nats micro`. */
  const discovery = "$SRV.>"
  const client = (role: NatsRole, ...publish: ReadonlyArray<string>): Permissions => ({
    publish: { allow: publish },
    subscribe: { allow: [inbox(role)] }
  })
  return {
    node: {
      publish: {
        allow: [`${root}.>`, ...jetStream, ...registry, ...peers],
        deny: [`${root}.rollout.>`]
      },
      subscribe: { allow: [`${root}.>`, discovery, inbox("node")] },
      allow_responses: true
    },
    deployer: {
      publish: {
        allow: [
          ...["ctl", "sys", "a", "b", "rollout"].map((role) => `${root}.${role}.>`),
          discovery,
          ...jetStream,
          ...peers
        ]
      },
      subscribe: { allow: [...["sys", "a", "b"].map((role) => `${root}.${role}.>`), inbox("deployer")] },
      allow_responses: true
    },
    operator: client("operator", `${root}.ctl.>`, discovery),
    control: {
      publish: {
        allow: [
          ...["room", "webrtc", "producer", "consumer", "recording"].map((what) => `${root}.ctl.${what}.*`),
          ...["list", "status"].map((look) => `${root}.ctl.node.${look}`)
        ],
        // Whoever makes recordings may not delete them: that is an operator's.
        deny: [`${root}.ctl.recording.delete`]
      },
      subscribe: { allow: [inbox("control")] }
    },
    observer: client(
      "observer",
      ...["get", "list", "status"].map((look) => `${root}.ctl.*.${look}`),
      discovery
    )
  }
}

/** The text of the configuration file. It holds the passwords. The server reads JSON as its own format. */
export const renderNatsConfig = (config: NatsConfig): string => {
  const allowed = permissions(config.cluster)
  return JSON.stringify(
    {
      server_name: config.serverName,
      host: "127.0.0.1",
      port: config.port,
      jetstream: {
        store_dir: config.storeFolder,
        max_memory_store: 64 * 1024 ** 2,
        max_file_store: 1024 ** 3
      },
      max_payload: 1024 ** 2,
      max_connections: 4096,
      // A client that died without a word is noticed within ten to fifteen seconds, before its lease runs out.
      ping_interval: "5s",
      ping_max: 2,
      write_deadline: "10s",
      authorization: {
        timeout: 5,
        users: natsRoles.flatMap((role) => {
          const password = config.passwords[role]
          return password === undefined ? [] : [{ user: role, password, permissions: allowed[role] }]
        })
      }
    },
    undefined,
    2
  )
}
