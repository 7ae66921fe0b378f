/** The door to ffmpeg's programs: starts one, reads what it says line by line, and kills it when it says nothing for too long. */
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { createInterface } from "node:readline"
import { FfmpegMissing, FfmpegStalled } from "../../MediaError.ts"
import { watchSilence } from "./silence.ts"

/** Milliseconds without a line after which it is taken for hung and killed. It prints one for every frame, or twice a second. */
export const defaultSilenceMs = 60_000

export interface FfmpegEnd {
  /** The first lines of standard error, and how it ended when that was not well. */
  readonly errors: ReadonlyArray<string>
}

/** It parses what strangers have sent: keys and passwords of the node are none of its business. */
const harmlessEnvironment = () =>
  Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(EBB|AWS)_/.test(name)))

/** An interruption kills it. */
export const runFfmpeg = (
  command: "ffmpeg" | "ffprobe",
  args: ReadonlyArray<string>,
  onLine: (line: string) => void,
  silenceMs: number
) =>
  Effect.callback<FfmpegEnd, FfmpegMissing | FfmpegStalled>((resume) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], env: harmlessEnvironment() })
    const errors: Array<string> = []
    const watch = watchSilence(silenceMs, () => {
      child.kill("SIGKILL")
      resume(Effect.fail(new FfmpegStalled({ command, silentMs: silenceMs })))
    })
    createInterface({ input: child.stdout }).on("line", (line) => {
      watch.heard()
      onLine(line)
    })
    createInterface({ input: child.stderr }).on("line", (line) => {
      watch.heard()
      if (errors.length < 20) errors.push(line)
    })
    child.once("error", (cause) => {
      watch.end()
      resume(Effect.fail(new FfmpegMissing({ command, detail: cause.message })))
    })
    // `close` comes after the streams have ended, so every line has been seen.
    child.once("close", (code, signal) => {
      watch.end()
      if (code !== 0) errors.push(`${command} ended with ${signal ?? code}`)
      resume(Effect.succeed({ errors }))
    })
    return Effect.sync(() => {
      watch.end()
      child.kill("SIGKILL")
    })
  })
