/**
 * Would the runs find a bug? One is planted for each promise, in one small function each, by a module that stands in for the true one while
 * the runs are played; the promise that is broken has to be that one.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { afterEach, describe, expect, it, vi } from "vitest"
import type { UserMessage } from "../../src/Mailbox.ts"
import type { Failure } from "./check.ts"

/** What `npm test` has. */
const seeds = 1_000

/** The first run that goes wrong, with the modules as they are planted. */
const firstFailure = async (): Promise<Failure | undefined> => {
  const { check } = await import("./check.ts")
  for (let seed = 0; seed < seeds; seed++) {
    const { failure } = check(seed)
    if (failure !== undefined) return failure
  }
  return undefined
}

/** Loads everything anew, with `bug` made of the true module in the place of it. */
const plant = <M extends object>(module: string, bug: (original: M) => M) => {
  vi.resetModules()
  vi.doMock(module, async (importOriginal) => bug(await importOriginal<M>()))
}

describe("a planted bug is found", { timeout: 60_000 }, () => {
  afterEach(() => {
    vi.doUnmock("../../src/internal/drain.ts")
    vi.doUnmock("../../src/Mailbox.ts")
    vi.doUnmock("../../src/internal/attention.ts")
    vi.resetModules()
  })

  it("admission: a drain that takes a serving child as long as others are served", async () => {
    plant<typeof import("../../src/internal/drain.ts")>("../../src/internal/drain.ts", (original) => ({
      ...original,
      Drain: class extends original.Drain {
        override admits(holds: "serving" | "sealing", prefer: boolean) {
          return super.admits(holds, prefer || this.state.life === "Draining")
        }
      }
    }))
    expect((await firstFailure())?.broken.promise).toBe("admission: closed")
  })

  it("ordering: a mailbox that puts a message in front when two wait", async () => {
    plant<typeof import("../../src/Mailbox.ts")>("../../src/Mailbox.ts", (original) => ({
      ...original,
      Mailbox: class extends original.Mailbox {
        override offer(message: UserMessage) {
          if (this.size < 2 || this.size >= this.capacity) return super.offer(message)
          const waiting = this.takeAll()
          return [message, ...waiting].every((one) => super.offer(one))
        }
      }
    }))
    expect((await firstFailure())?.broken.promise).toBe("ordering: in order")
  })

  it("fencing: an observer that does not know that it was away", async () => {
    plant<typeof import("../../src/internal/attention.ts")>(
      "../../src/internal/attention.ts",
      (original) => ({
        ...original,
        attend: (...args) =>
          Effect.map(original.attend(...args), (attention) => {
            let since: number | undefined
            const began = Effect.map(Clock.monotonicTimeNanos, (nanos) => (since ??= Number(nanos) / 1e6))
            return {
              ...attention,
              began: Effect.asVoid(began),
              broke: Effect.void,
              since: Effect.sync(() => since)
            }
          })
      })
    )
    expect((await firstFailure())?.broken.promise).toBe("fencing: not dead")
  })
})
