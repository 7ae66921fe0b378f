/**
 * A real nats-server for one test: on a free loopback port, with a store folder of its own, ended by its pid when the scope
 * closes. It can be killed, paused and started again on the same port, with its store or without.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

export interface NatsServer {
  readonly url: string
  readonly port: number
  /** SIGKILL, and its end. */
  readonly kill: Effect.Effect<void>
  /** On the same port and store; returns when it is ready. */
  readonly start: Effect.Effect<void>
  readonly pause: Effect.Effect<void>
  readonly resume: Effect.Effect<void>
  /** Only while it is not running. */
  readonly loseStore: Effect.Effect<void>
}

export interface NatsServerOptions {
  readonly user?: string
  readonly password?: string
  readonly jetstream?: boolean
  /** The text of a configuration, beside its address and store. */
  readonly config?: string
}

export const natsServer = Effect.fnUntraced(function* (
  options: NatsServerOptions = {}
): Effect.fn.Return<NatsServer, never, Scope.Scope> {
  const port = yield* freePort
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "ebb-nats-"))),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
  )
  const store = join(folder, "store")
  let child: ChildProcess | undefined

  const start = Effect.callback<void>((resume) => {
    const args = ["-a", "127.0.0.1", "-p", String(port)]
    if (options.jetstream !== false) args.push("-js", "-sd", store)
    if (options.config !== undefined) {
      writeFileSync(join(folder, "nats.conf"), options.config)
      args.push("-c", join(folder, "nats.conf"))
    }
    if (options.user !== undefined) args.push("--user", options.user, "--pass", options.password ?? "")
    const started = spawn("nats-server", args, { stdio: ["ignore", "ignore", "pipe"] })
    child = started
    let output = ""
    started.on("error", (cause) => resume(Effect.die(cause)))
    started.on("exit", () => resume(Effect.die(new Error(`nats-server ended at its start:\n${output}`))))
    started.stderr.setEncoding("utf8").on("data", (text: string) => {
      output += text
      if (text.includes("Server is ready")) resume(Effect.void)
    })
  })

  const signal = (name: NodeJS.Signals) => Effect.sync(() => void child?.kill(name))

  const kill = Effect.callback<void>((resume) => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null)
      return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
    child.kill("SIGKILL")
  })

  yield* Effect.acquireRelease(start, () => kill)
  return {
    url: `127.0.0.1:${port}`,
    port,
    kill,
    start,
    // The signal is only sent when kill returns; a request could still be served.
    pause: signal("SIGSTOP").pipe(
      Effect.andThen(Effect.sync(() => readFileSync(`/proc/${child?.pid}/stat`, "utf8"))),
      Effect.repeat({ until: (stat) => stat.includes(") T ") }),
      Effect.asVoid
    ),
    resume: signal("SIGCONT"),
    loseStore: Effect.sync(() => rmSync(store, { recursive: true, force: true }))
  }
})

export const freePort: Effect.Effect<number> = Effect.callback((resume) => {
  const server = createServer()
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    server.close(() => resume(Effect.succeed(port)))
  })
})
