import { expect, it } from "@effect/vitest"
import { beatMs, makePauseWatch } from "../../src/nats/pauseWatch.ts"

/** A process whose time is moved by hand, and a server that answers pings when it is told to. */
const watched = () => {
  let nowMs = 0
  const pings: Array<{ readonly answer: () => void; readonly lose: () => void }> = []
  const watch = makePauseWatch(
    () => new Promise((answer, lose) => pings.push({ answer, lose: () => lose(new Error("disconnected")) })),
    () => nowMs
  )
  const settle = async (which: "answer" | "lose") => {
    pings.shift()?.[which]()
    await Promise.resolve()
    await Promise.resolve()
  }
  return {
    isStale: watch.isStale,
    beat: watch.beat,
    pings: () => pings.length,
    answerPing: () => settle("answer"),
    losePing: () => settle("lose"),
    /** The process runs, and its timer is in time. */
    run: (ms: number) => {
      for (let left = ms; left > 0; left -= beatMs) {
        nowMs += beatMs
        watch.beat()
      }
    },
    /** The process does not run; neither timer nor frame comes. */
    pause: (ms: number) => {
      nowMs += ms
    }
  }
}

it("a process that runs takes what it gets, and pings nobody", () => {
  const process = watched()
  process.run(10_000)
  process.pause(900)
  expect(process.isStale()).toBe(false)
  expect(process.pings()).toBe(0)
})

for (const first of ["frame", "timer"] as const) {
  it(`after a pause all is stale until the server has answered, whether a ${first} comes first`, async () => {
    const process = watched()
    process.run(1_000)
    process.pause(3_000)
    if (first === "timer") process.beat()
    expect([process.isStale(), process.isStale()]).toEqual([true, true])
    process.run(5_000)
    expect([process.isStale(), process.pings()]).toEqual([true, 1])
    await process.answerPing()
    expect([process.isStale(), process.pings()]).toEqual([false, 0])
  })
}

it("an answer that waited through a second pause proves nothing about what comes after it", async () => {
  const process = watched()
  process.pause(3_000)
  expect(process.isStale()).toBe(true)
  process.run(500)
  process.pause(3_000)
  expect(process.isStale()).toBe(true)
  await process.answerPing()
  expect([process.isStale(), process.pings()]).toEqual([true, 1])
  await process.answerPing()
  expect(process.isStale()).toBe(false)
})

it("a frame right after an answer that waited through a second pause is stale", async () => {
  const process = watched()
  process.pause(3_000)
  process.beat()
  process.pause(3_000)
  await process.answerPing()
  expect(process.isStale()).toBe(true)
})

it("a ping that was lost with its connection is sent again, by a beat", async () => {
  const process = watched()
  process.pause(3_000)
  expect(process.isStale()).toBe(true)
  await process.losePing()
  expect([process.isStale(), process.pings()]).toEqual([true, 0])
  process.run(250)
  expect(process.pings()).toBe(1)
  await process.answerPing()
  expect(process.isStale()).toBe(false)
})

it("a process that is late at every beat is slow, and is not refused for ever", async () => {
  const process = watched()
  const taken: Array<boolean> = []
  for (let round = 0; round < 10; round++) {
    process.pause(1_500)
    process.beat()
    // The answer to the ping of one round is read with the frames of the next.
    taken.push(!process.isStale())
    await process.answerPing()
  }
  expect(taken.slice(0, 3)).toEqual([false, false, false])
  expect(taken.slice(5)).toEqual([true, true, true, true, true])
  // In time again, it is believed to have been paused when it was.
  process.run(1_000)
  process.pause(3_000)
  expect(process.isStale()).toBe(true)
})
