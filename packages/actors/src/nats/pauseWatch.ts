/**
 * Notices that this process was paused (SIGSTOP, a frozen container, a blocked event loop), and for how long what it receives is
 * old: until the server has answered a ping that was sent after the pause, for everything that had waited comes before that answer.
 *
 * Leaves the timer to its user. A pause that the monotonic clock does not count (a suspended machine) is not seen. A process
 * that is late at every beat is slow, not paused: after some beats it is believed again, or it would take nothing for ever.
 */

/** How often `beat` has to be called, in milliseconds. */
export const beatMs = 250

/** A silence of more than this, in milliseconds, is a pause. Below the time after which an asker gives up or asks somebody else. */
const pauseMs = 1_000

/** So many late beats in a row, with none in time between them, are no pauses any more. */
const lateBeats = 3

export interface PauseWatch {
  /** To be called by a timer every `beatMs`. */
  readonly beat: () => void
  /** To be called for each frame, in order, before it is delivered: may it have waited for a pause to end? */
  readonly isStale: () => boolean
}

/** `flush` pings the server, and resolves with its answer; it rejects when the connection is lost first. */
export const makePauseWatch = (flush: () => Promise<void>, nowMs: () => number): PauseWatch => {
  let beatAt = nowMs()
  /** When the process was last known to run; a frame that finds a pause moves it, too, so that each pause counts once. */
  let ranAt = beatAt
  let late = 0
  let pauses = 0
  /** Pauses after which a ping was answered. Stale is what comes while there are others. */
  let settled = 0
  let pinging = false

  const ping = () => {
    if (pinging) return
    pinging = true
    const covers = pauses
    const answered = (by: number) => {
      pinging = false
      settled = by
      // The process was paused again meanwhile: what waited then may come after this answer.
      if (settled !== pauses) ping()
    }
    // What the client had read from a connection that was lost is handled before it has another, whose frames are all new.
    // So a lost ping only has to be sent again, by the next beat.
    flush().then(
      () => answered(covers),
      () => {
        pinging = false
      }
    )
  }

  const look = (now: number) => {
    const silentMs = now - ranAt
    if (silentMs <= pauseMs) return
    ranAt = now
    if (late > lateBeats) return
    pauses += 1
    ping()
  }

  return {
    beat: () => {
      const now = nowMs()
      late = now - beatAt > pauseMs ? late + 1 : 0
      // The timer may come before the frames that have waited, or after them.
      look(now)
      beatAt = now
      ranAt = now
      if (settled !== pauses) ping()
    },
    isStale: () => {
      look(nowMs())
      return settled !== pauses
    }
  }
}
