/** What a disk has to have free: said by the same number that a new recording is refused by. */
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { statfs } from "node:fs/promises"
import { aheadMs, assumedRate, makeDiskRoom } from "../../src/recording/DiskRoom.ts"
import { temporaryFolder } from "./fixtures.ts"

/** Its journal and its result, on one disk. */
const oneMore = (2 * assumedRate * aheadMs) / 1000

const roomAbove = (dataDir: string, minFreeBytes: number) =>
  makeDiskRoom({ dataDir, resultsDir: dataDir, minFreeBytes, thread: { stalledMs: () => 0 } })

it.live("what is said to be wanted is what a new recording is refused by, also when none runs", () =>
  Effect.gen(function* () {
    const dataDir = yield* temporaryFolder
    const { bavail, bsize } = yield* Effect.promise(() => statfs(dataDir))
    // Room for the floor, and not for half of a recording beside it.
    const floor = Math.floor(bavail * bsize - oneMore / 2)
    const room = yield* roomAbove(dataDir, floor)
    const refused = yield* Effect.flip(room.admit("one"))
    expect(refused).toMatchObject({ _tag: "DiskNearlyFull", wantedBytes: floor + oneMore })
    expect(room.reading().wantedBytes).toBe(floor + oneMore)
  })
)

it.live("each that runs is counted, and one more", () =>
  Effect.gen(function* () {
    const room = yield* roomAbove(yield* temporaryFolder, 1)
    yield* room.admit("one")
    expect(room.reading().wantedBytes).toBe(1 + 2 * oneMore)
    room.gone("one")
    expect(room.reading().wantedBytes).toBe(1 + oneMore)
  })
)

it.live("a disk that is not watched wants nothing", () =>
  Effect.gen(function* () {
    const room = yield* roomAbove(yield* temporaryFolder, 0)
    yield* room.admit("one")
    yield* Effect.eventually(
      Effect.suspend(() => (Number.isNaN(room.reading().freeBytes) ? Effect.fail("not yet") : Effect.void))
    )
    expect(room.reading().wantedBytes).toBe(0)
  })
)
