/**
 * Sends the clip to many rooms at once, in real time and without an end, each room at another place of it:
 *
 *     node sender.ts <clip.json>        standard input: {"rooms":[{"video":PORT,"audio":PORT}, …]}, then an empty line for each count
 *
 * Answers each empty line with `{"sent":N}`, the packets sent so far.
 */
import { createSocket } from "node:dgram"
import { readFileSync } from "node:fs"
import { createInterface } from "node:readline"
import { type Clip, clipSeconds } from "./clip.ts"

const clip = JSON.parse(readFileSync(process.argv[2] ?? "", "utf8")) as Clip
const socket = createSocket("udp4")
const clockRates = { video: 90_000, audio: 48_000 } as const

/** One stream's packets with the time, in ms from its beginning, at which each is due. */
const schedule = (kind: "video" | "audio") => {
  const packets = clip[kind].map((text) => Buffer.from(text, "base64"))
  const first = packets[0]?.readUInt32BE(4) ?? 0
  return packets.map((packet) => {
    const ticks = (packet.readUInt32BE(4) - first) >>> 0
    return { packet, ticks, dueMs: (ticks / clockRates[kind]) * 1000 }
  })
}
const schedules = { video: schedule("video"), audio: schedule("audio") }

/** The same packet in a later round: its number and time go on. */
const sendNext = (kind: "video" | "audio", port: number, n: number) => {
  const all = schedules[kind]
  const { packet, ticks } = all[n % all.length] ?? { packet: Buffer.alloc(0), ticks: 0 }
  const round = Math.floor(n / all.length)
  const copy = Buffer.from(packet)
  copy.writeUInt16BE(n & 0xffff, 2)
  copy.writeUInt32BE((ticks + round * clipSeconds * clockRates[kind]) >>> 0, 4)
  socket.send(copy, port, "127.0.0.1")
}
const dueMsOf = (kind: "video" | "audio", n: number) => {
  const all = schedules[kind]
  return Math.floor(n / all.length) * clipSeconds * 1000 + (all[n % all.length]?.dueMs ?? 0)
}

let sent = 0
const begin = (rooms: ReadonlyArray<{ readonly video: number; readonly audio: number }>) => {
  const beganMs = performance.now()
  const streams = rooms.flatMap(({ audio, video }, i) => {
    const laterMs = (i / rooms.length) * 2000
    return [
      { kind: "video" as const, port: video, n: 0, laterMs },
      { kind: "audio" as const, port: audio, n: 0, laterMs }
    ]
  })
  setInterval(() => {
    const nowMs = performance.now() - beganMs
    for (const stream of streams) {
      while (dueMsOf(stream.kind, stream.n) + stream.laterMs <= nowMs) {
        sendNext(stream.kind, stream.port, stream.n)
        stream.n += 1
        sent += 1
      }
    }
  }, 5)
}

createInterface({ input: process.stdin }).on("line", (line) => {
  if (line === "") process.stdout.write(`${JSON.stringify({ sent })}\n`)
  else begin((JSON.parse(line) as { rooms: Parameters<typeof begin>[0] }).rooms)
})
