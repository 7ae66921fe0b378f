/**
 * The recordings of the whole cluster, from their start on: bucket `receipts`, key the recording's id. An entry is written when its
 * capture begins and replaced by its receipt's. Only an index: while its owner lives, the owner's word counts; once there is a receipt,
 * the receipt beside the result does, and whoever starts on a store publishes what it finds there again.
 *
 * A recording has one entry, its part's. What is computed is never replaced by another part, nor by a copy in another store.
 */
import type { Entry, RegistryUnavailable } from "@ebb/actors"
import { Id, pack, Registry, unpack } from "@ebb/actors"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Struct from "effect/Struct"
import * as path from "node:path"
import { Conflict } from "./protocol/Common.ts"
import { RecordingInfo, recordingKind } from "./protocol/Recording.ts"
import type { Deletion, PartOutcome, Receipt } from "./recording/index.ts"
import { RecordingStore } from "./recording/index.ts"

export const IndexedRecording = Schema.Struct({
  ...RecordingInfo.fields,
  /** The process that captured it: whether it lives says who may speak of it. */
  incarnation: Schema.optionalKey(Id),
  /** The process that was about to finish it for a dead one: whether it is at it, it knows itself. */
  adopter: Schema.optionalKey(Schema.Struct({ nodeId: Id, incarnation: Id }))
})
export type IndexedRecording = typeof IndexedRecording.Type

type Adopter = NonNullable<IndexedRecording["adopter"]>
type GivenUpPart = Omit<Extract<PartOutcome, { readonly _tag: "GivenUp" }>, "_tag">

const decodeEntry = Schema.decodeUnknownExit(IndexedRecording)

export class RecordingIndex extends Context.Service<
  RecordingIndex,
  {
    /** What a receipt says of its recording, as the protocol has it. */
    readonly describe: (receipt: Receipt) => RecordingInfo
    /**
     * Enters a recording that begins. `Conflict`: the id is another part's. After `RegistryUnavailable` it may have been entered:
     * begin again, or `withdraw`.
     */
    readonly begin: (recording: IndexedRecording) => Effect.Effect<void, Conflict | RegistryUnavailable>
    /** Takes back the entry of a recording that could not begin. Never fails: see `publish`. */
    readonly withdraw: (recording: IndexedRecording) => Effect.Effect<void>
    /** Says anew how a recording of this process is, unless it is computed or another part's by now. Never fails: see `publish`. */
    readonly note: (recording: IndexedRecording) => Effect.Effect<void>
    /** Enters who finishes it for its dead owner, if it is known and not computed. Never fails: see `publish`. */
    readonly adopting: (recordingId: Id, adopter: Adopter) => Effect.Effect<void>
    /**
     * Enters that a recording is deleted, and by whom: nothing of it is begun or entered after that. Gives the entry, whose word is that of the
     * first who deleted it. `Conflict`: its entry is of a later version.
     */
    readonly markDeleted: (
      known: RecordingInfo,
      deleted: NonNullable<RecordingInfo["deleted"]>
    ) => Effect.Effect<IndexedRecording, Conflict | RegistryUnavailable>
    /** Enters that a part is given up, unless it is computed or the entry is another part's. Never fails: see `publish`. */
    readonly giveUp: (part: GivenUpPart) => Effect.Effect<void>
    /**
     * Enters a receipt; what is computed elsewhere keeps its entry, unless this has more of its parts. Never fails: while the registry is away it is tried on behind the caller's back, for as long as this process lives;
     * then a later start enters it.
     */
    readonly publish: (receipt: Receipt) => Effect.Effect<void>
    /**
     * Enters the receipts of the store that the index does not have: it was lost, and their journals, by which a start finds them, are
     * gone. One after the other, for as long as the registry is away; replaces nothing but what the same part said before its receipt.
     */
    readonly refill: Effect.Effect<void>
    readonly find: (recordingId: Id) => Effect.Effect<IndexedRecording | undefined, RegistryUnavailable>
    /** By whom it was deleted, for a store that was away. Never fails: what cannot be read now is no deletion. */
    readonly deletedBy: (recordingId: Id) => Effect.Effect<RecordingInfo["deleted"]>
    readonly list: Effect.Effect<ReadonlyArray<IndexedRecording>, RegistryUnavailable>
  }
>()("@ebb/media/RecordingIndex") {
  static readonly layer = Layer.effect(
    RecordingIndex,
    Effect.gen(function* () {
      const registry = yield* Registry
      const store = yield* RecordingStore
      const bucket = yield* registry.bucket("receipts")
      const scope = yield* Effect.scope

      const describe = (receipt: Receipt): RecordingInfo => {
        const part = receipt.parts[0]
        const files = (receipt.files ?? []).map(({ name }) => store.locate(receipt.recordingId, name))
        const sum = (of: (each: Receipt["parts"][number]) => number) =>
          receipt.parts.reduce((all, each) => all + of(each), 0)
        return {
          recordingId: receipt.recordingId,
          roomId: receipt.roomId,
          nodeId: part?.nodeId ?? receipt.computedBy,
          state: "Computed",
          startedAt: part?.startedAt ?? receipt.computedAt,
          packets: sum((each) => each.packets),
          lostPackets: sum((each) => each.gapPackets),
          tracks: receipt.tracks.length,
          bytes: receipt.bytes,
          durationMs: receipt.durationMs,
          computedAt: receipt.computedAt,
          ...(files.length < 2 ? {} : { files }),
          ...(receipt.file === undefined ? {} : { file: store.locate(receipt.recordingId, receipt.file) }),
          ...(receipt.sha256 === undefined ? {} : { sha256: receipt.sha256 })
        }
      }

      /** What is there already; `unreadable` of a later version is nobody's to replace. */
      type There = IndexedRecording | "unreadable"
      const read = (bytes: Uint8Array): There => {
        const value = unpack(bytes)
        if (Exit.isFailure(value)) return "unreadable"
        const entry = decodeEntry(value.value)
        return Exit.isSuccess(entry) ? entry.value : "unreadable"
      }

      const find = (recordingId: Id) =>
        Effect.map(bucket.get(recordingId), (stored) => {
          const there = stored && read(stored.value)
          return there === "unreadable" ? undefined : there
        })

      /** Writes the entry, or gives what is there and must not be replaced. The write decides, never the read before it. */
      const write = Effect.fnUntraced(function* (
        recording: IndexedRecording,
        mayReplace: (there: IndexedRecording) => boolean,
        /** What of the entry in its place is kept. */
        kept: (there: IndexedRecording) => Partial<IndexedRecording> = () => ({})
      ): Effect.fn.Return<There | undefined, RegistryUnavailable> {
        const key = recording.recordingId
        while (true) {
          const stored = yield* bucket.get(key)
          const there = stored && read(stored.value)
          if (there === "unreadable" || (there !== undefined && !mayReplace(there))) return there
          const value = pack({ v: 1, ...recording, ...(there && kept(there)) })
          const written =
            stored === undefined ? bucket.create(key, value) : bucket.update(key, value, stored.revision)
          const revision = yield* Effect.catchTag(written, "KeyConflict", () => Effect.undefined)
          if (revision !== undefined) return undefined
        }
      })

      const isOpenPart = (recording: IndexedRecording) => (there: IndexedRecording) =>
        !isOver(there) && isSamePart(there, recording)

      const remove = Effect.fnUntraced(
        function* (recording: IndexedRecording) {
          const stored = yield* bucket.get(recording.recordingId)
          const there = stored && read(stored.value)
          if (stored === undefined || there === undefined || there === "unreadable") return
          if (isOpenPart(recording)(there)) yield* bucket.remove(recording.recordingId, stored.revision)
        },
        Effect.catchTag("KeyConflict", () => Effect.void)
      )

      const markDeleted = Effect.fnUntraced(function* (
        known: RecordingInfo,
        deleted: NonNullable<RecordingInfo["deleted"]>
      ): Effect.fn.Return<IndexedRecording, Conflict | RegistryUnavailable> {
        // What says where it is, or what it waits for, is true no more.
        const rest = Struct.omit(known, ["file", "files", "folder", "givenUp", "problem", "progress"])
        const recording: IndexedRecording = { ...rest, state: "Deleted", deleted }
        const there = yield* write(recording, (there) => there.state !== "Deleted")
        if (there !== "unreadable") return there ?? recording
        const id = known.recordingId
        return yield* new Conflict({ entity: recordingKind, id, problem: "its entry is of a later version" })
      })

      const adopting = Effect.fnUntraced(function* (recordingId: Id, adopter: Adopter) {
        const there = yield* find(recordingId)
        if (there !== undefined) yield* write({ ...there, adopter }, isOpenPart(there))
      })

      const giveUp = Effect.fnUntraced(function* ({ folder, givenUp, manifest }: GivenUpPart) {
        const recordingId = path.basename(folder)
        const part = { incarnation: path.basename(path.dirname(folder)), folder, state: "Failed" }
        const { at, by, reason } = givenUp
        const word = { problem: `given up by ${by}: ${reason}`, givenUp: { at, by, reason } }
        const known = manifest ?? (yield* find(recordingId))
        if (known === undefined) {
          return yield* Effect.logWarning(
            `recording ${recordingId} is given up and not in the index: it has no manifest`
          )
        }
        const { nodeId, roomId, startedAt } = known
        const counted = { packets: 0, lostPackets: 0, tracks: 0 }
        const recording = { recordingId, roomId, nodeId, startedAt, ...counted, ...part, ...word }
        yield* write(
          recording,
          (there) => isOpenPart(recording)(there) && there.givenUp === undefined,
          ({ lostPackets, packets, problem, tracks }) => ({
            packets,
            lostPackets,
            tracks,
            ...(problem === undefined ? {} : { problem: `${word.problem}; it had failed: ${problem}` })
          })
        )
      })

      const computed = (receipt: Receipt): IndexedRecording => {
        const incarnation = receipt.parts[0]?.incarnation
        return { ...describe(receipt), ...(incarnation === undefined ? {} : { incarnation }) }
      }

      const publish = Effect.fnUntraced(function* (receipt: Receipt) {
        const recording = computed(receipt)
        const { recordingId } = receipt
        const folder = path.dirname(store.locate(recordingId, "any"))
        /** Of the same part it is a newer word in its own place; in another it is a copy, unless it has the part and others. */
        const isBetter = (there: IndexedRecording) => {
          const isHere = there.file === undefined || path.dirname(there.file) === folder
          if (isSamePart(there, recording) && isHere) return true
          const hasIt = receipt.parts.some(({ incarnation }) => incarnation === there.incarnation)
          return hasIt && receipt.parts.length > 1 && there.sha256 !== recording.sha256
        }
        const there = yield* write(
          recording,
          (there) => there.state !== "Deleted" && (there.state !== "Computed" || isBetter(there))
        )
        if (there === undefined) return
        if (there !== "unreadable" && isSamePart(there, recording) && there.sha256 === recording.sha256)
          return
        const kept =
          there === "unreadable" ? "it has an entry of a later version" : `${there.file ?? "another part"} is`
        yield* Effect.logWarning(
          `recording ${recordingId}: ${recording.file ?? "a part"} is computed and not in the index: ${kept}`
        )
      })

      /** A registry may give one and the same entry again and again, for as long as nobody has written it. */
      const listed = new WeakMap<Entry, There>()
      const readOnce = (stored: Entry): There => {
        const there = listed.get(stored) ?? read(stored.value)
        listed.set(stored, there)
        return there
      }
      const list = Effect.map(bucket.entries, (entries) =>
        entries.map(readOnce).filter((there) => there !== "unreadable")
      )

      const refillDeleted = Effect.fnUntraced(function* (deletion: Deletion) {
        const { at, by, files, nodeId, policy, reason, recordingId, roomId, startedAt } = deletion
        const counted = { packets: 0, lostPackets: 0, tracks: 0 }
        const bytes = files.reduce((sum, file) => sum + file.bytes, 0)
        const known = { recordingId, roomId, nodeId, state: "Deleted", startedAt, ...counted, bytes }
        yield* Effect.retry(
          markDeleted(known, { by, at, reason, ...(policy === undefined ? {} : { policy }) }),
          {
            schedule: Schedule.spaced("1 second"),
            while: ({ _tag }) => _tag === "RegistryUnavailable"
          }
        )
        // Whoever deleted it may have been killed at it, and whoever uploaded to it before it saw that.
        if (!(yield* store.isRemoved(recordingId))) yield* store.remove(deletion)
      })

      /** Deleted while this store was away, or all that came after it: also media that has no receipt. */
      const removeDeleted = Effect.fnUntraced(
        function* ({ deleted, nodeId, recordingId, roomId, startedAt }: IndexedRecording) {
          if (deleted === undefined || (yield* store.isRemoved(recordingId))) return
          yield* store.remove({ recordingId, roomId, nodeId, startedAt, ...deleted })
        },
        (effect, { recordingId }) =>
          Effect.catch(effect, (error) =>
            Effect.logWarning(`what is left of the deleted recording ${recordingId} cannot be removed`, error)
          )
      )

      const refillOne = Effect.fnUntraced(
        function* (recordingId: Id) {
          const deletion = yield* store.deletion(recordingId)
          if (deletion !== undefined) return yield* refillDeleted(deletion)
          const receipts = [...(yield* store.receipts(recordingId)).values()]
          // As they were published: the one that has the most parts has the entry, of such the first to be computed.
          const inOrder = receipts.toSorted(
            (a, b) => b.parts.length - a.parts.length || a.computedAt - b.computedAt
          )
          for (const receipt of inOrder) {
            const recording = computed(receipt)
            yield* Effect.retry(write(recording, isOpenPart(recording)), Schedule.spaced("1 second"))
          }
        },
        (effect, recordingId) =>
          Effect.catch(effect, (error) =>
            Effect.logWarning(`recording ${recordingId} cannot be entered into the index`, error)
          )
      )
      const refill = Effect.gen(function* () {
        const entries = yield* Effect.retry(list, Schedule.spaced("1 second"))
        const known = new Map(entries.filter(isOver).map((each) => [each.recordingId, each]))
        const here = yield* store.recordings
        const missing = here.filter((recordingId) => !known.has(recordingId))
        yield* Effect.forEach(missing, refillOne, { discard: true })
        const over = here.flatMap((recordingId) => known.get(recordingId) ?? [])
        yield* Effect.forEach(over, removeDeleted, { discard: true })
      }).pipe(
        Effect.catch((error) =>
          Effect.logWarning("the index cannot be filled from the store of results", error)
        )
      )

      /** While the registry is away, tried on for as long as this process lives. */
      const unfailing = (what: string, effect: Effect.Effect<unknown, RegistryUnavailable>) =>
        Effect.catch(effect, (why) =>
          Effect.logWarning(`${what} is not in the index yet: ${why.message}`).pipe(
            Effect.andThen(Effect.retry(effect, Schedule.spaced("1 second"))),
            Effect.forkIn(scope)
          )
        ).pipe(Effect.asVoid)

      return RecordingIndex.of({
        describe,
        begin: Effect.fnUntraced(function* (recording) {
          const there = yield* write(recording, isOpenPart(recording))
          if (there === undefined) return
          const problem =
            there === "unreadable"
              ? "its entry is of a later version"
              : `node '${there.nodeId}' has begun it, and it is ${there.state}`
          return yield* new Conflict({ entity: recordingKind, id: recording.recordingId, problem })
        }),
        withdraw: (recording) =>
          unfailing(`that recording ${recording.recordingId} has not begun`, remove(recording)),
        note: (recording) =>
          unfailing(
            `how recording ${recording.recordingId} is`,
            write(recording, isOpenPart(recording), ({ givenUp }) =>
              givenUp === undefined ? {} : { givenUp }
            )
          ),
        markDeleted,
        adopting: (recordingId, adopter) =>
          unfailing(`who adopts recording ${recordingId}`, adopting(recordingId, adopter)),
        giveUp: (part) => unfailing(`that ${part.folder} is given up`, giveUp(part)),
        publish: (receipt) => unfailing(`the receipt of ${receipt.recordingId}`, publish(receipt)),
        find,
        deletedBy: (recordingId) =>
          find(recordingId).pipe(
            Effect.map((known) => known?.deleted),
            Effect.orElseSucceed(() => undefined)
          ),
        refill,
        list
      })
    })
  )
}

const isOver = ({ state }: RecordingInfo): boolean => state === "Computed" || state === "Deleted"

/** An entry that does not name its process is known by its node and the moment of its start. */
const isSamePart = (a: IndexedRecording, b: IndexedRecording): boolean =>
  a.incarnation !== undefined && b.incarnation !== undefined
    ? a.incarnation === b.incarnation
    : a.nodeId === b.nodeId && a.startedAt === b.startedAt
