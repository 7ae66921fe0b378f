/**
 * A cluster of three nats-servers under load, of which one after the other is killed and started again: the asker's, the answerer's, and the
 * leader of the leases. Nothing is lost in the runtime: what was answered was done once, what is safe to send again was not done, what was
 * acknowledged is in the log, and nobody is taken for dead.
 */
import {
  ActorSystem,
  type AskError,
  concurrently,
  define,
  EventLog,
  holdLease,
  layerNats,
  layerNatsEventLog,
  Leases,
  message,
  NatsConnection,
  protocol,
  Registry
} from "@ebb/actors"
import { describe, expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { join } from "node:path"
import { startEbbNode } from "../support/ebbNode.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"
import { until } from "../support/until.ts"
import { type ClusteredNats, threeNats } from "./threeNats.ts"

const Ledger = protocol(message("Enter", { payload: { attempt: Schema.String }, success: Schema.Int }))

/** It takes its time, so that some are at it when a server dies, and their answers find nobody. */
const ledger = define("ledger", Ledger, (_self, entered: Map<string, number>) =>
  Effect.succeed({
    Enter: ({ attempt }: { readonly attempt: string }) =>
      concurrently(
        Effect.delay(
          Effect.sync(() => {
            entered.set(attempt, (entered.get(attempt) ?? 0) + 1)
            return entered.size
          }),
          50
        )
      )
  })
)

const lease = {
  proto: [1, 1] as const,
  version: "v1",
  life: "Serving",
  admission: "open",
  host: "here",
  pid: process.pid,
  startedAt: 0,
  rooms: 0,
  recordings: 0
} as const

/** A runtime of its own connection, with a lease, that knows the others. */
const runtime = Effect.fnUntraced(function* (servers: ReadonlyArray<ClusteredNats>, nodeId: string) {
  const layer = Layer.mergeAll(
    ActorSystem.layer({ cluster: "test", nodeId }),
    Leases.layer,
    layerNatsEventLog({ cluster: "test", log: "events" })
  ).pipe(
    Layer.provideMerge(
      layerNats({ servers: servers.map(({ address }) => address), name: nodeId, cluster: "test" })
    )
  )
  // The cluster may still be choosing a leader.
  const context = yield* Effect.retry(Layer.build(layer), { times: 30 })
  const system = Context.get(context, ActorSystem)
  const leases = Context.get(context, Leases)
  const held = yield* holdLease({
    nodeId,
    incarnation: system.incarnation,
    initial: { ...lease, proto: [1, 1] }
  }).pipe(Effect.provideContext(context), Effect.retry({ times: 10 }))
  return {
    system,
    leases,
    held,
    log: Context.get(context, EventLog),
    registry: Context.get(context, Registry),
    connection: Context.get(context, NatsConnection)
  }
})

interface Asked {
  readonly attempt: string
  readonly error: AskError | undefined
  readonly atMs: number
}

/** The longest time without one, between first and last, in milliseconds. */
const longestGap = (times: ReadonlyArray<number>) =>
  Math.round(Math.max(0, ...times.slice(1).map((at, n) => at - (times[n] ?? at))))

const roundMs = 9_000

describe("a cluster of three nats-servers", () => {
  it.live(
    "of which one is killed under load: every ask ends truly, leases and log are kept, and nobody is dead",
    () =>
      Effect.gen(function* () {
        const servers = yield* threeNats
        const [asker, answerer] = [yield* runtime(servers, "asker"), yield* runtime(servers, "answerer")]
        const nodes = [asker, answerer]
        const entered = new Map<string, number>()
        const { ref } = yield* answerer.system.spawn(ledger, "l1", entered)
        const far = asker.system.ref(Ledger, ref.address)
        const jsm = yield* Effect.promise(() => asker.connection.client.jetstreamManager({ checkAPI: false }))
        const infoOf = (stream: string) => Effect.promise(() => jsm.streams.info(stream))
        yield* until(Effect.all([asker.leases.current, answerer.leases.current]), (views) =>
          views.every((view) => view.length === 2)
        )

        const begunMs = performance.now()
        const now = () => performance.now() - begunMs
        const asked: Array<Asked> = []
        const answeredTwice: Array<string> = []
        const appended: Array<{ readonly event: string; readonly known: boolean; readonly atMs: number }> = []
        const wrong: Array<string> = []
        const statuses = nodes.map((): Array<{ readonly status: string; readonly atMs: number }> => [])
        const epochs = yield* Effect.forEach(nodes, ({ held }) => held.epoch)
        /** The times for which each could not renew its lease in time. */
        const isolations = () =>
          statuses.map((changes) =>
            changes.flatMap(({ atMs, status }, n) =>
              status === "isolated" ? [Math.round((changes[n + 1]?.atMs ?? now()) - atMs)] : []
            )
          )
        let over = false

        const fibers = yield* FiberSet.make<unknown, unknown>()
        const background = yield* FiberSet.runtime(fibers)<never>()

        // An ask every 2 ms; one that is safe to send again is, as another attempt of the same id.
        const ask = Effect.fnUntraced(function* (id: number) {
          for (let n = 0; n < 100; n++) {
            const attempt = `${id}-${n}`
            let answers = 0
            const result = yield* Effect.result(
              far
                .ask("Enter", { attempt }, { timeoutMs: 3_000 })
                .pipe(Effect.tap(() => Effect.sync(() => answers++)))
            )
            if (answers > 1) answeredTwice.push(attempt)
            const error = Result.isFailure(result) ? result.failure : undefined
            asked.push({ attempt, error, atMs: now() })
            if (error?.retry !== "safe") return
            yield* Effect.sleep(50)
          }
        })
        let ids = 0
        const asking = background(
          Effect.whileLoop({
            while: () => !over,
            body: () =>
              Effect.andThen(
                Effect.sync(() => void background(ask(ids++))),
                Effect.sleep(2)
              ),
            step: () => {}
          })
        )

        // One writer, each event after the last that it knows of.
        const appending = background(
          Effect.gen(function* () {
            let last = 0
            for (let n = 0; !over; n++) {
              const event = `e${n}`
              const result = yield* Effect.exit(asker.log.append("s", Buffer.from(event), last))
              appended.push({ event, known: Exit.isSuccess(result), atMs: now() })
              if (Exit.isSuccess(result)) last = result.value
              else {
                // While no server leads, it is refused at once.
                const known = yield* Effect.retry(asker.log.read("s"), {
                  times: 200,
                  schedule: Schedule.spaced("100 millis")
                })
                last = known.at(-1)?.sequence ?? 0
              }
              yield* Effect.sleep(20)
            }
          })
        )

        for (const [n, { held, leases }] of nodes.entries()) {
          background(
            Stream.runForEach(held.statusChanges, (status) =>
              Effect.sync(() => statuses[n]?.push({ status, atMs: now() }))
            )
          )
          background(
            Stream.runForEach(leases.changes, (view) =>
              Effect.sync(() => {
                if (view.length < 2) wrong.push(`a view of ${view.length} at ${Math.round(now())} ms`)
              })
            )
          )
          for (const { system } of nodes) {
            background(
              Effect.forever(
                Effect.andThen(
                  Effect.map(leases.isDead(system.incarnation), (dead) => dead && wrong.push("called dead")),
                  Effect.sleep(100)
                )
              )
            )
          }
        }

        // Each is killed in the midst of it, and back before the next.
        const serverOf = (address: string | undefined) => servers.find((server) => server.address === address)
        const victims = [
          ["the asker's server", Effect.sync(() => serverOf(asker.connection.client.getServer()))],
          ["the answerer's server", Effect.sync(() => serverOf(answerer.connection.client.getServer()))],
          [
            "the leader of the leases",
            Effect.map(infoOf("KV_ebb_test_leases"), ({ cluster }) =>
              servers.find(({ name }) => name === cluster?.leader)
            )
          ]
        ] as const
        const figures: Array<Readonly<Record<string, string | number>>> = []
        for (const [name, choose] of victims) {
          yield* Effect.sleep(1_000)
          const victim = yield* choose
          if (victim === undefined) return yield* Effect.die(`no server is ${name}`)
          const killedMs = now()
          yield* victim.kill
          yield* Effect.sleep(roundMs)
          const in_ = ({ atMs }: { readonly atMs: number }) => atMs >= killedMs
          const attempts = asked.filter(in_)
          const answers = attempts.filter(({ error }) => error === undefined)
          const writes = appended.filter(in_)
          figures.push({
            killed: name,
            asks: attempts.length,
            answered: answers.length,
            safe: attempts.filter(({ error }) => error?.retry === "safe").length,
            unknown: attempts.filter(({ error }) => error?.retry === "unknown").length,
            "unknown, and done": attempts.filter(
              ({ attempt, error }) => error?.retry === "unknown" && entered.has(attempt)
            ).length,
            "longest without an answer, ms": longestGap([killedMs, ...answers.map(({ atMs }) => atMs)]),
            appends: writes.length,
            "longest without a write, ms": longestGap([
              killedMs,
              ...writes.filter(({ known }) => known).map(({ atMs }) => atMs)
            ])
          })
          yield* victim.start
          yield* until(infoOf("KV_ebb_test_leases"), ({ cluster }) =>
            (cluster?.replicas ?? []).every(({ current, offline }) => current && offline !== true)
          )
        }
        over = true
        yield* Fiber.join(asking)
        yield* Fiber.join(appending)
        // All that was asked has ended, one way or the other.
        yield* until(
          Effect.sync(() => new Set(asked.map(({ attempt }) => attempt.split("-")[0])).size),
          (ended) => ended === ids
        )
        yield* until(
          Effect.sync(() => asked.filter(({ error }) => error?.retry !== "safe").length),
          (done) => done === ids
        )
        yield* Effect.logInfo("figures", ...figures, { "isolated for, ms": isolations() })

        // Asks: what they say is what happened.
        expect([...entered].filter(([, times]) => times > 1)).toEqual([])
        expect(answeredTwice).toEqual([])
        const doneAs = (error: AskError | undefined) =>
          error === undefined ? [1] : error.retry === "unknown" ? [0, 1] : [0]
        expect(
          asked.filter(({ attempt, error }) => !doneAs(error).includes(entered.get(attempt) ?? 0))
        ).toEqual([])
        expect(asked.filter(({ error }) => error?.retry === "never")).toEqual([])
        expect(asked.filter(({ error }) => error === undefined).length).toBeGreaterThan(1_000)

        // Writes: what was acknowledged is there, once, in order.
        const all = yield* Effect.retry(asker.log.read("s"), {
          times: 200,
          schedule: Schedule.spaced("100 millis")
        })
        const logged = all.map(({ data }) => Buffer.from(data).toString())
        expect(new Set(logged).size).toBe(logged.length)
        expect(appended.filter(({ event, known }) => known && !logged.includes(event))).toEqual([])
        expect(logged.toSorted((a, b) => Number(a.slice(1)) - Number(b.slice(1)))).toEqual(logged)

        // Leases: nobody missed, and kept under their first epoch; where the servers took longer to elect a leader (they may take 9 s) than a
        // lease is good for without a renewal, its holder decided nothing for so long, and holds it again.
        expect(wrong).toEqual([])
        expect(
          isolations()
            .flat()
            .filter((ms) => ms > 5_000)
        ).toEqual([])
        for (const [n, { held }] of nodes.entries()) {
          // The last election may be over only now.
          yield* until(held.status, (status) => status === "connected")
          if (isolations()[n]?.length === 0) expect(yield* held.epoch).toEqual(epochs[n])
        }
        for (const stream of ["KV_ebb_test_leases", "ebb_test_events"]) {
          expect((yield* infoOf(stream)).config.num_replicas).toBe(3)
        }
      }).pipe(Effect.provideService(References.MinimumLogLevel, "Info")),
    120_000
  )

  it.live(
    "keeps as many copies as ebb-node is told to, and says what to do when there are too few servers",
    () =>
      Effect.gen(function* () {
        const servers = yield* threeNats
        const nats = servers.map(({ address }) => address).join(",")
        const options = { cluster: "test", nats, dataDir: join(yield* temporaryFolder, "data") }
        const probe = yield* runtime(servers, "probe").pipe(Effect.map(({ connection }) => connection.client))
        const jsm = yield* Effect.promise(() => probe.jetstreamManager({ checkAPI: false }))
        const copies = (bucket: string) =>
          Effect.promise(async () => (await jsm.streams.info(`KV_ebb_${bucket}`)).config.num_replicas)
        yield* startEbbNode({ ...options, nodeId: "a", cluster: "one", args: ["--nats-replicas", "1"] })
        expect(yield* copies("one_directory")).toBe(1)
        // What exists keeps what it has.
        const three = yield* startEbbNode({
          ...options,
          nodeId: "b",
          cluster: "one",
          env: { EBB_NATS_REPLICAS: "3" }
        })
        yield* three.says(/bucket ebb_one_directory has 1 of 3 copies/)
        yield* startEbbNode({ ...options, nodeId: "c", cluster: "many", env: { EBB_NATS_WAIT: "30" } })
        expect(yield* copies("many_directory")).toBe(3)
        const registry = yield* Layer.build(
          layerNats({ servers: nats.split(","), name: "five", cluster: "five", replicas: 5 })
        ).pipe(Effect.map(Context.get(Registry)))
        const error = yield* Effect.flip(registry.bucket("things"))
        expect(error.message).toContain(
          "start more nats-servers with JetStream, or ask for fewer copies (replicas)"
        )
      })
  )
})
