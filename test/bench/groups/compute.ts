/**
 * How long a recording of VP8 500 kbit/s and Opus takes to be computed without encoding it again, to the receipt: the real program, the
 * decoding of the whole result with it. And whether that grows with its length alone.
 */
import * as Effect from "effect/Effect"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { startProgram } from "../../support/program.ts"
import { temporaryFolder } from "../../support/temporaryFolder.ts"
import { makeClip } from "../recordings/clip.ts"
import { writeLongPart } from "../recordings/longJournal.ts"
import { alone, column, compared } from "../Row.ts"
import type { Figures } from "../Task.ts"
import type { Group } from "./Group.ts"

const program = join(import.meta.dirname, "../../../packages/media/src/bin/ebb-compute.ts")

/** Of children that have ended, and theirs: fields 16 and 17, in hundredths of a second. */
const cpuSecondsOfEnded = (): number => {
  const stat = readFileSync("/proc/self/stat", "utf8")
  const [user = 0, system = 0] = stat
    .slice(stat.lastIndexOf(")") + 2)
    .split(" ")
    .slice(13, 15)
    .map(Number)
  return (user + system) / 100
}

const computed = Effect.fnUntraced(function* (part: string) {
  const store = yield* temporaryFolder
  const [beganMs, before] = [performance.now(), cpuSecondsOfEnded()]
  const compute = yield* startProgram(process.execPath, [program, part, "--store", store])
  const { code } = yield* compute.exited
  if (code !== 0) return yield* Effect.die(new Error(compute.lines.slice(-3).join("\n")))
  const figures: Figures = {
    seconds: (performance.now() - beganMs) / 1000,
    cpuSeconds: cpuSecondsOfEnded() - before
  }
  return figures
}, Effect.scoped)

export const compute: Group = {
  name: "compute",
  run: Effect.fnUntraced(function* ({ effort, say }) {
    const [few, many] = effort.rounds === 1 ? [0.1, 0.2] : [5, 20]
    const rounds = Math.ceil(effort.rounds / 5)
    const clip = yield* makeClip
    const folder = yield* temporaryFolder
    const seen = { few: Array.of<Figures>(), many: Array.of<Figures>() }
    for (let round = 0; round < rounds; round++) {
      for (const [name, minutes] of [
        ["few", few],
        ["many", many]
      ] as const) {
        const part = join(folder, `${name}-${round}`, "long")
        writeLongPart(part, clip, minutes)
        const figures = yield* computed(part)
        seen[name].push(figures)
        say(
          `${minutes} minutes: ${(figures["seconds"] ?? 0).toFixed(1)} s, of them ${(figures["cpuSeconds"] ?? 0).toFixed(1)} s of a core`
        )
      }
    }
    const timesReal = (minutes: number, rounds: ReadonlyArray<Figures>) =>
      column(rounds, "cpuSeconds").map((seconds) => (minutes * 60) / seconds)
    const linear = seen.few.map((figures) => ({ cpuSeconds: ((figures["cpuSeconds"] ?? 0) * many) / few }))
    const figure = { name: "cpuSeconds", unit: "s of CPU", better: "less" } as const
    return [
      alone(`compute-${few}min`, "times real time, a core", timesReal(few, seen.few)),
      alone(`compute-${many}min`, "times real time, a core", timesReal(many, seen.many)),
      compared(`compute-${many}min/linear`, figure, seen.many, linear)
    ]
  })
}
