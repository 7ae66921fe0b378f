/** The bytes of all that is sent or stored, of this build and of every release that was packed: written as ever, and read by each other. */
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { releaseVersions } from "../../support/release.ts"
import { releasedBuild, thisBuild } from "./Build.ts"
import { askErrorTags } from "./envelopes.ts"
import {
  bytesOf,
  type Plain,
  readFixture,
  type Row,
  shown,
  withLaterFields,
  withLaterWords
} from "./Golden.ts"
import { errors } from "./messages.ts"
import { errorsOf, protocols } from "./protocols.ts"
import { journalRecords, rolloutEvents } from "./records.ts"
import { allRows } from "./rows.ts"

const scope = Scope.makeUnsafe()
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))
const current = await Effect.runPromise(thisBuild)
const builds = await Effect.runPromise(
  Effect.forEach(releaseVersions, releasedBuild).pipe(Scope.provide(scope))
)
const rows = allRows(current)
const fixtures = new Map(
  [...new Set(rows.map(({ fixture }) => fixture))].map((name) => [name, readFixture(name)])
)
const goldenOf = ({ fixture, name }: Row): string => {
  const golden = fixtures.get(fixture)?.[name]
  assert(golden !== undefined, `${fixture}: '${name}' has no golden: run node test/mixed/golden/add.ts`)
  return golden
}
const called = ({ fixture, name }: Row) => `${fixture}: ${name}`

const packages = join(import.meta.dirname, "../../../packages")
const sources = readdirSync(packages).flatMap((name) => {
  const folder = join(packages, name, "src")
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts") && !file.startsWith("testing/"))
    .map((file) => ({ file: `${name}/${file}`, text: readFileSync(join(folder, file), "utf8") }))
})
/** What the sources have of a pattern, file by file. */
const found = (pattern: RegExp) =>
  sources
    .flatMap(({ file, text }) => [...text.matchAll(pattern)].map(([, word = ""]) => `${file} ${word}`))
    .toSorted()

/** Readers whose records have rows. */
const inRecords = [
  "actors/DirectoryEntry.ts recordCodec(DirectoryEntry",
  "actors/NodeLease.ts recordCodec(NodeLease",
  "actors/internal/registryId.ts recordCodec(openRecord",
  "deployer/RolloutEvent.ts decodeUnknownExit(Record",
  "media/RecordingIndex.ts decodeUnknownExit(IndexedRecording",
  "media/recording/Deletion.ts decodeJsonFile(Deletion",
  "media/recording/GivenUp.ts decodeJsonFile(GivenUp",
  "media/recording/JournalFormat.ts readMap(Anchor",
  "media/recording/JournalFormat.ts readMap(Data",
  "media/recording/JournalFormat.ts readMap(Gap",
  "media/recording/JournalFormat.ts readMap(Pause",
  "media/recording/JournalFormat.ts readMap(Seal",
  "media/recording/JournalFormat.ts readMap(SenderReport",
  "media/recording/JournalFormat.ts readMap(TrackInfo",
  "media/recording/Manifest.ts decodeJsonFile(Manifest",
  "media/recording/Receipt.ts decodeJsonFile(Receipt"
]
/** Readers of files that stateFolder.test.ts has. */
const inStateFolder = [
  "deployer/cluster/embeddedNats.ts readJsonFile(Credentials",
  "deployer/cluster/embeddedNats.ts readJsonFile(Schema.Struct",
  "deployer/cluster/state.ts readJsonFile(ClusterFile",
  "deployer/internal/detachedProcess.ts readJsonFile(",
  "deployer/internal/detachedProcess.ts readJsonFile(Schema.Struct",
  "deployer/internal/signalMark.ts readJsonFile(Mark",
  "deployer/orchestrators/local.ts readJsonFile(Spec"
]
const notStored = [
  "actors/Envelope.ts decodeUnknownExit(AskError",
  // Between a node and the process that computes for it, which is of the same build.
  "media/recording/ComputeOutcome.ts decodeUnknownExit(Line",
  // What cannot be read of an upload under way is sent again.
  "media/recording/s3/S3Upload.ts decodeUnknownOption(UploadState",
  "media/recording/internal/storedSchema.ts decodeUnknownEffect(Versioned",
  // A token is not ours: whoever signs writes it by his own library.
  "media/token/TokenCheck.ts decodeUnknownOption(Claims"
]

describe("nothing is without a golden", () => {
  it("every protocol of the sources", () => {
    assert.deepStrictEqual(
      found(/export const (\w+) = protocol\(/g)
        .map((each) => each.slice(each.indexOf(" ") + 1))
        .toSorted((a, b) => a.localeCompare(b)),
      protocols.map(({ name }) => name).toSorted((a, b) => a.localeCompare(b))
    )
  })

  it.each(protocols)("every message of $name, what it answers, and each of its errors", (protocol) => {
    const { requests } = protocol.of(current)
    assert.deepStrictEqual([...requests.keys()].toSorted(), Object.keys(protocol.samples).toSorted())
    for (const tag of requests.keys()) {
      const codec = current.actors.codecOf(protocol.of(current), tag)
      const { request, success } = protocol.samples[tag] ?? {}
      assert.strictEqual(codec?.takesNothing, request === undefined, `the request of ${tag}`)
      assert.strictEqual(codec?.givesNothing, success === undefined, `the answer of ${tag}`)
      for (const error of errorsOf(current, protocol, tag))
        assert.isDefined(errors[error], `${tag}: ${error}`)
    }
  })

  it("every error of the runtime, event of a rollout and record of a journal", () => {
    for (const tag of askErrorTags(current)) assert.isDefined(errors[tag], tag)
    const events = current.rolloutEvent.RolloutEvent.members.map((event) => event.fields._tag.schema.literal)
    assert.deepStrictEqual(events.toSorted(), Object.keys(rolloutEvents).toSorted())
    assert.deepStrictEqual(
      Object.keys(current.journal.recordType).toSorted(),
      Object.keys(journalRecords).toSorted()
    )
  })

  it("whatever reads what is stored: a new reader needs a golden, or a word here why not", () => {
    const doors =
      /\b((?:recordCodec|readJsonFile|decodeJsonFile|readMap)\((?!schema)(?:[\w.]*)|decodeUnknown\w+\([A-Z]\w+\b(?!\.))/g
    assert.deepStrictEqual(found(doors), [...inRecords, ...inStateFolder, ...notStored].toSorted())
  })

  it("no golden is without a sample", () => {
    for (const [fixture, of] of fixtures) {
      const names = new Set(rows.filter((row) => row.fixture === fixture).map(({ name }) => name))
      assert.deepStrictEqual(
        Object.keys(of).filter((name) => !names.has(name)),
        [],
        fixture
      )
    }
  })
})

describe.each([current, ...builds])("release $release", (build) => {
  const version = build.release
  /** Of what it does not know, nothing is asked but that it says so. */
  const isNew = ({ after }: Row) =>
    version !== undefined &&
    after !== undefined &&
    version.localeCompare(after, undefined, { numeric: true }) <= 0

  it.live("writes the golden bytes", () =>
    Effect.gen(function* () {
      for (const row of rows.filter((row) => !isNew(row))) {
        const bytes = yield* row.encode(build)
        assert(bytes !== undefined, `${called(row)} is not known`)
        assert.strictEqual(shown(bytes, row), goldenOf(row), called(row))
      }
    })
  )

  it.live("reads the golden bytes, also those of later versions", () =>
    Effect.gen(function* () {
      for (const row of rows) {
        const exit = yield* Effect.exit(row.decode(build, bytesOf(goldenOf(row))))
        assertRead(row, exit, isNew(row) && row.isNewKind === true)
        if (!isNew(row)) assert.isDefined(Exit.isSuccess(exit) && exit.value, called(row))
      }
    })
  )

  it.live("passes over fields that it does not know", () =>
    Effect.gen(function* () {
      for (const row of rows) {
        const exit = yield* Effect.exit(
          row.decode(build, row.write(withLaterFields(row.plain, row.openMaps)))
        )
        assertRead(row, exit, isNew(row) && row.isNewKind === true)
      }
    })
  )

  it.live.each([
    ["a node's lease", "life"],
    ["a node's lease", "admission"],
    ["a node's lease", "control"],
    ["manifest.json", "state"],
    ["receipt.json", "state"]
  ] as const)("reads as Unknown a word that it does not know: %s, %s", ([name, field]) =>
    Effect.gen(function* () {
      const row = rows.find((each) => each.name === name)
      assert(row !== undefined)
      const later = row.write({ ...(row.plain as { readonly [field: string]: Plain }), [field]: "Later" })
      assert.deepInclude(yield* row.decode(build, later), { [field]: "Unknown" })
    })
  )

  it.live("reads words that it does not know, or refuses them", () =>
    Effect.gen(function* () {
      for (const row of rows) {
        for (const plain of withLaterWords(row.plain)) {
          const exit = yield* Effect.exit(row.decode(build, row.write(plain)))
          assertRead(row, exit, version !== undefined || row.isClosed === true, plain)
        }
      }
    })
  )
})

/** A refusal is an error of the contract; anything else would be a crash. */
const assertRead = (
  row: Row,
  exit: Exit.Exit<unknown, unknown>,
  mayRefuse: boolean,
  plain: Plain = row.plain
) => {
  if (Exit.isSuccess(exit) || (mayRefuse && !Exit.hasDies(exit))) return
  assert.fail(`${called(row)}: ${JSON.stringify(plain)} is refused: ${String(exit.cause)}`)
}
