import { assert, describe, it } from "@effect/vitest"
import { makeLayerWatch } from "../../src/engine/internal/layerWatch.ts"

interface Sending {
  /** Milliseconds from one frame to the next, by layer. Each frame has two packets. */
  readonly every: ReadonlyArray<number>
  readonly isSent?: (layer: number, atMs: number) => boolean
}

/** The moments of twenty seconds at which a key frame is wanted. */
const wanted = ({ every, isSent = () => true }: Sending) => {
  const watch = makeLayerWatch()
  const moments: Array<number> = []
  for (let atMs = 0; atMs < 20_000; atMs += 1) {
    every.forEach((step, layer) => {
      if (atMs % step !== 0 || !isSent(layer, atMs)) return
      for (const ends of [false, true]) if (watch.packet(layer, ends, atMs)) moments.push(atMs)
    })
  }
  return moments
}

const camera = [40, 40, 40]

describe("a key frame is wanted", () => {
  it("once for each time a layer stops while others go on", () => {
    assert.deepStrictEqual(
      wanted({ every: camera, isSent: (layer, atMs) => layer < 2 || atMs < 2000 }),
      [2480]
    )
    const comesBack = (atMs: number) => atMs < 2000 || (atMs >= 5000 && atMs < 6000)
    assert.deepStrictEqual(
      wanted({ every: camera, isSent: (layer, atMs) => layer < 2 || comesBack(atMs) }),
      [2480, 6960]
    )
    const oneByOne = (layer: number, atMs: number) => layer === 0 || atMs < layer * 2000
    assert.deepStrictEqual(wanted({ every: camera, isSent: oneByOne }), [2480, 4480])
  })

  it("not where none stops, none ever began, or all stop together", () => {
    assert.deepStrictEqual(wanted({ every: camera }), [])
    assert.deepStrictEqual(wanted({ every: camera, isSent: (layer) => layer < 2 }), [])
    assert.deepStrictEqual(wanted({ every: camera, isSent: (layer) => layer === 0 }), [])
    assert.deepStrictEqual(wanted({ every: camera, isSent: (_, atMs) => atMs < 2000 || atMs > 9000 }), [])
  })

  it("not for layers that are slow, or a few times until they are known as such", () => {
    assert.deepStrictEqual(wanted({ every: [1000, 1000, 1000] }), [])
    assert.deepStrictEqual(wanted({ every: [400, 100, 33] }), [])
    assert.isAtMost(wanted({ every: [1500, 33, 33] }).length, 2)
  })
})
