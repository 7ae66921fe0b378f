/**
 * The embedded nats-server's configuration: one account, one user per role, and what each may publish and subscribe.
 *
 * Control clients reach control commands and their own inbox, nothing else. Between nodes, and from the deployer to
 * nodes, the roles are the line drawn: within one role all trust each other. Subjects are those of `Address.subjects`.
 */
import type { NatsRole } from "./natsEndpoint.ts"
import { inboxPrefix, natsRoles } from "./natsEndpoint.ts"

export interface NatsConfig {
  readonly cluster: string
  readonly serverName: string
  readonly port: number
  readonly storeFolder: string
  readonly passwords: Readonly<Record<NatsRole, string>>
}

interface Permissions {
  readonly publish: ReadonlyArray<string>
  readonly subscribe: ReadonlyArray<string>
  /** May answer a request once, to whatever inbox it named, for two minutes: the server's own meaning of `true`. */
  readonly allow_responses?: true
}

/** JetStream: requests, acknowledgements and flow control. What it answers comes to the asker's inbox. */
const jetStream = ["$JS.API.>", "$JS.ACK.>", "$JS.FC.>", "$KV.>"]

const permissions = (cluster: string): Record<NatsRole, Permissions> => {
  const root = `ebb.v1.${cluster}`
  const peers = [`${inboxPrefix("node")}.>`, `${inboxPrefix("deployer")}.>`]
  return {
    node: {
      publish: [`${root}.>`, ...jetStream, ...peers],
      subscribe: [`${root}.>`, `${inboxPrefix("node")}.>`],
      allow_responses: true
    },
    deployer: {
      publish: [`${root}.ctl.>`, `${root}.sys.>`, `${root}.a.>`, `${root}.rollout.>`, ...jetStream, ...peers],
      subscribe: [`${root}.a.>`, `${root}.sys.>`, `${inboxPrefix("deployer")}.>`],
      allow_responses: true
    },
    control: {
      publish: [`${root}.ctl.>`],
      subscribe: [`${inboxPrefix("control")}.>`]
    }
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
        users: natsRoles.map((role) => ({
          user: role,
          password: config.passwords[role],
          permissions: allowed[role]
        }))
      }
    },
    undefined,
    2
  )
}
