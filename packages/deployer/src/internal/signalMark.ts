/**
 * The durable mark that an instance's one drain signal is being sent: two files that are created once and never removed.
 *
 * `signal.json` is the intent: whoever creates it, and nobody else ever, may signal. `signal-sent.json` follows the kill.
 * A crash between the two leaves `intent`, which stays so for ever: a file cannot tell whether the kill came to pass, and
 * the mark is not there to find out but to prevent a second one. The node knows; see `Signalled`.
 */
import path from "node:path"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Signalled } from "../Orchestrator.ts"
import { createFileOnce, readJsonFile } from "./stateFile.ts"

/** `at`: epoch milliseconds. `by`: the pid that signalled, for people who read the folder. */
const Mark = Schema.Struct({ signal: Schema.String, at: Schema.Int, by: Schema.Int })
const readMark = readJsonFile(Mark)

const intentFile = (folder: string) => path.join(folder, "signal.json")
const sentFile = (folder: string) => path.join(folder, "signal-sent.json")

export const readSignalled = Effect.fnUntraced(function* (folder: string) {
  const sent = yield* readMark(sentFile(folder))
  if (Option.isSome(sent)) return "sent" satisfies Signalled
  const intent = yield* readMark(intentFile(folder))
  return (Option.isSome(intent) ? "intent" : "no") satisfies Signalled
})

/** True for exactly one caller, ever. On disk when it returns. */
export const markIntent = (folder: string, signal: string) => createMark(intentFile(folder), signal)

export const markSent = (folder: string, signal: string) => createMark(sentFile(folder), signal)

const createMark = Effect.fnUntraced(function* (file: string, signal: string) {
  const at = yield* Clock.currentTimeMillis
  return yield* createFileOnce(
    file,
    JSON.stringify({ signal, at, by: process.pid } satisfies typeof Mark.Type)
  )
})
