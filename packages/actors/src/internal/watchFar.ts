/**
 * The end of an actor's life in another process, as it is learned: asked again and again; an answer is the truth, no answer is a question to the
 * leases.
 */
import * as Effect from "effect/Effect"
import type { SystemRef } from "../ActorSystem.ts"
import type { Address, Epoch, Incarnation } from "../Address.ts"
import type { Terminated } from "../Supervision.ts"
import type { Far } from "./remoteRef.ts"
import { defaultAskTimeoutMs } from "./timeouts.ts"

// How long one Watch is held open at the far side before it is asked again, in milliseconds: long enough to be cheap, short enough
// that a lost answer is noticed.
const holdMs = 15_000
/** Between two questions, in milliseconds. */
const againMs = 500

/** With an epoch it is the end of the life that had the name by it; without, of the one that the first answer is of. */
export const terminatedFar = (
  far: Far,
  system: (incarnation: Incarnation) => SystemRef,
  address: Address,
  epoch: Epoch | undefined
): Effect.Effect<Terminated> =>
  Effect.suspend(() => {
    const { id, incarnation, kind } = address
    const { ask } = system(incarnation)
    const bound = epoch === undefined ? {} : { epoch }
    let life: number | undefined
    let isAnswered = false
    const ended = (by: Terminated["by"], detail: string): Terminated => ({ address, by, detail })

    /** The first is answered at once, so that a life which ends soon after is not taken for the next of that name. */
    const watch = Effect.suspend(() =>
      ask(
        "Watch",
        { kind, id, holdMs: isAnswered ? holdMs : 0, ...bound, ...(life === undefined ? {} : { life }) },
        { timeoutMs: holdMs + defaultAskTimeoutMs }
      )
    ).pipe(
      Effect.map((answer) => {
        isAnswered = true
        life ??= answer.life
        return answer.terminated && ended(endedBy(answer.terminated.by), answer.terminated.detail)
      }),
      Effect.catchTag("NoSuchActor", () => Effect.succeed(ended("lost", "it does not live there")))
    )
    const once = Effect.catch(watch, () =>
      Effect.map(far.isDead(incarnation), (dead) => (dead ? ended("lost", "its process is dead") : undefined))
    )
    return Effect.gen(function* () {
      while (true) {
        const isNext = isAnswered
        const terminated = yield* once
        if (terminated !== undefined) return terminated
        if (isNext || !isAnswered) yield* Effect.sleep(againMs)
      }
    })
  })

// Told by another version, perhaps: a word we do not know is still an end.
const endedBy = (by: string): Terminated["by"] =>
  by === "itself" || by === "parent" || by === "crash" || by === "kill" ? by : "lost"
