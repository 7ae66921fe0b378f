/** A real nats-server with a configuration of its own, on a free loopback port, and who may log in there. */
import { readFileSync } from "node:fs"
import { writeFile } from "node:fs/promises"
import { createServer } from "node:net"
import { join } from "node:path"
import { claimCluster, natsEndpoint, type NatsRole, startNats } from "@ebb/deployer"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { startProgram } from "../support/program.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"

export interface Login {
  readonly user: string
  readonly password: string
  readonly inboxPrefix: string
}

export interface ConfiguredNats {
  /** `host:port`. */
  readonly address: string
  /** `other` is a client whose answers are nobody else's business. */
  readonly logins: Readonly<
    Record<"node" | "deployer" | "operator" | "backend" | "other" | "observer", Login>
  >
}

export const freePort: Effect.Effect<number> = Effect.callback((resume) => {
  const server = createServer()
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    server.close(() => resume(Effect.succeed(port)))
  })
})

/** Ready when it returns. The text of a configuration says neither where it listens nor where it stores: that is given. */
export const startConfigured = Effect.fnUntraced(function* (
  config: string,
  env: Readonly<Record<string, string>> = {}
) {
  const port = yield* freePort
  const folder = yield* temporaryFolder
  const file = join(folder, "nats.conf")
  const store = `store_dir: ${JSON.stringify(join(folder, "store"))}`
  const write = (text: string) =>
    Effect.promise(() =>
      writeFile(
        file,
        text.replace(/store_dir: "[^"]*"/, () => store)
      )
    )
  yield* write(config)
  const args = ["-a", "127.0.0.1", "-p", String(port), "-c", file]
  const program = yield* startProgram("nats-server", args, { env })
  yield* program.says(/Server is ready/)
  return {
    address: `127.0.0.1:${port}`,
    /** Takes another configuration, as far as a running server can. */
    configure: (text: string) => Effect.andThen(write(text), program.signal("SIGHUP"))
  }
})

/** Its `host:port`. */
export const natsConfigured = (config: string, env?: Readonly<Record<string, string>>) =>
  Effect.map(startConfigured(config, env), ({ address }) => address)

const page = readFileSync(join(import.meta.dirname, "../../docs/nats.md"), "utf8")

/** A block of docs/nats.md: its users get passwords by its environment. */
export const natsOfPage = Effect.fnUntraced(function* (
  name: "users" | "accounts",
  change: (config: string) => string = (same) => same
) {
  const config = change(new RegExp(`\`\`\`conf ${name}\n([^]*?)\`\`\``).exec(page)?.[1] ?? "")
  const users = [...config.matchAll(/user: (\w+)/g)].map(([, user = ""]) => user)
  const passwordOf = (user: string) => `secret-of-${user}`
  const address = yield* natsConfigured(
    config,
    Object.fromEntries(users.map((user) => [`${user.toUpperCase()}_PASSWORD`, passwordOf(user)]))
  )
  const login = (user: string): Login => ({
    user,
    password: passwordOf(user),
    inboxPrefix: `_INBOX_${user}`
  })
  const nats: ConfiguredNats = {
    address,
    logins: {
      node: login("node"),
      deployer: login("deployer"),
      operator: login("operator"),
      backend: login("backend_a"),
      other: login("backend_b"),
      observer: login("dashboard")
    }
  }
  return nats
})

/** What `ebb up` runs. All backends have one user there: the other client is the operator. */
export const natsOfUp = Effect.gen(function* () {
  const cluster = yield* claimCluster({ folder: yield* temporaryFolder, name: "live" })
  yield* Effect.acquireRelease(startNats(cluster), (server) => Effect.ignore(server.stop))
  let address = ""
  const login = Effect.fnUntraced(function* (role: NatsRole) {
    const { inboxPrefix, password, servers, user } = yield* natsEndpoint(cluster, role)
    address = servers[0] ?? ""
    const login: Login = { user, password: Redacted.value(password), inboxPrefix }
    return login
  })
  const operator = yield* login("operator")
  const nats: ConfiguredNats = {
    logins: {
      node: yield* login("node"),
      deployer: yield* login("deployer"),
      operator,
      backend: yield* login("control"),
      other: operator,
      observer: yield* login("observer")
    },
    address
  }
  return nats
}).pipe(Effect.orDie)
