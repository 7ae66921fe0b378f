/** Three nats-servers as one cluster, with JetStream, each of which can be killed and started again. */
import { mkdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { type Program, startProgram } from "../support/program.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"
import { freePort } from "./configuredNats.ts"

export interface ClusteredNats {
  readonly name: string
  /** `host:port`. */
  readonly address: string
  /** SIGKILL, and its end. */
  readonly kill: Effect.Effect<void>
  /** On the same ports and store; returns when it takes clients. */
  readonly start: Effect.Effect<void>
}

export const threeNats = Effect.gen(function* () {
  const folder = yield* temporaryFolder
  const ports = yield* Effect.all(Array.from({ length: 6 }, () => freePort))
  const routes = ports.slice(3).map((port) => `nats://127.0.0.1:${port}`)
  return yield* Effect.forEach(
    ["n1", "n2", "n3"],
    Effect.fnUntraced(function* (name, index) {
      const port = ports[index] ?? 0
      const store = join(folder, name)
      const file = join(folder, `${name}.conf`)
      yield* Effect.promise(async () => {
        await mkdir(store)
        const config = {
          server_name: name,
          host: "127.0.0.1",
          port,
          jetstream: { store_dir: store },
          cluster: { name: "ebb", host: "127.0.0.1", port: ports[index + 3], routes }
        }
        await writeFile(file, JSON.stringify(config))
      })
      const outer = yield* Effect.scope
      let running: { readonly scope: Scope.Closeable; readonly program: Program } | undefined
      const start = Effect.gen(function* () {
        const scope = yield* Scope.fork(outer)
        const program = yield* Scope.provide(startProgram("nats-server", ["-c", file]), scope)
        running = { scope, program }
        yield* program.says(/Server is ready/)
      })
      yield* start
      const server: ClusteredNats = {
        name,
        address: `127.0.0.1:${port}`,
        kill: Effect.suspend(() => (running ? Scope.close(running.scope, Exit.void) : Effect.void)),
        start
      }
      return server
    })
  )
})
