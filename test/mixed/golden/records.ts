/** A sample of everything that is stored and read again, perhaps by another version: in JetStream, in the log, on disk. */
import { Registry } from "@ebb/actors"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Build } from "./Build.ts"
import { after, isLater, type Later, type Plain, type Row, rowsOf, type Sample } from "./Golden.ts"
import { packed, unpacked } from "./packed.ts"

type Fields = { readonly [field: string]: Plain }

const at = 1_795_000_000_000
const lease = {
  v: 1,
  node: "n1",
  inc: "inc",
  proto: [1, 1],
  version: "v2",
  life: "Serving",
  admission: "open",
  control: "connected",
  host: "host",
  pid: 4711,
  startedAt: at,
  rooms: 3,
  recordings: 1
}
const entry = { v: 1, kind: "room", id: "r1", node: "n1", inc: "inc", at }

const failure = {
  reason: "NotServing",
  instance: "r-1",
  detail: "it did not serve after 60 s",
  recordings: []
}
/** By tag: the events of a rollout. */
export const rolloutEvents: Readonly<Record<string, ReadonlyArray<Fields | Later>>> = {
  RolloutStarted: [{ rollout: "r", to: "v2", old: [{ instance: "n1", version: "v1", cordoned: false }] }],
  DeployerAttached: [{}],
  NodesCordoned: [{}],
  StartIntended: [{ step: 0, instance: "r-1" }],
  InstanceServing: [{ step: 0, instance: "r-1", incarnation: "inc" }],
  DrainIntended: [{ step: 0, instance: "n1", rooms: ["r1"], recordings: ["rec"] }],
  RecordingsSeen: [{ step: 0, recordings: ["rec2"] }],
  ForceIntended: [{ step: 0, instance: "n1", mode: "kill", rooms: ["r1"], recordings: ["rec"] }],
  InstanceEnded: [
    { step: 0, instance: "n1", code: 137, cause: "SIGKILL" },
    { step: 0, instance: "n1" }
  ],
  RecordingsRecovered: [{ step: 0, computed: ["rec"], empty: [], failed: ["rec2"] }],
  StepFinished: [{ step: 0, instance: "n1", replacedBy: "r-1", recordings: ["rec"] }],
  RolloutFailed: [
    { failure },
    { failure: { ...failure, reason: "RecordingsLeft", recordings: ["rec"] } },
    after("0.1.0", { failure: { ...failure, reason: "ProtocolGap" } })
  ],
  RolloutStopped: [{}],
  RolloutResumed: [{}],
  RolloutCompleted: [{ replaced: 3 }]
}

const indexed = {
  recordingId: "rec",
  roomId: "r1",
  nodeId: "n1",
  state: "Capturing",
  startedAt: at,
  packets: 0,
  lostPackets: 0,
  tracks: 2,
  folder: "/data/incarnations/inc/rec",
  incarnation: "inc"
}
const indexedComputed = {
  ...indexed,
  state: "Computed",
  file: "/data/results/rec/recording.webm",
  bytes: 1_000_000,
  sha256: "00ff",
  durationMs: 61_000.25,
  computedAt: at + 61_000
}
const indexedDeleted = { ...indexed, state: "Deleted", deleted: { by: "ada", at, reason: "asked to" } }
const indexedGivenUp = { ...indexed, state: "Failed", givenUp: { by: "ada", at, reason: "no camera" } }
const indexedAdopted = { ...indexed, adopter: { nodeId: "n2", incarnation: "inc-2" } }

const manifest = {
  format: 1,
  recordingId: "rec",
  roomId: "r1",
  nodeId: "n1",
  incarnation: "inc",
  part: 0,
  startedAt: at,
  state: "Capturing"
}
const manifestWithOptions = { ...manifest, options: { result: "tracks", kinds: ["audio"], data: true } }
const receipt = {
  format: 1,
  recordingId: "rec",
  roomId: "r1",
  state: "Computed",
  parts: [
    {
      incarnation: "inc",
      nodeId: "n1",
      part: 0,
      startedAt: at,
      packets: 100,
      orphanPackets: 0,
      gaps: 1,
      gapPackets: 2,
      damagedRecords: 3,
      damagedBytes: 4,
      unknownRecords: 5,
      tornBytes: 6,
      sealed: "stopped"
    }
  ],
  tracks: [
    {
      producerId: "p1",
      peerId: "ada",
      kind: "video",
      codec: "vp8",
      ssrc: 1111,
      stream: 0,
      clock: "senderReports",
      offsetMs: -3.5,
      durationMs: 61_000.25,
      packets: 100,
      frames: 50,
      shownFrames: 49,
      lostPackets: 1,
      dropped: { duplicate: 1, incompleteFrame: 2 }
    }
  ],
  file: "recording.webm",
  bytes: 1_000_000,
  sha256: "00ff",
  durationMs: 61_000.25,
  computedAt: at + 61_000,
  computedBy: "n1",
  software: "Ebb 0.1.0"
}
/** Of two parts, in several files, with all that 0.1.0 did not say. */
const joinedReceipt = {
  ...receipt,
  parts: receipt.parts.flatMap((part) => [
    { ...part, aligned: "own" },
    { ...part, incarnation: "other", part: 1, aligned: "senderReports" }
  ]),
  tracks: [
    ...receipt.tracks.map((track) => ({
      ...track,
      source: "camera",
      gaps: [{ fromMs: 1000, toMs: 1100.5, packets: 3 }],
      sources: [
        { part: 0, producerId: "p1", packets: 60, lostPackets: 1, frames: 30, overlappingFrames: 0 },
        {
          part: 1,
          producerId: "p2",
          ssrc: 2222,
          layer: 1,
          rid: "h",
          packets: 40,
          lostPackets: 0,
          frames: 20,
          overlappingFrames: 5
        }
      ],
      seams: [{ atMs: 30_000, gapMs: -0.5, from: 0, to: 1 }],
      layerSwitches: 2
    })),
    {
      producerId: "chat",
      kind: "data",
      codec: "text/plain",
      label: "chat",
      clock: "arrival",
      offsetMs: 500,
      durationMs: 5000,
      packets: 0,
      frames: 1,
      shownFrames: 1,
      lostPackets: 0,
      dropped: {}
    }
  ],
  files: [
    { name: "track-0-video.webm", bytes: 1_000_000, sha256: "00ff", tracks: [0] },
    { name: "track-1-data.vtt", bytes: 100, sha256: "ff00", tracks: [1] }
  ],
  file: "track-0-video.webm",
  result: "tracks",
  instead: { of: "grid", because: "Unknown encoder 'libx264'" },
  pauses: [
    { atMs: 10_000, durationMs: 5000, wallMs: at + 10_000 },
    { atMs: 20_000, durationMs: 1 }
  ]
}
const emptyReceipt = {
  format: 1,
  recordingId: "rec",
  roomId: "r1",
  state: "Computed",
  parts: [],
  tracks: [],
  bytes: 0,
  durationMs: 0,
  computedAt: at,
  computedBy: "n1",
  software: "Ebb 0.1.0"
}
const deletion = {
  format: 1,
  recordingId: "rec",
  roomId: "r1",
  nodeId: "n1",
  startedAt: at,
  by: "ada",
  at,
  reason: "asked to",
  files: [{ name: "recording.webm", bytes: 4711, sha256: "00ff" }]
}
const givenUp = { format: 1, by: "ada", at, reason: "the camera was broken" }

/** By the name of its type: the records of a journal, all of track 1 at 1.25 s. Of `rtp` the packet, of `data` the message, in hexadecimal. */
export const journalRecords: Readonly<Record<string, ReadonlyArray<Fields | Later | string | undefined>>> = {
  anchor: [{ wallMs: at, recordingId: "rec", incarnation: "inc", part: 0 }],
  track: [
    {
      producerId: "p1",
      peerId: "ada",
      kind: "audio",
      mimeType: "audio/opus",
      clockRate: 48_000,
      channels: 2,
      payloadType: 97,
      ssrc: 2222
    },
    { producerId: "p1", kind: "video", mimeType: "video/VP8", clockRate: 90_000 },
    after("0.1.0", {
      producerId: "p1",
      peerId: "ada",
      kind: "video",
      mimeType: "video/H264",
      clockRate: 90_000,
      payloadType: 103,
      ssrc: 3333,
      layer: 1,
      rid: "h",
      source: "camera",
      parameters: { "profile-level-id": "42e01f", "packetization-mode": 1 }
    }),
    after("0.1.0", {
      producerId: "d1",
      peerId: "ada",
      kind: "data",
      mimeType: "text/plain",
      clockRate: 1000,
      source: "chat",
      label: "chat",
      protocol: "lines"
    })
  ],
  rtp: ["80610001000003c0000008aefc"],
  senderReport: [
    { ntpSeconds: 3_900_000_000, ntpFraction: 2_147_483_648, rtpTimestamp: 960 },
    { ageMs: 250.5, ntpSeconds: 3_900_000_000, ntpFraction: 2_147_483_648, rtpTimestamp: 960 }
  ],
  gap: [{ packets: 3, reason: "ENOSPC" }],
  trackEnd: [undefined],
  seal: [{ reason: "stopped" }],
  data: [after("0.1.0", { ppid: 51, payload: "68656c6c6f" })],
  pause: [after("0.1.0", {}), after("0.1.0", { by: "ada", reason: "off the record" })],
  resume: [after("0.1.0", {}), after("0.1.0", { by: "ada", reason: "on it again" })]
}
/** What 0.1.0 skips, and counts. */
const newTypes: ReadonlySet<string> = new Set(["data", "pause", "resume"])

const record = (
  name: string,
  samples: ReadonlyArray<Sample>,
  encode: (build: Build, plain: never) => Uint8Array,
  decode: (build: Build, bytes: Uint8Array) => Effect.Effect<unknown, unknown>
): ReadonlyArray<Row> =>
  rowsOf(samples, (plain) => ({
    fixture: "records",
    name,
    encode: (build) => Effect.sync(() => encode(build, plain as never)),
    decode,
    write: packed
  }))

/** In memory, with one value in it; what is written is kept. */
const bucketWith = (stored: Uint8Array | undefined) => {
  let written = stored
  const keep = (_: string, value: Uint8Array) =>
    Effect.sync(() => {
      written = value
      return 1
    })
  const bucket = {
    get: (key: string) => Effect.sync(() => (written && { key, value: written, revision: 1 }) ?? undefined),
    create: keep,
    update: keep,
    remove: () => Effect.void,
    entries: Effect.succeed([]),
    changes: Effect.die("not watched")
  }
  return { bucket: bucket as never, written: () => written }
}

const withIndex = (build: Build, stored?: Uint8Array) => {
  const { bucket, written } = bucketWith(stored)
  const { RecordingIndex } = build.recordingIndex
  const layer = RecordingIndex.layer.pipe(
    Layer.provide(Layer.succeed(Registry, { bucket: () => Effect.succeed(bucket) })),
    Layer.provide(build.recordingStore.RecordingStore.folder("/data/results"))
  )
  const index = Effect.map(Layer.build(layer), (services) => ({
    ...Effect.runSync(Effect.provideContext(RecordingIndex, services)),
    written
  }))
  return index
}

const indexRows = rowsOf(
  [
    indexed,
    indexedComputed,
    after("0.1.0", indexedGivenUp),
    after("0.1.0", indexedAdopted),
    after("0.1.0", indexedDeleted)
  ],
  (plain) => ({
    fixture: "records",
    name: "an entry of the recordings' index",
    encode: (build) =>
      Effect.scoped(
        Effect.flatMap(withIndex(build), ({ begin, written }) =>
          Effect.map(begin(plain as never), () => written())
        )
      ),
    decode: (build, bytes) =>
      Effect.scoped(Effect.flatMap(withIndex(build, bytes), ({ find }) => find("rec"))).pipe(
        Effect.flatMap((found) =>
          found === undefined ? Effect.fail("it cannot be read") : Effect.succeed(found)
        )
      ),
    write: (value) => packed({ v: 1, ...(value as Fields) })
  })
)

const inFolder = <A, E>(use: (folder: string) => Effect.Effect<A, E>) =>
  Effect.acquireUseRelease(
    Effect.promise(() => mkdtemp(join(tmpdir(), "ebb-golden-"))),
    use,
    (folder) => Effect.promise(() => rm(folder, { recursive: true }))
  )

interface Door {
  readonly write: (folder: string, value: never) => Effect.Effect<void, unknown>
  readonly read: (folder: string) => Effect.Effect<unknown, unknown>
}

/** A JSON file, written and read by its own module. */
const file = (
  name: string,
  samples: ReadonlyArray<Sample>,
  doorOf: (build: Build) => Door | undefined,
  openMaps: ReadonlyArray<string> = []
): ReadonlyArray<Row> =>
  rowsOf(samples, (plain) => ({
    fixture: "records",
    name,
    encode: (build) => {
      const door = doorOf(build)
      if (door === undefined) return Effect.undefined
      return inFolder((folder) =>
        Effect.andThen(
          door.write(folder, plain as never),
          Effect.promise(() => readFile(join(folder, name)))
        )
      )
    },
    decode: (build, bytes) => {
      const door = doorOf(build)
      if (door === undefined) return Effect.undefined
      return inFolder((folder) =>
        Effect.andThen(
          Effect.promise(() => writeFile(join(folder, name), bytes)),
          door.read(folder)
        )
      )
    },
    write: (value) => new TextEncoder().encode(JSON.stringify(value)),
    isText: true,
    openMaps
  }))

const trackOf = 1
const arrivalUs = 1_250_000

const recordBytes = (build: Build, type: number, payload: Uint8Array): Uint8Array => {
  const { recordHeaderBytes, sealHeader } = build.journal
  const target = Buffer.alloc(recordHeaderBytes + payload.length)
  target.set(payload, recordHeaderBytes)
  sealHeader(target, type, trackOf, arrivalUs, payload.length)
  return target
}

/** What is none is nothing. */
const ofHex = (text: Plain | undefined) => Buffer.from(typeof text === "string" ? text : "", "hex")

/** `current` only makes what a later version would write. */
const journalRows = (current: Build): ReadonlyArray<Row> =>
  Object.entries(journalRecords).flatMap(([name, samples]) => {
    const type = current.journal.recordType[name as keyof Build["journal"]["recordType"]]
    return samples.map((given, index): Row => {
      const isGrown = given !== undefined && isLater(given)
      const sample = isGrown ? given.value : given
      const payload = (build: Build, plain: Plain) =>
        typeof plain === "string"
          ? Buffer.from(plain, "hex")
          : plain === null
            ? new Uint8Array(0)
            : build.journal.encodeMap(
                name === "data"
                  ? {
                      ...(plain as Fields),
                      payload: ofHex((plain as Fields)["payload"])
                    }
                  : (plain as object)
              )
      return {
        fixture: "records",
        name: `journal: ${name}${index === 0 ? "" : ` ${index + 1}`}`,
        plain: sample ?? null,
        ...(isGrown ? { after: given.after, isNewKind: newTypes.has(name) } : {}),
        encode: (build) => Effect.sync(() => recordBytes(build, type, payload(build, sample ?? null))),
        decode: (build, bytes) =>
          Effect.suspend(() => {
            const parser = build.journalParser.makeJournalParser()
            const [read, ...more] = [...parser.push(Buffer.from(bytes)), ...parser.end()]
            return read === undefined || read._tag === "Unknown" || more.length > 0
              ? Effect.fail(read)
              : Effect.succeed(read)
          }),
        write: (plain) => recordBytes(current, type, payload(current, plain)),
        openMaps: ["parameters"]
      }
    })
  })

export const recordRows = (current: Build): ReadonlyArray<Row> => [
  ...record(
    "a node's lease",
    [lease, { v: 1, node: "n1", inc: "inc" }],
    ({ lease: module }, plain) => module.encodeNodeLease(plain),
    ({ lease: module }, bytes) => Effect.fromOption(module.decodeNodeLease(bytes))
  ),
  ...record(
    "an entry of the directory",
    [entry],
    ({ directoryEntry }, plain) => directoryEntry.encodeDirectoryEntry(plain),
    ({ directoryEntry }, bytes) => Effect.fromOption(directoryEntry.decodeDirectoryEntry(bytes))
  ),
  ...rowsOf([{ v: 1, id: "reg" }], () => ({
    fixture: "records",
    name: "the registry's id",
    // It is random: written anew with the sample's.
    encode: ({ registryId }) =>
      Effect.gen(function* () {
        const { bucket, written } = bucketWith(undefined)
        yield* registryId.readRegistryId(bucket)
        const stored = (yield* unpacked(written() ?? new Uint8Array())) as Fields
        return packed({ ...stored, id: "reg" })
      }),
    decode: ({ registryId }, bytes) => registryId.readRegistryId(bucketWith(bytes).bucket),
    write: packed
  })),
  ...Object.entries(rolloutEvents).flatMap(([tag, samples]) =>
    record(
      `rollout: ${tag}`,
      samples.map((sample): Sample => {
        const logged = (fields: Plain): Plain => ({
          v: 1,
          by: "inc",
          nonce: "nonce",
          at,
          event: { _tag: tag, ...(fields as Fields) }
        })
        return isLater(sample) ? after(sample.after, logged(sample.value)) : logged(sample)
      }),
      ({ rolloutEvent }, plain) => rolloutEvent.encodeRecord(plain),
      ({ rolloutEvent }, bytes) => Effect.fromOption(Option.fromUndefinedOr(rolloutEvent.decodeRecord(bytes)))
      // What a later version forced nobody can guess: such a log is refused. 0.1.0 refused reasons, too.
    ).map((row) => ({ ...row, isClosed: tag === "ForceIntended", isNewKind: row.after === "0.1.0" }))
  ),
  ...indexRows,
  ...file(
    "manifest.json",
    [manifest, after("0.1.0", manifestWithOptions)],
    ({ manifest: { readManifest, writeManifest } }) => ({
      write: writeManifest,
      read: readManifest
    })
  ),
  ...file(
    "receipt.json",
    [receipt, emptyReceipt, after("0.1.0", joinedReceipt)],
    ({ receipt: { readReceipt, receiptName, writeReceipt } }) => ({
      write: (folder, value) => writeReceipt(join(folder, receiptName), value),
      read: (folder) => readReceipt(join(folder, receiptName))
    }),
    ["dropped"]
  ),
  ...file(
    "deleted.json",
    [after("0.1.0", deletion), after("0.1.0", { ...deletion, policy: true })],
    ({ deletion: of }) =>
      of === undefined
        ? undefined
        : {
            write: (folder, value) =>
              Effect.promise(() => writeFile(join(folder, of.deletionName), of.encodeDeletion(value))),
            read: (folder) =>
              Effect.flatMap(
                Effect.promise(() => readFile(join(folder, of.deletionName), "utf8")),
                (text) => of.decodeDeletion(of.deletionName, text)
              )
          }
  ),
  ...file(
    "given-up.json",
    [after("0.1.0", givenUp)],
    (build) => build.givenUp && { write: build.givenUp.writeGivenUp, read: build.givenUp.readGivenUp }
  ),
  {
    fixture: "records",
    name: "journal: file header",
    // No map: a later version changes its numbers, which JournalParser.test has.
    plain: null,
    encode: ({ journal }) => Effect.sync(() => journal.fileHeader),
    decode: ({ journal }, bytes) =>
      Buffer.from(bytes).equals(journal.fileHeader) ? Effect.succeed(bytes) : Effect.fail("another header"),
    write: () => current.journal.fileHeader
  },
  ...journalRows(current)
]
