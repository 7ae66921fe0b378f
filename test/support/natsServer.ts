/** A real nats-server on a free loopback port, with a store that outlives its own kill and start. */
import { rm } from "node:fs/promises"
import { createServer } from "node:net"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { type Program, startProgram } from "./program.ts"
import { temporaryFolder } from "./temporaryFolder.ts"

export interface NatsServer {
  /** `host:port`. */
  readonly address: string
  readonly pid: () => number
  /** SIGKILL, and its end. */
  readonly kill: Effect.Effect<void>
  /** On the same port and store; returns when it is ready. */
  readonly start: Effect.Effect<void>
  /** Only while it is not running. */
  readonly loseStore: Effect.Effect<void>
}

export const natsServer = Effect.gen(function* () {
  const port = yield* freePort
  const store = join(yield* temporaryFolder, "store")
  const scope = yield* Effect.scope
  let running: { readonly program: Program; readonly scope: Scope.Closeable } | undefined

  const start = Effect.gen(function* () {
    const own = yield* Scope.fork(scope)
    const args = ["-a", "127.0.0.1", "-p", String(port), "-js", "-sd", store]
    const program = yield* Scope.provide(startProgram("nats-server", args), own)
    running = { program, scope: own }
    yield* program.says(/Server is ready/)
  })
  yield* start
  const server: NatsServer = {
    address: `127.0.0.1:${port}`,
    pid: () => running?.program.pid ?? 0,
    kill: Effect.suspend(() => (running ? Scope.close(running.scope, Exit.void) : Effect.void)),
    start,
    loseStore: Effect.promise(() => rm(store, { recursive: true, force: true }))
  }
  return server
})

const freePort: Effect.Effect<number> = Effect.callback((resume) => {
  const server = createServer()
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    server.close(() => resume(Effect.succeed(port)))
  })
})
