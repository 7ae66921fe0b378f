/**
 * What each role may do, on real nats-servers with the configuration that `ebb up` generates and with both of docs/nats.md, and a
 * real node: judged by what happened to the node, the registry and the other client, not by what the server said.
 */
import { ActorSystem, layerNats } from "@ebb/actors"
import { ControlProtocol, nodeKind } from "@ebb/media/protocol"
import { decode, encode } from "@msgpack/msgpack"
import { describe, expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import { join } from "node:path"
import { connect } from "nats"
import { startEbbNode } from "../support/ebbNode.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"
import { until } from "../support/until.ts"
import { type ConfiguredNats, type Login, natsOfPage, natsOfUp } from "./configuredNats.ts"

const root = "ebb.v1.live"
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("latin1")

/** A client by its library, which hears everything that it is given. */
const clientOf = Effect.fnUntraced(function* (address: string, login: Login) {
  const { inboxPrefix, password, user } = login
  const connection = yield* Effect.acquireRelease(
    Effect.promise(() =>
      connect({ servers: address, user, pass: password, inboxPrefix, name: user, noAsyncTraces: true })
    ),
    (open) => Effect.promise(() => open.close())
  )
  const heard: Array<{ readonly subject: string; readonly data: Uint8Array }> = []
  const flush = Effect.promise(() => connection.flush())
  /** The answer's `ok` or the error's tag; undefined when it is not let through. */
  const command = (name: string, payload: object = {}) =>
    Effect.promise(async () => {
      try {
        const answer = await connection.request(`${root}.ctl.${name}`, encode(payload), { timeout: 3_000 })
        const reply = decode(answer.data) as {
          readonly ok?: object
          readonly error?: { readonly _tag: string }
        }
        return reply.ok ?? reply.error?._tag
      } catch {
        return undefined
      }
    })
  return {
    connection,
    heard,
    flush,
    command,
    /** Listens there, if it is let. */
    listen: (...subjects: ReadonlyArray<string>) =>
      Effect.andThen(
        Effect.sync(() => {
          for (const subject of subjects) {
            connection.subscribe(subject, {
              callback: (error, { data, subject }) => void (error ?? heard.push({ subject, data }))
            })
          }
        }),
        flush
      ),
    send: (subject: string, data: Uint8Array | string, reply?: string) =>
      Effect.sync(() => connection.publish(subject, data, reply === undefined ? {} : { reply }))
  }
})

/** The runtime under somebody's login: it packs real system messages. */
const systemOf = Effect.fnUntraced(function* (address: string, login: Login) {
  const layer = ActorSystem.layer({ cluster: "live", nodeId: "somebody" }).pipe(
    Layer.provideMerge(
      layerNats({
        servers: address,
        user: login.user,
        password: Redacted.make(login.password),
        inboxPrefix: `${login.inboxPrefix}.runtime`,
        name: "somebody",
        cluster: "live"
      })
    )
  )
  const services = yield* Effect.provideService(Layer.build(layer), References.MinimumLogLevel, "None")
  return Context.get(services, ActorSystem)
})

const stage = Effect.fnUntraced(function* ({ address, logins }: ConfiguredNats) {
  const node = yield* startEbbNode({
    nodeId: "a",
    cluster: "live",
    nats: address,
    dataDir: join(yield* temporaryFolder, "data"),
    env: {
      EBB_NATS_USER: logins.node.user,
      EBB_NATS_PASSWORD: logins.node.password,
      EBB_NATS_INBOX: `${logins.node.inboxPrefix}.a`
    }
  })
  const backend = yield* clientOf(address, logins.backend)
  const operator = yield* clientOf(address, logins.operator)
  /** Hears all that passes between nodes. */
  const guard = yield* clientOf(address, { ...logins.node, inboxPrefix: `${logins.node.inboxPrefix}.guard` })
  yield* guard.listen(`${root}.>`)
  const lastOf = (key: string) =>
    Effect.promise(async () => {
      const jsm = await guard.connection.jetstreamManager({ checkAPI: false })
      const [, bucket] = key.split(".")
      return jsm.streams.getMessage(`KV_${bucket}`, { last_by_subj: key }).then(
        ({ data }) => data,
        () => undefined
      )
    })
  return {
    node,
    backend,
    operator,
    guard,
    between: () => guard.heard.map(({ subject }) => subject).filter((it) => !it.startsWith(`${root}.ctl.`)),
    status: operator.command("node.status", { nodeId: "a" }),
    /** The incarnation that the lease of the node names. */
    leaseholder: Effect.map(lastOf("$KV.ebb_live_leases.a"), (data) =>
      data === undefined ? undefined : (decode(data) as { readonly inc: string }).inc
    ),
    lastOf
  }
})

const configurations = [
  { name: "what `ebb up` generates", nats: natsOfUp, isolated: false },
  { name: "the users of docs/nats.md", nats: natsOfPage("users"), isolated: false },
  { name: "the accounts of docs/nats.md", nats: natsOfPage("accounts"), isolated: true }
]

for (const { isolated, name, nats } of configurations) {
  describe(name, () => {
    it.live("lets a backend use rooms and recordings, an observer look, an operator look after nodes", () =>
      Effect.gen(function* () {
        const { address, logins } = yield* nats
        const { backend, operator } = yield* stage({ address, logins })
        const observer = yield* clientOf(address, logins.observer)
        expect(yield* backend.command("room.create", { roomId: "r1" })).toMatchObject({ created: true })
        expect(
          yield* backend.command("recording.start", { roomId: "r1", recordingId: "rec1" })
        ).toMatchObject({
          created: true
        })
        expect(yield* backend.command("recording.stop", { recordingId: "rec1" })).toBeDefined()
        expect(yield* backend.command("node.list")).toMatchObject({ nodes: [{ nodeId: "a" }] })

        // Every command but those that change nodes, and the one that deletes: what has no fields is answered, with an error mostly.
        const all = [...ControlProtocol.requests.keys()]
        const isOperators = (name: string) =>
          name === "recording.delete" ||
          (name.startsWith("node.") && name !== "node.list" && name !== "node.status")
        const answered = yield* Effect.filter(
          all,
          (name) => Effect.map(backend.command(name), (reply) => reply !== undefined),
          { concurrency: "unbounded" }
        )
        expect(answered).toEqual(all.filter((name) => !isOperators(name)))

        for (const look of ["room.list", "recording.list", "node.list"]) {
          expect(yield* observer.command(look)).toBeTypeOf("object")
        }
        expect(yield* observer.command("room.get", { roomId: "r1" })).toMatchObject({ roomId: "r1" })

        const refused = [
          observer.command("room.close", { roomId: "r1" }),
          observer.command("room.create", { roomId: "r2" }),
          observer.command("node.cordon", { nodeId: "a" }),
          observer.command("recording.delete", { recordingId: "rec1", reason: "test" }),
          backend.command("recording.delete", { recordingId: "rec1", reason: "test" }),
          backend.command("node.cordon", { nodeId: "a" }),
          backend.command("node.drain", { nodeId: "a" })
        ]
        expect(yield* Effect.all(refused, { concurrency: "unbounded" })).toEqual(refused.map(() => undefined))

        expect(
          yield* operator.command("recording.delete", { recordingId: "rec1", reason: "test" })
        ).toBeDefined()
        expect(yield* operator.command("room.list")).toMatchObject({ rooms: [{ roomId: "r1" }] })
        expect(yield* operator.command("node.cordon", { nodeId: "a" })).toEqual({ changed: true })
        expect(yield* operator.command("node.uncordon", { nodeId: "a" })).toEqual({ changed: true })
      })
    )

    it.live(
      "keeps a backend from draining a node by message, and from what nodes and the deployer write",
      () =>
        Effect.gen(function* () {
          const { address, logins } = yield* nats
          const { backend, between, guard, lastOf, leaseholder, node, status } = yield* stage({
            address,
            logins
          })
          const { incarnation } = node
          const drain = (login: Login) =>
            Effect.gen(function* () {
              const payload = { kind: nodeKind, id: "a", by: "somebody", reason: "", deadlines: {} }
              const system = yield* systemOf(address, login)
              return yield* Effect.exit(
                system
                  .system(incarnation)
                  .ask("Drain", { ...payload, reversible: false, evacuate: false }, { timeoutMs: 1_000 })
              )
            }).pipe(Effect.scoped)
          expect((yield* drain(logins.backend))._tag).toBe("Failure")

          const before = yield* lastOf("$KV.ebb_live_leases.a")
          for (const subject of [
            `${root}.a.node.a.${incarnation}`,
            `${root}.b.${incarnation}`,
            `${root}.rollout.r1`,
            "$KV.ebb_live_leases.a",
            "$KV.ebb_live_directory.room.stolen",
            "$KV.ebb_live_receipts.stolen",
            "$JS.API.STREAM.DELETE.KV_ebb_live_leases",
            "$JS.API.STREAM.PURGE.KV_ebb_live_directory",
            "$JS.API.STREAM.CREATE.mine"
          ]) {
            yield* backend.send(subject, before ?? "")
            // What a node is asked, it answers with its own rights.
            yield* backend.send(`${root}.ctl.room.list`, encode({}), subject)
          }
          yield* backend.flush
          expect(yield* backend.command("room.list")).toEqual({ rooms: [] })
          yield* guard.flush

          expect(between()).toEqual([])
          expect(yield* leaseholder).toBe(incarnation)
          expect(yield* lastOf("$KV.ebb_live_directory.room.stolen")).toBeUndefined()
          expect(yield* lastOf("$KV.ebb_live_receipts.stolen")).toBeUndefined()
          expect(yield* lastOf("$KV.ebb_live_directory.registry")).toBeDefined()
          expect(yield* status).toMatchObject({ life: "Serving" })

          // It was a good message: the deployer's arrives.
          expect((yield* drain(logins.deployer))._tag).toBe("Success")
          expect((yield* node.exited).code).toBe(0)
        })
    )

    it.live("takes shared frames from the deployer and other nodes, and from no other client", () =>
      Effect.gen(function* () {
        const { address, logins } = yield* nats
        const { between, guard, node } = yield* stage({ address, logins })
        const subject = `${root}.b.${node.incarnation}`
        const mayShare = Effect.fnUntraced(function* (login: Login) {
          const { connection } = yield* clientOf(address, login)
          // No message: whether they are taken.
          return yield* Effect.promise(() =>
            connection.request(subject, encode([]), { timeout: 1_000 }).then(
              ({ data }) => decode(data),
              () => "refused"
            )
          )
        })
        const { backend, deployer, observer, operator, other } = logins
        for (const login of [backend, other, observer, operator])
          expect(yield* mayShare(login)).toBe("refused")
        yield* guard.flush
        expect(between()).toEqual([])
        for (const login of [deployer, logins.node]) expect(yield* mayShare(login)).toEqual([])
        yield* guard.flush
        expect(between()).toEqual([subject, subject])
      })
    )

    it.live(
      "keeps a backend from reading what another client is answered, and from answering in a node's place",
      () =>
        Effect.gen(function* () {
          const { address, logins } = yield* nats
          const { backend } = yield* stage({ address, logins })
          const other = yield* clientOf(address, logins.other)
          const otherInbox = `${logins.other.inboxPrefix}.known`
          yield* other.listen(`${logins.other.inboxPrefix}.>`)
          yield* backend.listen(
            ">",
            "*.>",
            "*.*",
            "_INBOX.>",
            "_R_.>",
            `${root}.>`,
            `${root}.ctl.>`,
            `${logins.other.inboxPrefix}.>`,
            otherInbox,
            `${logins.node.inboxPrefix}.>`
          )
          expect(yield* other.command("room.create", { roomId: "private" })).toMatchObject({ created: true })
          yield* other.send(`${root}.ctl.room.list`, encode({}), otherInbox)
          yield* until(
            Effect.sync(() => other.heard.map(({ subject }) => subject)),
            (heard) => heard.includes(otherInbox)
          )
          yield* backend.flush
          expect(backend.heard).toEqual([])

          const forged = encode({ ok: { rooms: [{ roomId: "forged", nodeId: "a", lost: false }] } })
          yield* backend.send(otherInbox, forged)
          yield* backend.send(`_R_.${otherInbox}`, forged)
          if (isolated) yield* backend.send(`${root}.ctl.room.get`, encode({ roomId: "forged" }), otherInbox)
          yield* backend.flush
          expect(yield* backend.command("room.get", { roomId: "nowhere" })).toBe("NotFound")
          yield* other.flush
          expect(other.heard.map(({ data }) => text(data)).filter((it) => it.includes("forged"))).toEqual([])
        })
    )
  })
}
