/**
 * One file of a room that anybody can play: the cameras that are there side by side, in a grid that changes as they come and go, and all sound
 * mixed. Made by one run of ffmpeg over the files of the tracks, in one pass, so that its time is linear in the length.
 *
 * H.264 and AAC in MP4, index in front: what every browser, phone and editor plays; VP8 in WebM is not played by what is not a browser.
 */
import * as Effect from "effect/Effect"
import * as fsp from "node:fs/promises"
import type { FfmpegMissing, FfmpegStalled, RecordingStorageError } from "../MediaError.ts"
import { ffmpeg } from "./Ffmpeg.ts"
import { attempt, remove } from "./internal/disk.ts"
import type { MuxedStream } from "./Mux.ts"

const width = 1280
const height = 720
const fps = 25

export interface GridInput {
  /** A file of one track: of video it begins with its first frame, of sound with the recording and without a hole. */
  readonly path: string
  readonly stream: MuxedStream
}

export interface Grid {
  readonly problems: ReadonlyArray<string>
  /** What is in the file. */
  readonly hasVideo: boolean
  readonly hasAudio: boolean
  readonly durationMs: number
}

export const makeGrid: (options: {
  readonly inputs: ReadonlyArray<GridInput>
  readonly durationMs: number
  readonly target: string
  readonly silenceMs: number | undefined
  readonly onFraction: (fraction: number) => void
}) => Effect.Effect<Grid, FfmpegMissing | FfmpegStalled | RecordingStorageError> = Effect.fnUntraced(
  function* ({ durationMs, inputs, onFraction, silenceMs, target }) {
    const cameras = inputs.filter(({ stream }) => isVideo(stream))
    const voices = inputs.filter(({ stream }) => !isVideo(stream))
    // A graph of a hundred cameras is longer than a command line may be.
    const script = `${target}.graph`
    const graph = gridGraph({
      cameras: cameras.map(({ stream }) => stream),
      voices: voices.length,
      durationMs
    })
    yield* attempt("write", script, () => fsp.writeFile(script, graph))
    const problems = yield* ffmpeg(
      [
        // A camera that changes its size must not begin the graph anew.
        ...cameras.flatMap(({ path, stream }) => [
          ["-reinit_filter", "0", "-itsoffset", String(stream.firstMs / 1000), "-i", path]
        ]),
        ...voices.map(({ path }) => ["-i", path]),
        ["-filter_complex_script", script],
        cameras.length === 0
          ? []
          : ["-map", "[video]", "-c:v", "libx264", "-preset", "veryfast", "-crf", "23"],
        cameras.length === 0 ? [] : ["-profile:v", "main", "-pix_fmt", "yuv420p", "-g", String(4 * fps)],
        voices.length === 0 ? [] : ["-map", "[sound]", "-c:a", "aac", "-b:a", "128k"],
        ["-t", String(durationMs / 1000), "-movflags", "+faststart", "-f", "mp4", target]
      ].flat(),
      silenceMs,
      (ms) => onFraction(Math.min(1, ms / durationMs))
    )
    yield* remove(script)
    return { problems, hasVideo: cameras.length > 0, hasAudio: voices.length > 0, durationMs }
  }
)

const isVideo = (stream: MuxedStream) => stream.track.best.track.info.kind === "video"

export interface Presence {
  readonly presence: ReadonlyArray<{ readonly fromMs: number; readonly toMs: number }>
}

/** ffmpeg's words for the whole: inputs are numbered cameras first. */
export const gridGraph = (options: {
  readonly cameras: ReadonlyArray<Presence>
  readonly voices: number
  readonly durationMs: number
}): string => {
  const { cameras, durationMs, voices } = options
  const seconds = durationMs / 1000
  const chains: Array<string> = []
  const places = layOut(cameras)
  if (cameras.length > 0) {
    chains.push(`color=c=black:s=${width}x${height}:r=${fps}:d=${seconds},format=yuv420p[under0]`)
    places.forEach((spans, at) => {
      const value = (of: (cell: Cell) => number) => valueAt(spans, of)
      // Also where a camera is not there its picture has a size.
      const size = (of: (cell: Cell) => number) => `max(16,${value(of)})`
      chains.push(
        `[${at}:v]fps=${fps},scale=w='${size((cell) => cell.width)}':h='${size((cell) => cell.height)}'` +
          `:eval=frame:force_original_aspect_ratio=decrease:force_divisible_by=2,setsar=1[camera${at}]`
      )
      const x = `${value((cell) => cell.x + cell.width / 2)}-overlay_w/2`
      const y = `${value((cell) => cell.y + cell.height / 2)}-overlay_h/2`
      const out = at === places.length - 1 ? "video" : `under${at + 1}`
      chains.push(
        `[under${at}][camera${at}]overlay=x='${x}':y='${y}':eval=frame:enable='${value(() => 1)}'[${out}]`
      )
    })
  }
  if (voices > 0) {
    const names = Array.from({ length: voices }, (_, at) => `[voice${at}]`)
    names.forEach((name, at) => {
      // Whole milliseconds and a clock that drifts: a few samples in a second are stretched.
      chains.push(
        `[${cameras.length + at}:a]aresample=48000:async=1000:min_hard_comp=0.1,aformat=sample_fmts=fltp:channel_layouts=stereo${name}`
      )
    })
    chains.push(
      `${names.join("")}amix=inputs=${voices}:duration=longest:normalize=0,alimiter=limit=0.95:level=0,apad=whole_dur=${seconds}[sound]`
    )
  }
  return chains.join(";\n")
}

interface Cell {
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

interface Placement {
  readonly fromMs: number
  readonly toMs: number
  readonly cell: Cell
}

/** For each camera where it is, and when. In the grid are those that are there; who was there first comes first. */
export const layOut = (cameras: ReadonlyArray<Presence>): ReadonlyArray<ReadonlyArray<Placement>> => {
  const placements: ReadonlyArray<Array<Placement>> = cameras.map(() => [])
  const edges = [
    ...new Set(cameras.flatMap(({ presence }) => presence.flatMap(({ fromMs, toMs }) => [fromMs, toMs])))
  ]
  edges.sort((a, b) => a - b)
  const next = cameras.map(() => 0)
  edges.forEach((fromMs, at) => {
    const toMs = edges[at + 1] ?? fromMs
    const there = cameras.flatMap(({ presence }, camera) => {
      while ((presence[next[camera] ?? 0]?.toMs ?? Infinity) <= fromMs) next[camera] = (next[camera] ?? 0) + 1
      const span = presence[next[camera] ?? 0]
      return span !== undefined && span.fromMs <= fromMs ? [camera] : []
    })
    there.forEach((camera, place) => {
      const cell = cellOf(place, there.length)
      const own = placements[camera]
      const last = own?.at(-1)
      if (last !== undefined && last.toMs === fromMs && isSame(last.cell, cell))
        own?.splice(-1, 1, { ...last, toMs })
      else own?.push({ fromMs, toMs, cell })
    })
  })
  return placements
}

const isSame = (a: Cell, b: Cell) =>
  a.x === b.x && a.y === b.y && a.width === b.width && a.height === b.height

/** As square as can be; a last row that is not full stands in the middle. */
const cellOf = (place: number, count: number): Cell => {
  const columns = Math.ceil(Math.sqrt(count))
  const rows = Math.ceil(count / columns)
  const even = (value: number) => 2 * Math.floor(value / 2)
  const own = { width: even(width / columns), height: even(height / rows) }
  const row = Math.floor(place / columns)
  const inRow = row === rows - 1 ? count - row * columns : columns
  const left = even((width - inRow * own.width) / 2)
  return { x: left + (place % columns) * own.width, y: row * own.height, ...own }
}

/**
 * An expression of ffmpeg with the value that holds at `t`, and 0 where none does: a search tree, because its parser nests no deeper than a
 * hundred and takes no sum of more, and so that a picture costs the logarithm of their number.
 */
const valueAt = (spans: ReadonlyArray<Placement>, of: (cell: Cell) => number): string => {
  const steps: Array<{ readonly fromMs: number; readonly value: number }> = [{ fromMs: -1, value: 0 }]
  const step = (fromMs: number, value: number): void => {
    if (steps.at(-1)?.fromMs === fromMs) steps.pop()
    if (steps.at(-1)?.value !== value) steps.push({ fromMs, value })
  }
  for (const { cell, fromMs, toMs } of spans) {
    step(fromMs, of(cell))
    step(toMs, 0)
  }
  const search = (low: number, high: number): string => {
    if (high - low <= 1) return String(steps[low]?.value ?? 0)
    const middle = (low + high) >> 1
    const atSeconds = (steps[middle]?.fromMs ?? 0) / 1000
    return `if(lt(t,${atSeconds}),${search(low, middle)},${search(middle, high)})`
  }
  return search(0, steps.length)
}
