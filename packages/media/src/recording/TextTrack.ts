/**
 * The messages of a data channel as a timed text track: WebVTT, a cue of one line for each. Text is the cue itself, escaped; anything else is a
 * line of JSON: `{"ppid":53,"base64":"..."}`. A message that two parts have captured in their overlap is there once. Pure.
 */
import type { Data } from "./JournalFormat.ts"

/** How long a cue is shown, in milliseconds. */
const shownMs = 5000
/** Two parts have the same message within this time. */
const sameWithinMs = 2000

/** SCTP payload protocol identifiers of text, and of no text (RFC 8831, 8). */
const textPpids: ReadonlySet<number> = new Set([51, 56])

export interface TextTrack {
  readonly push: (source: number, timeMs: number, data: Data) => void
  /** The cues of the messages before `untilMs`, to be appended to the file. */
  readonly take: (untilMs: number) => string
  /** Messages written, and those left out as another part's. */
  readonly counts: { readonly messages: number; readonly repeated: number }
  readonly firstMs: number | undefined
  readonly endMs: number
}

interface Message {
  readonly source: number
  readonly timeMs: number
  readonly line: string
}

export const textHeader = "WEBVTT\n\n"

export const makeTextTrack = (): TextTrack => {
  const waiting: Array<Message> = []
  let recent: Array<Message> = []
  const counts = { messages: 0, repeated: 0 }
  let firstMs: number | undefined
  let endMs = 0
  return {
    counts,
    get firstMs() {
      return firstMs
    },
    get endMs() {
      return endMs
    },
    push: (source, timeMs, data) => waiting.push({ source, timeMs, line: lineOf(data) }),
    take: (untilMs) => {
      waiting.sort((a, b) => a.timeMs - b.timeMs)
      let text = ""
      for (let next = waiting[0]; next !== undefined && next.timeMs < untilMs; next = waiting[0]) {
        waiting.shift()
        const message = next
        recent = recent.filter(({ timeMs }) => message.timeMs - timeMs <= sameWithinMs)
        // Each copy is matched once: somebody may say the same thing twice.
        const same = recent.findIndex(
          ({ line, source }) => line === message.line && source !== message.source
        )
        if (same >= 0) {
          recent.splice(same, 1)
          counts.repeated += 1
          continue
        }
        recent.push(message)
        counts.messages += 1
        const atMs = Math.max(0, Math.round(message.timeMs))
        firstMs ??= atMs
        endMs = atMs + shownMs
        text += `${timestamp(atMs)} --> ${timestamp(endMs)}\n${message.line}\n\n`
      }
      return text
    }
  }
}

/** A cue's text is HTML of a kind; an empty line would end it. */
const escapes: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  "\n": "&#10;",
  "\r": "&#13;",
  "\0": "&#65533;"
}

const lineOf = ({ payload, ppid }: Data): string => {
  if (!textPpids.has(ppid)) {
    return JSON.stringify({ ppid, base64: Buffer.from(payload).toString("base64") })
  }
  // An empty text is a single byte of 0.
  const text = ppid === 56 ? "" : Buffer.from(payload).toString("utf8")
  return text === "" ? "&#8203;" : text.replace(/[&<>\n\r\0]/g, (each) => escapes[each] ?? each)
}

const timestamp = (ms: number): string => {
  const pad = (value: number, digits: number) => String(Math.floor(value)).padStart(digits, "0")
  return `${pad(ms / 3_600_000, 2)}:${pad((ms / 60_000) % 60, 2)}:${pad((ms / 1000) % 60, 2)}.${pad(ms % 1000, 3)}`
}
