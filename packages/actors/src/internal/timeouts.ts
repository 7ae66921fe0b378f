/** How long an ask may take, of what its asker says. */
import * as Exit from "effect/Exit"
import { MalformedMessage } from "../ActorError.ts"
import type { AskOptions } from "../ActorRef.ts"

export const defaultAskTimeoutMs = 5000

/** What a timer can hold: 24.8 days. Longer waits, and `Infinity`, are that long. */
export const maxAskTimeoutMs = 2 ** 31 - 1

export const askTimeoutMs = (
  tag: string,
  options: AskOptions | undefined
): Exit.Exit<number, MalformedMessage> => {
  const { timeoutMs = defaultAskTimeoutMs } = options ?? {}
  if (Number.isNaN(timeoutMs)) return Exit.fail(new MalformedMessage({ problem: `${tag}: timeoutMs is NaN` }))
  return Exit.succeed(Math.min(Math.max(timeoutMs, 0), maxAskTimeoutMs))
}
