/**
 * Which recordings are computed, for the whole cluster: bucket `receipts`, key the recording's id. Only an index: the truth is the receipt
 * beside the result, and whoever starts on a store publishes what it finds there again.
 */
import type { Id, RegistryUnavailable } from "@ebb/actors"
import { pack, Registry, unpack } from "@ebb/actors"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as path from "node:path"
import { RecordingInfo } from "./protocol/Recording.ts"
import type { Receipt } from "./recording/index.ts"
import { RecordingStore } from "./recording/index.ts"

const decodeInfo = Schema.decodeUnknownExit(RecordingInfo)

export class ReceiptIndex extends Context.Service<
  ReceiptIndex,
  {
    /** What a receipt says of its recording, as the protocol has it. */
    readonly describe: (receipt: Receipt) => RecordingInfo
    /**
     * Enters a receipt. Never fails: while the registry is away it is tried on behind the caller's back, for as long as this process lives;
     * then a later start enters it.
     */
    readonly publish: (receipt: Receipt) => Effect.Effect<void>
    readonly find: (recordingId: Id) => Effect.Effect<RecordingInfo | undefined, RegistryUnavailable>
    readonly list: Effect.Effect<ReadonlyArray<RecordingInfo>, RegistryUnavailable>
  }
>()("@ebb/media/ReceiptIndex") {
  static readonly layer = Layer.effect(
    ReceiptIndex,
    Effect.gen(function* () {
      const registry = yield* Registry
      const store = yield* RecordingStore
      const bucket = yield* registry.bucket("receipts")
      const scope = yield* Effect.scope

      const describe = (receipt: Receipt): RecordingInfo => {
        const part = receipt.parts[0]
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
          ...(receipt.file === undefined
            ? {}
            : { file: path.join(store.location, receipt.recordingId, receipt.file) }),
          ...(receipt.sha256 === undefined ? {} : { sha256: receipt.sha256 })
        }
      }

      const publish = Effect.fnUntraced(
        function* (receipt: Receipt) {
          const value = pack({ v: 1, ...describe(receipt) })
          const there = yield* bucket.get(receipt.recordingId)
          // Two starts may publish at once: both write the same.
          yield* there === undefined
            ? bucket.create(receipt.recordingId, value)
            : bucket.update(receipt.recordingId, value, there.revision)
        },
        Effect.catchTag("KeyConflict", () => Effect.void)
      )
      const publishLater = (receipt: Receipt, why: RegistryUnavailable) =>
        Effect.logWarning(
          `the receipt of ${receipt.recordingId} is not in the index yet: ${why.message}`
        ).pipe(
          Effect.andThen(Effect.retry(publish(receipt), Schedule.spaced("1 second"))),
          Effect.forkIn(scope)
        )

      const read = (bytes: Uint8Array): RecordingInfo | undefined => {
        const value = unpack(bytes)
        if (Exit.isFailure(value)) return undefined
        const info = decodeInfo(value.value)
        return Exit.isSuccess(info) ? info.value : undefined
      }

      return ReceiptIndex.of({
        describe,
        publish: (receipt) =>
          publish(receipt).pipe(
            Effect.catch((error) => publishLater(receipt, error)),
            Effect.asVoid
          ),
        find: (recordingId) => Effect.map(bucket.get(recordingId), (entry) => entry && read(entry.value)),
        list: Effect.map(bucket.entries, (entries) =>
          entries.map((entry) => read(entry.value)).filter((info) => info !== undefined)
        )
      })
    })
  )
}
