/**
 * Notices when something has said nothing for too long. Counted in ticks of a timer here: a process that was itself stopped for an hour
 * has missed one tick, and not an hour of what the other said meanwhile.
 */
export interface SilenceWatch {
  /** It has said something. */
  readonly heard: () => void
  readonly end: () => void
}

const ticks = 10

/** Calls `onSilence` once, `silenceMs` after the last word at the earliest. */
export const watchSilence = (silenceMs: number, onSilence: () => void): SilenceWatch => {
  let silent = 0
  const timer = setInterval(() => {
    silent += 1
    if (silent <= ticks) return
    clearInterval(timer)
    onSilence()
  }, silenceMs / ticks)
  return {
    heard: () => {
      silent = 0
    },
    end: () => clearInterval(timer)
  }
}
