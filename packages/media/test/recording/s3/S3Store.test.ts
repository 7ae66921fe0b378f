import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { createHash, randomBytes } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import type { Receipt } from "../../../src/recording/Receipt.ts"
import { compute } from "../../../src/recording/Compute.ts"
import { computeInChild } from "../../../src/recording/ComputeProcess.ts"
import { receiptName } from "../../../src/recording/Receipt.ts"
import { RecordingStore } from "../../../src/recording/RecordingStore.ts"
import { removePartsOf } from "../../../src/recording/RemovePart.ts"
import { arriving, opusTrack, temporaryFolder, writePart } from "../fixtures.ts"
import { startProgram } from "../processes.ts"
import { realRtp } from "../realRtp.ts"
import type { Fault, S3Request, S3Server } from "./s3Server.ts"
import { isStored, s3Server, withEnv } from "./s3Server.ts"

const MiB = 2 ** 20

const setUp = Effect.fnUntraced(function* (options: Parameters<typeof s3Server>[0] = {}) {
  const server = yield* s3Server(options)
  yield* withEnv(server.env)
  const staging = yield* temporaryFolder
  const location = `s3://${server.bucket}/some/prefix`
  return { server, staging, location }
})

const storeAt = (location: string, staging: string, patienceMs = 60_000, silenceMs = 60_000) =>
  Effect.map(Layer.build(RecordingStore.at(location, { staging, patienceMs, silenceMs })), (services) =>
    Context.get(services, RecordingStore)
  )

/** Stages a file of random bytes. */
const staged = Effect.fnUntraced(function* (store: RecordingStore["Service"], bytes: number) {
  const file = yield* store.stage("rec", "0-inc", "media")
  const content = randomBytes(bytes)
  fs.writeFileSync(file, content)
  return { file, content, publish: store.publish("rec", "0-inc", "media", "recording-0-inc.webm") }
})

const key = "some/prefix/rec/recording-0-inc.webm"
const stored = (server: S3Server) => fs.readFileSync(server.file(key))
const sha256 = (content: Uint8Array) => createHash("sha256").update(content).digest("hex")

const partsSent = (server: S3Server) =>
  server.requests.flatMap(({ method, query }) => {
    const number = query.get("partNumber")
    return method === "PUT" && number !== null ? [Number(number)] : []
  })

interface ResultFile {
  readonly name: string
  readonly bytes: number
  readonly sha256: string
}

const aReceipt = (recordingId: string, incarnation: string, file?: ResultFile): Receipt => ({
  format: 1,
  recordingId,
  roomId: "room",
  state: "Computed",
  parts: [
    {
      incarnation,
      nodeId: "node",
      part: 0,
      startedAt: 1,
      packets: 0,
      orphanPackets: 0,
      gaps: 0,
      gapPackets: 0,
      damagedRecords: 0,
      damagedBytes: 0,
      unknownRecords: 0,
      tornBytes: 0
    }
  ],
  tracks: [],
  ...(file === undefined ? {} : { file: file.name, sha256: file.sha256 }),
  bytes: file?.bytes ?? 0,
  durationMs: 0,
  computedAt: 2,
  computedBy: "test",
  software: "test"
})

/** The first `times` of the requests that `which` picks. */
const first = (times: number, which: (request: S3Request) => boolean, fault: Fault) => {
  let left = times
  return (request: S3Request) => (which(request) && left-- > 0 ? fault : undefined)
}

const isPart = (number: number) => (request: S3Request) =>
  request.method === "PUT" && request.query.get("partNumber") === String(number)

describe("the store that is a bucket", () => {
  it.live(
    "has a file when it is published, receipts by recording, and nothing of them is left here",
    () =>
      Effect.gen(function* () {
        const { location, server, staging } = yield* setUp()
        const store = yield* storeAt(`${location}/`, staging)
        assert.strictEqual(store.location, location)
        yield* store.check
        const { content, publish } = yield* staged(store, 3 * MiB)
        assert.isFalse(isStored(server, key))
        yield* publish
        assert.strictEqual(sha256(stored(server)), sha256(content))
        assert.deepStrictEqual(fs.readdirSync(staging), [])
        assert.strictEqual(store.locate("rec", "x.webm"), `${location}/rec/x.webm`)

        assert.deepStrictEqual(yield* store.recordings, ["rec"])
        assert.strictEqual((yield* store.receipts("rec")).size, 0)
        const suffix = yield* store.suffix("rec", "0-inc")
        yield* store.putReceipt("rec", `receipt${suffix}.json`, aReceipt("rec", "inc"))
        yield* store.putReceipt("another", "receipt-0-inc.json", aReceipt("another", "inc"))
        assert.deepStrictEqual(yield* store.recordings, ["another", "rec"])
        assert.deepStrictEqual(
          [...(yield* store.receipts("rec"))],
          [["receipt-0-inc.json", aReceipt("rec", "inc")]]
        )
      }),
    60_000
  )

  it.live(
    "removes a recording when it has noted who did it, and all that comes later, too",
    () =>
      Effect.gen(function* () {
        const { location, server, staging } = yield* setUp()
        const store = yield* storeAt(location, staging)
        const { content, publish } = yield* staged(store, 10)
        yield* publish
        const file = { name: "recording-0-inc.webm", bytes: 10, sha256: sha256(content) }
        yield* store.putReceipt("rec", "receipt-0-inc.json", aReceipt("rec", "inc", file))
        yield* store.putReceipt("other", "receipt-0-inc.json", aReceipt("other", "inc"))
        assert.isUndefined(yield* store.deletion("rec"))

        const ids = { recordingId: "rec", roomId: "room", nodeId: "node", startedAt: 1 }
        const word = { ...ids, by: "ada", at: 3, reason: "asked to" }
        // Killed after its first removal.
        const removals = ({ method }: S3Request) => method === "DELETE"
        let done = 0
        server.faults = (request) =>
          removals(request) && done++ > 0 ? { answer: 403, code: "AccessDenied" } : undefined
        yield* Effect.flip(store.remove(word))
        const noted = { format: 1, ...word, files: [file] }
        assert.deepStrictEqual(yield* store.deletion("rec"), noted)
        assert.isFalse(yield* store.isRemoved("rec"))

        server.faults = () => undefined
        assert.deepStrictEqual(yield* store.remove({ ...word, by: "bob", at: 4 }), noted)
        assert.isTrue(yield* store.isRemoved("rec"))
        assert.isFalse(yield* store.isRemoved("other"))
        assert.isFalse(isStored(server, key))
        assert.strictEqual((yield* store.receipts("rec")).size, 0)
        assert.strictEqual((yield* store.receipts("other")).size, 1)
        assert.deepStrictEqual(yield* store.recordings, ["other", "rec"])
      }),
    60_000
  )

  it.live(
    "goes on with an upload where a killed process was: no part is sent twice",
    () =>
      Effect.gen(function* () {
        const { location, server, staging } = yield* setUp()
        const store = yield* storeAt(location, staging)
        const { content, file, publish } = yield* staged(store, 33 * MiB)
        // Busy from the fourth part on, until it is killed.
        let isBusy = true
        server.faults = (request) =>
          isBusy && isPart(4)(request) ? { answer: 503, code: "SlowDown" } : undefined
        const args = [location, staging, "rec", "0-inc", "media", "recording-0-inc.webm"]
        const program = yield* startProgram("test/recording/programs/publishing.ts", args, {
          env: server.env
        })
        yield* Effect.repeat(Effect.sleep("20 millis"), {
          until: () => partsSent(server).includes(4)
        })
        program.kill("SIGKILL")
        yield* program.exited
        isBusy = false
        const before = partsSent(server)
        assert.deepStrictEqual(before.slice(0, 3), [1, 2, 3])
        assert.isFalse(isStored(server, key))

        // What computes it anew makes the same file again.
        assert.strictEqual(yield* store.stage("rec", "0-inc", "media"), file)
        fs.writeFileSync(file, content)
        yield* publish
        assert.deepStrictEqual(partsSent(server).slice(before.length), [4, 5])
        assert.strictEqual(sha256(stored(server)), sha256(content))
        assert.deepStrictEqual(fs.readdirSync(staging), [])
      }),
    60_000
  )

  it.live(
    "does not go on with the upload of another file, nor send one that is there",
    () =>
      Effect.gen(function* () {
        const { location, server, staging } = yield* setUp()
        const store = yield* storeAt(location, staging, 0)
        const before = yield* staged(store, 17 * MiB)
        server.faults = (request) => (isPart(3)(request) ? { answer: 500, code: "InternalError" } : undefined)
        assert.strictEqual((yield* Effect.flip(before.publish))._tag, "StoreUnreachable")
        server.faults = () => undefined
        const { content, publish } = yield* staged(store, 17 * MiB)
        const sent = partsSent(server).length
        yield* publish
        assert.deepStrictEqual(partsSent(server).slice(sent), [1, 2, 3])
        assert.strictEqual(sha256(stored(server)), sha256(content))

        const again = yield* store.stage("rec", "0-inc", "media")
        fs.writeFileSync(again, content)
        yield* publish
        assert.strictEqual(partsSent(server).length, sent + 3)
      }),
    60_000
  )

  it.live(
    "waits for a store that is busy, breaks connections, or is away",
    () =>
      Effect.gen(function* () {
        const { location, server, staging } = yield* setUp()
        const store = yield* storeAt(location, staging)
        const { content, publish } = yield* staged(store, 17 * MiB)
        const faults = [
          first(3, isPart(1), { answer: 503, code: "SlowDown" }),
          first(2, isPart(2), { cut: "before" }),
          first(1, isPart(3), { cut: "after" }),
          // It is there, and nobody here has heard of it.
          first(1, ({ method, query }) => method === "POST" && query.has("uploadId"), { cut: "after" })
        ]
        server.faults = (request) =>
          faults.map((fault) => fault(request)).find((fault) => fault !== undefined)
        yield* server.setAway(true)
        const publishing = yield* Effect.forkChild(publish)
        yield* Effect.sleep("1500 millis")
        yield* server.setAway(false)
        yield* Fiber.join(publishing)
        assert.strictEqual(sha256(stored(server)), sha256(content))
      }),
    60_000
  )

  it.live(
    "believes a server that checks and tells SHA-256, and sends again what it says is damaged",
    () =>
      Effect.gen(function* () {
        const { location, server, staging } = yield* setUp({ checksums: true })
        const store = yield* storeAt(location, staging)
        const { content, publish } = yield* staged(store, 17 * MiB)
        server.faults = first(2, isPart(2), { corrupt: (body) => body.fill(0, 1000, 2000) })
        yield* publish
        assert.strictEqual(sha256(stored(server)), sha256(content))
        assert.isFalse(server.requests.some(({ key: of, method }) => method === "GET" && of === key))
        yield* store.putReceipt("rec", receiptName, aReceipt("rec", "inc"))
        assert.isFalse(server.requests.some(({ key: of, method }) => method === "GET" && of !== ""))
      }),
    60_000
  )

  it.live(
    "reads everything back where the server has no checksum, and sends again what is not as it was",
    () =>
      Effect.gen(function* () {
        const { location, server, staging } = yield* setUp()
        const store = yield* storeAt(location, staging)
        const { content, publish } = yield* staged(store, 9 * MiB)
        server.faults = first(1, isPart(2), { corrupt: (body) => body.fill(0, 1000, 2000) })
        yield* publish
        assert.strictEqual(sha256(stored(server)), sha256(content))
        assert.deepStrictEqual(partsSent(server), [1, 2, 1, 2])
      }),
    60_000
  )

  it.live(
    "takes a server for away that stops in the middle of an answer, and reads it again",
    () =>
      Effect.gen(function* () {
        const { location, server, staging } = yield* setUp()
        const store = yield* storeAt(location, staging, 60_000, 500)
        const { content, publish } = yield* staged(store, 9 * MiB)
        const isRead = ({ key: of, method }: S3Request) => method === "GET" && of === key
        server.faults = first(1, isRead, { stall: true })
        yield* publish
        assert.strictEqual(sha256(stored(server)), sha256(content))
        assert.strictEqual(server.requests.filter(isRead).length, 2)
        assert.deepStrictEqual(partsSent(server), [1, 2])
      }),
    20_000
  )

  it.live(
    "says that what arrives is never what is sent, and keeps it here",
    () =>
      Effect.gen(function* () {
        const { location, server, staging } = yield* setUp()
        const store = yield* storeAt(location, staging)
        const { content, file, publish } = yield* staged(store, 9 * MiB)
        server.faults = (request) =>
          isPart(2)(request) ? { corrupt: (body) => body.fill(0, 1000, 2000) } : undefined
        const error = yield* Effect.flip(publish)
        assert.strictEqual(error._tag, "RecordingStorageError")
        assert.include(error.message, "sent 3 times")
        assert.strictEqual(sha256(fs.readFileSync(file)), sha256(content))
      }),
    60_000
  )

  it.live(
    "says of each refusal what to do, and no secret",
    () =>
      Effect.gen(function* () {
        const { server, staging } = yield* setUp()
        const refusal = (location: string, env: Readonly<Record<string, string | undefined>>) =>
          Effect.gen(function* () {
            yield* withEnv(env)
            const store = yield* storeAt(location, staging, 0)
            const error = yield* Effect.flip(store.check)
            const { publish } = yield* staged(store, 10)
            assert.strictEqual((yield* Effect.flip(publish))._tag, error._tag)
            assert.notInclude(JSON.stringify(error), "secret-of-mine")
            return error
          }).pipe(Effect.scoped)
        const refused = Effect.fnUntraced(function* (
          location: string,
          env: Readonly<Record<string, string | undefined>>
        ) {
          const error = yield* refusal(location, env)
          assert(error._tag === "StoreRefused", error._tag)
          return [error.problem, error.message] as const
        })
        const location = `s3://${server.bucket}/x`
        const secret = { AWS_SECRET_ACCESS_KEY: "secret-of-mine" }
        const [unknown, words] = yield* refused(location, { ...secret, AWS_ACCESS_KEY_ID: "nobody" })
        assert.strictEqual(unknown, "credentialsRefused")
        assert.include(words, "AWS_SECRET_ACCESS_KEY")
        const none = { AWS_ACCESS_KEY_ID: undefined, AWS_SECRET_ACCESS_KEY: undefined }
        const [missing, what] = yield* refused(location, none)
        assert.strictEqual(missing, "noCredentials")
        assert.include(what, "AWS_PROFILE")
        const [bucket, make] = yield* refused("s3://not-there", {})
        assert.strictEqual(bucket, "bucketMissing")
        assert.include(make, "--store")
        const misnamed = yield* Effect.flip(storeAt("s3://B/x", staging))
        assert.deepInclude(misnamed, { _tag: "StoreRefused", problem: "badLocation" })
        const [region] = yield* refused(location, { AWS_REGION: undefined })
        assert.strictEqual(region, "wrongRegion")
        server.faults = () => ({ answer: 403, code: "AccessDenied" })
        const [denied] = yield* refused(location, {})
        assert.strictEqual(denied, "accessDenied")

        yield* server.setAway(true)
        const away = yield* refusal(location, {})
        assert.strictEqual(away._tag, "StoreUnreachable")
        assert.include(away.message, "AWS_ENDPOINT_URL_S3")
        yield* server.setAway(false)
      }),
    60_000
  )

  it.live(
    "refuses a secret that is not the account's",
    () =>
      Effect.gen(function* () {
        const { location, server, staging } = yield* setUp({ signatures: true })
        const good = yield* storeAt(location, staging, 0)
        const { content, publish } = yield* staged(good, 10)
        yield* publish
        assert.strictEqual(sha256(stored(server)), sha256(content))
        yield* withEnv({ AWS_SECRET_ACCESS_KEY: "secret-of-mine" })
        const bad = yield* storeAt(location, staging, 0)
        const error = yield* Effect.flip(bad.putReceipt("rec", receiptName, aReceipt("rec", "inc")))
        assert(error._tag === "StoreRefused", error._tag)
        assert.notInclude(JSON.stringify(error), "secret-of-mine")
        assert.isFalse(server.requests.some(({ body }) => body.includes("secret-of-mine")))
      }),
    60_000
  )

  it.live(
    "has the result of a part that was computed, and its receipt after it, though the process was killed between",
    () =>
      Effect.gen(function* () {
        const { location, server } = yield* setUp()
        const dataDir = yield* temporaryFolder
        const source = yield* realRtp({ seconds: 1 })
        const part = path.join(dataDir, "incarnations", "incarnation", "rec")
        yield* writePart({
          folder: part,
          tracks: { audio: opusTrack() },
          events: arriving("audio", source.audio, 48_000, 0)
        })
        const isReceipt = ({ key: of, method }: S3Request) => method === "PUT" && of.includes("receipt")
        server.faults = (request) =>
          isReceipt(request) ? { answer: 503, code: "ServiceUnavailable" } : undefined
        const store = yield* storeAt(location, dataDir)
        const computing = Effect.provideService(
          computeInChild(part, { computedBy: "test" }),
          RecordingStore,
          store
        )
        const killed = yield* Effect.forkChild(computing)
        const reached = Effect.repeat(Effect.sleep("20 millis"), {
          until: () => server.requests.some(isReceipt)
        })
        yield* Effect.raceFirst(reached, Fiber.join(killed))
        yield* Fiber.interrupt(killed)
        assert.isFalse(fs.existsSync(path.join(part, receiptName)))

        server.faults = () => undefined
        const receipt = yield* computing
        assert.strictEqual(receipt.file, "recording-0-incarnation.webm")
        const media = fs.readFileSync(server.file(`some/prefix/rec/${receipt.file}`))
        assert.strictEqual(sha256(media), receipt.sha256)
        assert.deepStrictEqual([...(yield* store.receipts("rec")).values()], [receipt])
        const puts = server.requests.filter(({ method }) => method === "PUT").map(({ key: of }) => of)
        assert.strictEqual(puts.filter((each) => each.endsWith(".webm")).length, 1)
      }),
    60_000
  )

  it.live(
    "keeps nothing of a recording that is deleted while its result is uploaded: the deletion wins",
    () =>
      Effect.gen(function* () {
        const { location, server } = yield* setUp()
        const dataDir = yield* temporaryFolder
        const source = yield* realRtp({ seconds: 1 })
        const part = path.join(dataDir, "incarnations", "incarnation", "rec")
        yield* writePart({
          folder: part,
          tracks: { audio: opusTrack() },
          events: arriving("audio", source.audio, 48_000, 0)
        })
        const isMedia = ({ key: of, method }: S3Request) => method === "PUT" && of.endsWith(".webm")
        server.faults = (request) =>
          isMedia(request) ? { answer: 503, code: "ServiceUnavailable" } : undefined
        const store = yield* storeAt(location, dataDir)
        const computing = yield* compute(part, { computedBy: "test" }).pipe(
          Effect.provideService(RecordingStore, store),
          Effect.flip,
          Effect.forkChild
        )
        yield* Effect.repeat(Effect.sleep("20 millis"), { until: () => server.requests.some(isMedia) })
        const ids = { recordingId: "rec", roomId: "room", nodeId: "node", startedAt: 1 }
        yield* store.remove({ ...ids, by: "ada", at: 3, reason: "asked to" })
        server.faults = () => undefined

        assert.deepInclude(yield* Fiber.join(computing), { _tag: "RecordingDeleted", by: "ada", at: 3 })
        const folder = path.dirname(server.file("some/prefix/rec/any"))
        assert.deepStrictEqual(
          fs.readdirSync(folder).filter((name) => name.endsWith("_object")),
          ["deleted.json._S3rver_object"]
        )
        assert.isFalse(fs.existsSync(path.join(part, receiptName)))
      }),
    60_000
  )

  /** Uploads the first part of two files of one recording, and of another's, and gets no further. */
  const halfUploaded = Effect.fnUntraced(function* (store: RecordingStore["Service"], server: S3Server) {
    server.faults = (request) => (isPart(2)(request) ? { answer: 403, code: "AccessDenied" } : undefined)
    for (const [id, name] of [
      ["rec", "one"],
      ["rec", "two"],
      ["rec2", "one"]
    ] as const) {
      fs.writeFileSync(yield* store.stage(id, "0-inc", name), randomBytes(9 * MiB))
      yield* Effect.flip(store.publish(id, "0-inc", name, `${name}.webm`))
    }
    server.faults = () => undefined
    assert.strictEqual(server.uploads.size, 3)
  })
  const ids = { recordingId: "rec", roomId: "room", nodeId: "node", startedAt: 1 }
  const word = { ...ids, by: "ada", at: 3, reason: "asked to" }

  it.live(
    "gives up the uploads that had begun of a deleted recording, where the server lists them",
    () =>
      Effect.gen(function* () {
        const { location, server, staging } = yield* setUp({ listsUploads: true })
        const store = yield* storeAt(location, staging)
        yield* halfUploaded(store, server)
        yield* store.remove(word)
        assert.deepStrictEqual([...server.uploads.values()], ["some/prefix/rec2/one.webm"])
      }),
    60_000
  )

  it.live(
    "gives up the uploads that had begun of a deleted part by their notes, where the server lists none",
    () =>
      Effect.gen(function* () {
        const { location, server } = yield* setUp()
        const dataDir = yield* temporaryFolder
        const part = path.join(dataDir, "incarnations", "incarnation", "rec")
        yield* writePart({ folder: part, tracks: { audio: opusTrack() }, events: [] })
        const store = yield* storeAt(location, path.join(part, ".staged"))
        yield* halfUploaded(store, server)
        yield* store.remove(word)
        assert.strictEqual(server.uploads.size, 3)
        assert.deepStrictEqual(yield* removePartsOf(dataDir, "rec", store), { removed: [part], held: [] })
        assert.isFalse(fs.existsSync(part))
        assert.strictEqual(server.uploads.size, 0)
      }),
    60_000
  )
})
