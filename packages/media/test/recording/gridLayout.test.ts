import { assert, describe, it } from "@effect/vitest"
import { layOut } from "../../src/recording/Grid.ts"

describe("the grid of a room", () => {
  it("never lays one picture over another, whoever comes and goes", () => {
    // Each comes a second later and stays for a while; some come again.
    const cameras = Array.from({ length: 7 }, (_, i) => ({
      presence: [
        { fromMs: i * 1000, toMs: i * 1000 + 3500 },
        ...(i % 2 === 0 ? [{ fromMs: 20_000, toMs: 20_000 + i * 500 + 1 }] : [])
      ]
    }))
    const places = layOut(cameras)
    for (let ms = 0; ms < 25_000; ms += 100) {
      const there = places.flatMap((spans, camera) => {
        const span = spans.find(({ fromMs, toMs }) => fromMs <= ms && ms < toMs)
        const isThere = cameras[camera]?.presence.some(({ fromMs, toMs }) => fromMs <= ms && ms < toMs)
        assert.strictEqual(span !== undefined, isThere, `camera ${camera} at ${ms} ms`)
        return span === undefined ? [] : [span.cell]
      })
      for (const [i, a] of there.entries()) {
        assert.isTrue(a.x >= 0 && a.y >= 0 && a.x + a.width <= 1280 && a.y + a.height <= 720)
        for (const b of there.slice(i + 1)) {
          const apart =
            a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + a.height <= b.y || b.y + b.height <= a.y
          assert.isTrue(apart, `at ${ms} ms: ${JSON.stringify([a, b])}`)
        }
      }
    }
  })
})
