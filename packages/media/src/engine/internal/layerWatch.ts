/**
 * Notices that one of a sender's layers has stopped while others go on, as when its bandwidth shrinks. Whoever records then needs a key frame of
 * those: browsers send none by themselves, and a picture can change to another layer nowhere else. Pure; told of each packet.
 */

/** Milliseconds of silence, and frames that each of the others has sent meanwhile on average: a screen may be sent once a second. */
const silentMs = 500
const silentFrames = 4
/** A layer that comes back was only slow: it is given twice the time, up to this. */
const longestMs = 8000

export interface LayerWatch {
  /** `ends`: the last packet of a frame. True when a layer is silent that was not before: a key frame is wanted. */
  readonly packet: (ssrc: number, ends: boolean, nowMs: number) => boolean
}

interface Layer {
  heardMs: number
  /** Frames of the others since. */
  missed: number
  patienceMs: number
  stopped: boolean
}

export const makeLayerWatch = (): LayerWatch => {
  const layers = new Map<number, Layer>()
  return {
    packet: (ssrc, ends, nowMs) => {
      const own = layers.get(ssrc)
      const slow = own?.stopped === true ? 2 : 1
      const patienceMs = Math.min((own?.patienceMs ?? silentMs) * slow, longestMs)
      layers.set(ssrc, { heardMs: nowMs, missed: 0, patienceMs, stopped: false })
      if (!ends) return false
      let wanted = false
      const others = [...layers.values()].filter(({ stopped }) => !stopped).length - 1
      for (const [other, layer] of layers) {
        if (other === ssrc || layer.stopped) continue
        layer.missed += 1
        if (layer.missed < silentFrames * others || nowMs - layer.heardMs < layer.patienceMs) continue
        layer.stopped = true
        wanted = true
      }
      return wanted
    }
  }
}
